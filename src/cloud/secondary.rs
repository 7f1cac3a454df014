//! Secondary private addresses: assigned to one interface at a time, within a subnet.
//!
//! EC2 carries an assignment out asynchronously
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssignPrivateIpAddresses.html>):
//! acknowledged is not yet remapped. An assignment has no id; the core gets the interface's.

use std::net::Ipv4Addr;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::assign_private_ip_addresses::AssignPrivateIpAddressesOutput;
use aws_sdk_ec2::types::{Filter, NetworkInterface};
use tokio::time::timeout;
use vipward_core::{
    AddressId, AddressKind, Association, AssociationId, CallOutcome, CallReply, GroupId, Holder,
    Observation,
};

use super::call::{Answer, NO_ADDRESS, answer, node_of};
use super::fence::Fence;
use super::identity::Own;
use super::outcome::{failed, of_error};
use super::{AddressIds, Cluster, Shared, subnet};

/// The MAC address of a network interface.
pub type Mac = [u8; 6];

/// Pause between two tries to learn what this node's interface is: doubled up to [`RETRY_MOST`].
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);
/// A reload may bring the first secondary address.
const LOOK: Duration = Duration::from_secs(30);

/// Moves an address to `interface`; the flag is always said.
pub(super) async fn assign(
    client: &Client,
    ip: Ipv4Addr,
    interface: &str,
    reassign: bool,
    fence: Option<Fence>,
) -> Answer {
    let call = client
        .assign_private_ip_addresses()
        .network_interface_id(interface)
        .private_ip_addresses(ip.to_string())
        .allow_reassignment(reassign);
    let sent = match fence {
        Some(fence) => call.customize().interceptor(fence).send().await,
        None => call.send().await,
    };
    answer(sent, |output| {
        says(output, interface, ip)?;
        Ok(CallReply::Associated(AssociationId(interface.into())))
    })
}

/// Whether an answer says what was asked for: one that does not is no success.
fn says(
    output: &AssignPrivateIpAddressesOutput,
    interface: &str,
    ip: Ipv4Addr,
) -> Result<(), String> {
    let answer = "the answer to AssignPrivateIpAddresses";
    match output.network_interface_id().filter(|id| !id.is_empty()) {
        Some(id) if id == interface => {}
        Some(other) => return Err(format!("{answer} names {other} instead of {interface}")),
        None => return Err(format!("{answer} has no networkInterfaceId")),
    }
    // An address that was there already need not be named again.
    let text = ip.to_string();
    let assigned = output.assigned_private_ip_addresses();
    if assigned.is_empty() || assigned.iter().any(|it| it.private_ip_address() == Some(&*text)) {
        return Ok(());
    }
    Err(format!("{answer} names other addresses than {ip}"))
}

/// Takes an address off the interface that was seen to have it.
pub(super) async fn unassign(
    client: &Client,
    ip: Ipv4Addr,
    interface: &str,
    fence: Option<Fence>,
) -> Answer {
    let call = client
        .unassign_private_ip_addresses()
        .network_interface_id(interface)
        .private_ip_addresses(ip.to_string());
    let sent = match fence {
        Some(fence) => call.customize().interceptor(fence).send().await,
        None => call.send().await,
    };
    answer(sent, |_| Ok(CallReply::Disassociated))
}

/// The filter for interfaces that have `ip`, as primary or secondary address.
pub(super) fn with_address(ip: Ipv4Addr) -> Filter {
    Filter::builder().name("addresses.private-ip-address").values(ip.to_string()).build()
}

/// Reads who holds `addresses`: one observation for each, or an error. Another VPC may use the
/// same addresses: only interfaces of this node's subnet count.
pub(super) async fn describe(
    client: &Client,
    cluster: &Cluster,
    own: &Own,
    group: GroupId,
    addresses: &[AddressId],
) -> Answer {
    let Some(subnet) = &own.subnet else {
        return (failed("the subnet of this node's network interface is not known yet"), None);
    };
    let mut wanted = Filter::builder().name("addresses.private-ip-address");
    let mut ips = Vec::with_capacity(addresses.len());
    for address in addresses {
        let Some(ip) = cluster.secondary(group, *address) else {
            return (failed(NO_ADDRESS), None);
        };
        wanted = wanted.values(ip.to_string());
        ips.push((*address, ip));
    }
    let within = Filter::builder().name("subnet-id").values(&**subnet).build();
    let call = client.describe_network_interfaces().filters(wanted.build()).filters(within);
    answer(call.send().await, |output| {
        if output.next_token().is_some_and(|token| !token.is_empty()) {
            return Err("the answer to DescribeNetworkInterfaces is not whole".to_owned());
        }
        let shown = output.network_interfaces();
        let observe =
            |(address, ip): &(AddressId, Ipv4Addr)| observation(cluster, own, *address, *ip, shown);
        ips.iter().map(observe).collect::<Result<_, _>>().map(CallReply::Described)
    })
}

/// Who has `ip` among the interfaces shown.
fn observation(
    cluster: &Cluster,
    own: &Own,
    address: AddressId,
    ip: Ipv4Addr,
    shown: &[NetworkInterface],
) -> Result<Observation, String> {
    let text = ip.to_string();
    let has = |interface: &&NetworkInterface| {
        let addresses = interface.private_ip_addresses();
        addresses.iter().any(|address| address.private_ip_address() == Some(&*text))
    };
    let mut holders = shown.iter().filter(has);
    let holder = holders.next();
    if holders.next().is_some() {
        // While it moves EC2 may show both: a later read tells.
        return Err(format!("the answer to DescribeNetworkInterfaces shows {ip} twice"));
    }
    let association = match holder {
        None => None,
        Some(interface) => {
            let id = interface.network_interface_id().filter(|id| !id.is_empty());
            let id = id.ok_or_else(|| {
                format!("the answer to DescribeNetworkInterfaces does not say who holds {ip}")
            })?;
            let instance = interface.attachment().and_then(|it| it.instance_id());
            let primary = interface.private_ip_address();
            let holder = node_of(cluster, own, Some(id), instance, primary)
                .unwrap_or_else(|| Holder::Outside(id.into()));
            Some(Association { id: AssociationId(id.into()), holder })
        }
    };
    Ok(Observation { address, ip: Some(ip.into()), association })
}

