//! The range of a subnet, and which of its addresses an interface can get.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// A subnet's addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Range {
    first: u32,
    last: u32,
}

impl Range {
    /// Why `ip` can be given to no interface of the subnet, as the middle of a sentence.
    pub(super) fn fault(self, ip: Ipv4Addr) -> Option<String> {
        let remedy = "give the group a free address of the subnet";
        let Self { first, last } = self;
        let number = u32::from(ip);
        if number < first || number > last {
            return Some(format!(
                "{ip} is outside the subnet of this node's interface ({} to {}), where EC2 cannot \
                 assign it: {remedy}",
                Ipv4Addr::from(first),
                Ipv4Addr::from(last)
            ));
        }
        // <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
        let kept = number - first < 4 || number == last;
        kept.then(|| {
            format!("{ip} is one of the five addresses that EC2 keeps of the subnet: {remedy}")
        })
    }
}

impl FromStr for Range {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let address: Ipv4Addr = address.parse().map_err(drop)?;
        let length: u32 = length.parse().map_err(drop)?;
        let hosts = match length {
            0..=31 => u32::MAX >> length,
            32 => 0,
            _ => return Err(()),
        };
        let first = u32::from(address) & !hosts;
        Ok(Self { first, last: first | hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(range: &str, ip: &str) -> Option<String> {
        range.parse::<Range>().unwrap().fault(ip.parse().unwrap())
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

    #[test]
    fn what_is_no_range() {
        for text in ["", "10.0.1.0", "10.0.1/24", "10.0.1.0/33", "10.0.1.0/x", "fd00::/64"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        let one: Range = "10.0.1.5/32".parse().unwrap();
        assert!(one.fault([10, 0, 1, 6].into()).unwrap().contains("outside"));
        let all: Range = "0.0.0.0/0".parse().unwrap();
        assert_eq!(all.fault([10, 0, 1, 6].into()), None);
    }
}
