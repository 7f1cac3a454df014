//! The range of a subnet, and which of its addresses an interface can get.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Why `ip` can be given to no interface of the subnet, in one sentence without its end.
pub(super) fn fault(subnet: Ipv4Net, ip: Ipv4Addr) -> Option<String> {
    let remedy = "give the group a free address of the subnet";
    let (first, last) = (subnet.network(), subnet.broadcast());
    if !subnet.contains(&ip) {
        return Some(format!(
            "{ip} is outside the subnet of this node's interface ({first} to {last}), where EC2 \
             cannot assign it: {remedy}"
        ));
    }
    // <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
    let kept = ip.to_bits() - first.to_bits() < 4 || ip == last;
    kept.then(|| {
        format!("{ip} is one of the five addresses that EC2 keeps of the subnet: {remedy}")
    })
}

#[cfg(test)]
mod tests {
    fn fault(subnet: &str, ip: &str) -> Option<String> {
        super::fault(subnet.parse().unwrap(), ip.parse().unwrap())
    }

    #[test]
    fn what_can_be_given_to_an_interface() {
        for (range, ip) in [
            ("10.0.1.0/24", "10.0.1.4"),
            ("10.0.1.0/24", "10.0.1.254"),
            ("10.0.1.16/28", "10.0.1.20"),
            ("10.0.0.0/16", "10.0.255.0"),
        ] {
            assert_eq!(fault(range, ip), None, "{ip} of {range}");
        }
        for (range, ip, word) in [
            ("10.0.1.0/24", "10.0.2.0", "outside the subnet"),
            ("10.0.1.0/24", "10.0.0.255", "(10.0.1.0 to 10.0.1.255)"),
            ("10.0.1.16/28", "10.0.1.32", "outside"),
            ("10.0.1.0/24", "10.0.1.3", "EC2 keeps"),
            ("10.0.1.0/24", "10.0.1.255", "EC2 keeps"),
            ("10.0.1.16/28", "10.0.1.16", "EC2 keeps"),
        ] {
            let told = fault(range, ip).unwrap_or_default();
            assert!(told.contains(word), "{ip} of {range}: {told}");
        }
    }
}