/// Learns what this node's interface is: its MAC for the kernel, its subnet for reads, its primary
/// address for the preflight. Only where there is a secondary address, or one may come.
pub(super) async fn learn_own(shared: &Shared) {
    let mut pause = RETRY;
    let mut ids = shared.own.subscribe();
    if ids.wait_for(|own| own.interface_id.is_some()).await.is_err() {
        return;
    }
    loop {
        let cluster = shared.cluster();
        if !cluster.has(AddressKind::SecondaryIp) && !cluster.binds_private() {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        if learn_once(shared).await {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}

async fn learn_once(shared: &Shared) -> bool {
    let within = shared.settings.call_timeout;
    let interface = shared.own.borrow().interface_id.clone();
    let (Some(interface), Some(connections)) = (interface, shared.connections()) else {
        return false;
    };
    // Metadata is nearer, and there when the API is not.
    if let Some(metadata) = &shared.metadata
        && let Ok(Some(mac)) = metadata.mac_of(&interface).await
        && let Some(mac) = parse_mac(&mac)
    {
        shared.mac.send_replace(Some(mac));
    }
    if !shared.credentials.loaded(within).await {
        return false;
    }
    let client = connections.pool().client;
    matches!(timeout(within, look(shared, &client, &interface)).await, Ok(Ok(_)))
}

/// Which secondary addresses no call can bring to this node, for its subnet's sake. Only metadata
/// tells the range: the API would take a further permission.
pub(super) async fn misplaced(shared: &Shared, interface: &str) -> Vec<String> {
    let known = shared.own.borrow().range;
    let range = match (known, &shared.metadata) {
        (Some(range), _) => range,
        (None, None) => return Vec::new(),
        (None, Some(metadata)) => {
            let Ok(Some(range)) = metadata.subnet_range(interface).await else { return Vec::new() };
            shared.own.send_modify(|own| own.range = Some(range));
            range
        }
    };
    let cluster = shared.cluster();
    let mine = cluster.groups.iter().filter(|group| group.mine).flat_map(|it| &it.addresses);
    let fault = |address: &AddressIds| match address {
        AddressIds::SecondaryIp { ip } => subnet::fault(range, *ip),
        AddressIds::ElasticIp { .. } => None,
    };
    mine.filter_map(fault).collect()
}

/// What this node knows of itself, its subnet included: read now if nothing has told it yet.
pub(super) async fn with_subnet(
    shared: &Shared,
    client: &Client,
    interface: &str,
) -> Result<Own, CallOutcome> {
    let own = shared.own.borrow().clone();
    if own.subnet.is_some() { Ok(own) } else { look(shared, client, interface).await }
}

/// Reads this node's interface once, and keeps what it shows.
async fn look(shared: &Shared, client: &Client, interface: &str) -> Result<Own, CallOutcome> {
    let read = client.describe_network_interfaces().network_interface_ids(interface).send().await;
    let read = read.map_err(|error| of_error(&error))?;
    let unknown = |what: &str| {
        failed(format!("the answer to DescribeNetworkInterfaces does not show {what}"))
    };
    let [shown] = read.network_interfaces() else { return Err(unknown(interface)) };
    if let Some(mac) = shown.mac_address().and_then(parse_mac) {
        shared.mac.send_replace(Some(mac));
    }
    let subnet = shown.subnet_id().filter(|id| !id.is_empty());
    let subnet = subnet.ok_or_else(|| unknown(&format!("the subnet of {interface}")))?;
    shared.own.send_modify(|own| {
        own.subnet = Some(subnet.into());
        own.primary = shown.private_ip_address().and_then(|ip| ip.parse().ok());
    });
    Ok(shared.own.borrow().clone())
}

fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// An address that no interface ever has: link-local, that of instance metadata.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// What the two calls of a claim meet. They have no `DryRun`, so calls are made that cannot
/// succeed: this node's own primary address is assigned to its own interface, and an address that
/// no interface has is taken off it. Refused for its content means permitted. That EC2 looks at
/// permissions first is an assumption (design 5.7).
pub(super) async fn try_calls(
    client: &Client,
    interface: &str,
    primary: Ipv4Addr,
    within: Duration,
) -> [(&'static str, CallOutcome); 2] {
    let assign = timeout(within, assign(client, primary, interface, false, None));
    let unassign = timeout(within, unassign(client, NOWHERE, interface, None));
    let (assigned, unassigned) = tokio::join!(assign, unassign);
    let of = |tried: Result<Answer, _>| tried.map_or(CallOutcome::Timeout, |(outcome, _)| outcome);
    [("AssignPrivateIpAddresses", of(assigned)), ("UnassignPrivateIpAddresses", of(unassigned))]
}

/// Whether a try was refused for what it asked for: then it was permitted. Other refusals would
/// meet the real call as well: no such interface, no room on it, no such action.
pub(super) fn refused_for_content(outcome: &CallOutcome) -> bool {
    let CallOutcome::Refused { code } = outcome else { return false };
    let real = ["InvalidNetworkInterface", "PrivateIpAddressLimitExceeded", "InvalidAction"];
    !real.iter().any(|begin| code.starts_with(begin))
}
