//! Whether a network interface can pass packets, as the kernel sees it.

use super::Failure;
use crate::netlink::Netlink;

pub(super) async fn can_pass(name: &str) -> Result<(), Failure> {
    match Netlink::open()?.link(name).await? {
        None => Err(Failure::NoInterface),
        Some(link) if link.running => Ok(()),
        Some(_) => Err(Failure::LinkDown),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::netlink::namespace::{ip, isolated, pair};

    async fn until(expected: &str) {
        let fits = async {
            loop {
                let verdict = can_pass("eth0").await;
                if format!("{verdict:?}") == expected {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), fits).await.expect(expected);
    }

    #[test]
    fn it_passes_while_the_interface_has_a_carrier() {
        let path = "checks::interface::tests::it_passes_while_the_interface_has_a_carrier";
        isolated(path, None, async {
            until("Err(NoInterface)").await;
            pair("eth0", "peer");
            until("Ok(())").await;
            ip("link set peer down");
            until("Err(LinkDown)").await;
            ip("link set peer up");
            until("Ok(())").await;
            ip("link set eth0 down");
            until("Err(LinkDown)").await;
        });
    }
}
