//! A node whose only way to the API is the very address that moves (design 5.7).
//!
//! EC2 releases an interface's automatic public address when an elastic IP is associated, and
//! gives none back when the elastic IP leaves. In a subnet whose way out is an internet gateway
//! that node then cannot reach the API any more: it could be master once, and never again. It
//! shows while all is still well: requests to a public endpoint leave from the very private
//! address that the elastic IP is, or will be, associated with, and nothing else makes it public.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use aws_sdk_ec2::types::NetworkInterface;
use hyper::Uri;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::identity::Own;
use super::preflight::sentence;
use super::{AddressIds, Cluster};

/// What this node's interface shows, where this node may read it. Without the permission, or
/// without an answer, nothing: other tries tell those problems.
pub(super) async fn hints(
    client: &Client,
    cluster: &Cluster,
    own: &Own,
    interface: &str,
    within: Duration,
) -> Vec<String> {
    let seen = SeenEndpoint::default();
    let read = client.describe_network_interfaces().network_interface_ids(interface).customize();
    let read = read.interceptor(seen.clone()).send();
    let Ok(Ok(read)) = timeout(within, read).await else { return Vec::new() };
    let [shown] = read.network_interfaces() else { return Vec::new() };
    let mut hints = Vec::new();
    hints.extend(attached_elsewhere(own, interface, shown));
    hints.extend(bound_to_nothing(cluster, interface, shown));
    let source = timeout(within, seen.source());
    if let Ok(Some((endpoint, source))) = source.await {
        hints.extend(moving_way_out(cluster, interface, shown, endpoint, source));
    }
    hints
}

/// The interface is attached to another instance than this node is.
fn attached_elsewhere(own: &Own, interface: &str, shown: &NetworkInterface) -> Option<String> {
    let attached = shown.attachment()?.instance_id().filter(|id| !id.is_empty())?;
    let own = own.instance_id.as_deref()?;
    (attached != own).then(|| {
        sentence(&format!(
            "the interface {interface} belongs to {attached}, but this node is {own}: \
             correct its network_interface_id, or its instance_id"
        ))
    })
}

/// Elastic IPs whose private address the interface does not have: `DryRun` does not look at it.
fn bound_to_nothing(
    cluster: &Cluster,
    interface: &str,
    shown: &NetworkInterface,
) -> impl Iterator<Item = String> {
    let has = |ip: &str| {
        let mut addresses = shown.private_ip_addresses().iter();
        addresses.any(|address| address.private_ip_address() == Some(ip))
    };
    let mine = cluster.groups.iter().filter(|group| group.mine).flat_map(|group| &group.addresses);
    mine.filter_map(move |address| match address {
        AddressIds::ElasticIp { allocation_id, private_ip: Some(ip) } if !has(ip) => {
            Some(sentence(&format!(
                "{ip}, the private_ip of {allocation_id} at this node, is no address of \
                 {interface}: assign it there in EC2, or correct private_ip"
            )))
        }
        AddressIds::ElasticIp { .. } | AddressIds::SecondaryIp { .. } => None,
    })
}

/// Requests leave by an address that a move of an elastic IP takes away.
fn moving_way_out(
    cluster: &Cluster,
    interface: &str,
    shown: &NetworkInterface,
    endpoint: IpAddr,
    source: IpAddr,
) -> Option<String> {
    if !is_public(endpoint) {
        return None;
    }
    let source = source.to_string();
    let addresses = shown.private_ip_addresses();
    let from = addresses.iter().find(|a| a.private_ip_address() == Some(&*source))?;
    // Elastic IPs are associated with the primary private address.
    let association = from.association().filter(|_| from.primary() == Some(true))?;
    let public = association.public_ip().unwrap_or("its public address");
    let mut moving = cluster.groups.iter().filter(|g| g.mine).flat_map(|g| &g.addresses);
    let moves =
        moving.any(|a| a.allocation().is_some_and(|id| association.allocation_id() == Some(id)));
    let automatic = association.ip_owner_id() == Some("amazon");
    (moves || automatic).then(|| {
        sentence(&format!(
            "after handing an elastic IP over this node cannot reach the EC2 API any more, since \
             its requests leave by {public} of {interface}: add a VPC endpoint for ec2, or a \
             second elastic IP on another address of the node and send them from there"
        ))
    })
}

