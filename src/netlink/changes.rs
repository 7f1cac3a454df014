//! That something changed in the kernel: what, is read afterwards, so that nothing is lost with
//! a lost message.

use std::io;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use netlink_proto::sys::{
    AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE,
};
use rustix::io::Errno;

use super::is;

/// Links, and IPv4 addresses: `RTMGRP_LINK` and `RTMGRP_IPV4_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10;
/// The rest of a longer message is dropped unread.
const ENOUGH: usize = 64;
/// Messages read at once, so that a flood of them cannot keep the task for ever.
const AT_ONCE: usize = 1000;

/// A subscription to the kernel's events.
pub(crate) struct Changes {
    socket: TokioSocket,
    buffer: BytesMut,
}

impl Changes {
    /// From now on every change is told.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self { socket, buffer: BytesMut::with_capacity(ENOUGH) })
    }

    /// Waits for a change, and takes those that came with it. A socket that ran over has lost
    /// some, which is a change as any other.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        self.receive().await?;
        for _ in 0..AT_ONCE {
            match self.receive().now_or_never() {
                None => break,
                Some(received) => received?,
            }
        }
        Ok(())
    }

    /// Waits for one change.
    async fn receive(&mut self) -> io::Result<()> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer).await {
            Err(error) if is(&error, Errno::NOBUFS) => {
                tracing::debug!("the kernel's events came too fast; the state is read anew");
                Ok(())
            }
            received => received,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::namespace::{ip, isolated};
    use super::*;

    #[test]
    fn it_survives_an_overrun() {
        let path = "netlink::changes::tests::it_survives_an_overrun";
        isolated(path, None, async {
            let patience = Duration::from_secs(10);
            let mut changes = Changes::open().unwrap();
            let nothing = timeout(Duration::from_millis(50), changes.next()).await;
            assert!(nothing.is_err(), "nothing happens in an empty namespace");

            // More than its buffer takes, while nobody reads.
            changes.socket.socket_mut().set_rx_buf_sz(2048).unwrap();
            for _ in 0..20 {
                ip("addr add 10.0.1.50/32 dev lo");
                ip("addr del 10.0.1.50/32 dev lo");
            }
            let mut lost = 0;
            loop {
                changes.buffer.clear();
                let received = changes.socket.recv(&mut changes.buffer);
                match timeout(Duration::from_millis(50), received).await {
                    Ok(Err(error)) if is(&error, Errno::NOBUFS) => lost += 1,
                    Ok(received) => received.unwrap(),
                    Err(_) => break,
                }
            }
            assert!(lost > 0, "the test makes no overrun");

            for _ in 0..20 {
                ip("addr add 10.0.1.50/32 dev lo");
                ip("addr del 10.0.1.50/32 dev lo");
            }
            timeout(patience, changes.next()).await.unwrap().unwrap();
            ip("addr add 10.0.1.50/32 dev lo");
            timeout(patience, changes.next()).await.unwrap().unwrap();
        });
    }
}
