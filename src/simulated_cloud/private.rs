//! What EC2 does with the private addresses of interfaces: assigned, moved, taken off.
//!
//! A secondary address is on one interface of its subnet at a time. An interface's subnet is the
//! /24 of its primary address; one that was adopted is in any.

use std::net::Ipv4Addr;

use vipward_core::Timestamp;

use super::call::Assign;
use super::ec2_error::Ec2Error;
use super::reply::Reply;
use super::state::{Cloud, HISTORY_MAX, Interface};

/// How many addresses an interface can have: more than any instance type allows.
const ADDRESSES_MAX: usize = 256;

impl Interface {
    /// Its addresses as they were at a point in time.
    pub(crate) fn private_ips(&self, at: Timestamp) -> &[Ipv4Addr] {
        let past = self.past.iter().find(|(until, _)| *until > at);
        past.map_or(self.private_ips.as_slice(), |(_, ips)| ips.as_slice())
    }

    pub(crate) fn primary(&self) -> Ipv4Addr {
        self.private_ips.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// The id of its subnet.
    pub(crate) fn subnet(&self) -> String {
        format!("subnet-0{:08x}", u32::from(self.primary()) & 0xffff_ff00)
    }

    /// A locally administered one, told by the primary address.
    pub(crate) fn mac(&self) -> String {
        let [a, b, c, d] = self.primary().octets();
        format!("06:76:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    fn within_subnet(&self, ip: Ipv4Addr) -> bool {
        self.adopted || ip.octets()[..3] == self.primary().octets()[..3]
    }

    fn set(&mut self, now: Timestamp, ips: Vec<Ipv4Addr>) {
        if self.past.len() >= HISTORY_MAX {
            self.past.pop_front();
        }
        let before = std::mem::replace(&mut self.private_ips, ips);
        self.past.push_back((now, before));
    }
}

impl Cloud {
    pub(crate) fn assign(&mut self, now: Timestamp, call: &Assign) -> Result<Reply, Ec2Error> {
        let (id, ips) = (&call.interface, &call.private_ips);
        let interface = self.interfaces.get(id).ok_or_else(|| Ec2Error::interface_not_found(id))?;
        if let Some(outside) = ips.iter().find(|ip| !interface.within_subnet(**ip)) {
            return Err(Ec2Error::invalid_parameter(format!(
                "Address {outside} does not fall within the subnet's address range"
            )));
        }
        for ip in ips {
            let Some((holder, held)) = self.with_address(&interface.subnet(), *ip) else {
                continue;
            };
            if held.primary() == *ip || (holder != id && !call.reassign) {
                return Err(Ec2Error::move_not_allowed(*ip));
            }
        }
        let mut next = interface.private_ips.clone();
        for ip in ips {
            if !next.contains(ip) {
                next.push(*ip);
            }
        }
        if next.len() > ADDRESSES_MAX {
            return Err(Ec2Error::private_address_limit_exceeded(id));
        }
        let (subnet, instance) = (interface.subnet(), interface.instance.clone());
        for ip in ips {
            let from = self.with_address(&subnet, *ip).map(|(holder, _)| holder.clone());
            let Some(from) = from.filter(|from| from != id) else { continue };
            self.take_off(now, &from, &[*ip]);
            // "When you move a secondary private IP address to another network interface, any
            // Elastic IP address that is associated with the IP address is also moved."
            self.rebind(now, &from, *ip, Some((id, instance.as_ref())));
        }
        if let Some(interface) = self.interfaces.get_mut(id)
            && interface.private_ips != next
        {
            interface.set(now, next);
            self.revision += 1;
        }
        Ok(Reply::Assigned { interface: id.clone(), private_ips: ips.clone() })
    }

    pub(crate) fn unassign(
        &mut self,
        now: Timestamp,
        id: &str,
        ips: &[Ipv4Addr],
    ) -> Result<Reply, Ec2Error> {
        let interface = self.interfaces.get(id).ok_or_else(|| Ec2Error::interface_not_found(id))?;
        let secondary = interface.private_ips.get(1..).unwrap_or_default();
        if ips.iter().any(|ip| !secondary.contains(ip)) {
            return Err(Ec2Error::invalid_parameter(format!(
                "Some of the specified addresses are not assigned to interface {id}"
            )));
        }
        self.take_off(now, id, ips);
        for ip in ips {
            self.rebind(now, id, *ip, None);
        }
        self.revision += 1;
        Ok(Reply::Disassociated)
    }

    /// The interface of that subnet that has an address.
    fn with_address(&self, subnet: &str, ip: Ipv4Addr) -> Option<(&String, &Interface)> {
        let has = |it: &Interface| it.private_ips.contains(&ip) && it.subnet() == subnet;
        self.interfaces.iter().find(|(_, interface)| has(interface))
    }

    fn take_off(&mut self, now: Timestamp, id: &str, ips: &[Ipv4Addr]) {
        if let Some(interface) = self.interfaces.get_mut(id) {
            let mut left = interface.private_ips.clone();
            left.retain(|ip| !ips.contains(ip));
            interface.set(now, left);
        }
    }
}