/// Neither in a VPC nor on this host.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_private() && !ip.is_loopback() && !ip.is_link_local(),
        // An elastic IP is an IPv4 address: a way out by IPv6 stays.
        IpAddr::V6(_) => false,
    }
}

/// Remembers where a request went: the SDK's endpoint rules are its own.
#[derive(Clone, Debug, Default)]
struct SeenEndpoint(Arc<OnceLock<String>>);

impl SeenEndpoint {
    /// The endpoint's address, and the local one that this machine uses towards it.
    async fn source(&self) -> Option<(IpAddr, IpAddr)> {
        let uri: Uri = self.0.get()?.parse().ok()?;
        let port = uri.port_u16().unwrap_or(443);
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let endpoint = lookup_host((host, port)).await.ok()?.find(SocketAddr::is_ipv4)?;
        let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
        // Sends nothing: it only asks the kernel for the route.
        socket.connect(endpoint).await.ok()?;
        Some((endpoint.ip(), socket.local_addr().ok()?.ip()))
    }
}

impl Intercept for SeenEndpoint {
    fn name(&self) -> &'static str {
        "seen endpoint"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let _ = self.0.set(context.request().uri().to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{NetworkInterfaceAssociation, NetworkInterfacePrivateIpAddress};

    use super::super::GroupAddresses;
    use super::*;

    const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    /// An interface whose address 10.0.1.10 has this public one.
    fn shown(primary: bool, association: Option<NetworkInterfaceAssociation>) -> NetworkInterface {
        let address = NetworkInterfacePrivateIpAddress::builder()
            .private_ip_address("10.0.1.10")
            .primary(primary)
            .set_association(association);
        NetworkInterface::builder().private_ip_addresses(address.build()).build()
    }

    fn hint(shown: &NetworkInterface, endpoint: IpAddr, source: &str) -> Option<String> {
        let addresses = vec![AddressIds::ElasticIp {
            allocation_id: "eipalloc-1".to_owned(),
            private_ip: None,
        }];
        let group = GroupAddresses { mine: true, addresses, ..GroupAddresses::default() };
        let cluster = Cluster { groups: vec![group], ..Cluster::default() };
        moving_way_out(&cluster, "eni-a", shown, endpoint, source.parse().unwrap())
    }

    #[test]
    fn a_way_out_that_a_move_takes_away_is_seen() {
        let association = |allocation: Option<&str>, owner: &str| {
            let association = NetworkInterfaceAssociation::builder().public_ip("198.51.100.10");
            let association = association.ip_owner_id(owner);
            association.set_allocation_id(allocation.map(str::to_owned)).build()
        };
        let moving = association(Some("eipalloc-1"), "123456789012");
        let automatic = association(None, "amazon");
        let fixed = association(Some("eipalloc-9"), "123456789012");
        let inside = IpAddr::from([10, 0, 1, 99]);
        for (seen, shown, endpoint, source) in [
            (true, shown(true, Some(moving.clone())), PUBLIC, "10.0.1.10"),
            (true, shown(true, Some(automatic)), PUBLIC, "10.0.1.10"),
            (false, shown(true, Some(fixed)), PUBLIC, "10.0.1.10"),
            (false, shown(true, None), PUBLIC, "10.0.1.10"),
            (false, shown(false, Some(moving.clone())), PUBLIC, "10.0.1.10"),
            (false, shown(true, Some(moving.clone())), PUBLIC, "10.0.9.10"),
            (false, shown(true, Some(moving)), inside, "10.0.1.10"),
        ] {
            assert_eq!(hint(&shown, endpoint, source).is_some(), seen, "{shown:?} {endpoint}");
        }
    }
}
