//! Whether this node could take over now: the exact calls, tried by `DryRun` (design 5.7).
//!
//! Every problem is one sentence with its remedy. `DryRun` answers 412 `DryRunOperation` to a call
//! that is permitted and 403 `UnauthorizedOperation` to one that is not
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html>).

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::Client;
use tokio::task::JoinSet;
use tokio::time::timeout;
use vipward_core::{
    AddressId, AddressKind, Association, AssociationId, CallOutcome, CallReply, GroupId, Holder,
    Observation, Operation,
};

use super::call::{NO_CLIENT, NOT_PERMITTED, answer, describe};
use super::identity::Own;
use super::{AddressIds, Cloud, Cluster, GroupAddresses, reach, secondary};

/// Credentials that end sooner than this, although they are renewed at half of their life.
const EXPIRING: Duration = Duration::from_secs(5 * 60);
/// The call that shows a node's own interface, and who has a secondary address.
const LOOK: &str = "DescribeNetworkInterfaces";
/// Calls at once, so that the preflight of many addresses is not throttled for its own sake.
const AT_ONCE: usize = 4;

impl Cloud {
    /// What stands in the way of a takeover; nothing if all is well, or if this node may hold no
    /// address. Takes at most a few times `call_timeout`, and changes nothing.
    pub async fn preflight(&self) -> Vec<String> {
        let cluster = self.shared.cluster();
        let mine =
            |(_, group): &(GroupId, &GroupAddresses)| group.mine && !group.addresses.is_empty();
        let groups: Vec<_> = (0..).map(GroupId).zip(&cluster.groups).filter(mine).collect();
        if groups.is_empty() {
            return Vec::new();
        }
        let mut problems = self.credential_problems();
        let own = self.shared.own.borrow().clone();
        let interface = own.interface_id.clone();
        if interface.is_none() {
            problems.push(sentence(&own.missing()));
        }
        let connections = self.shared.connections();
        if connections.is_none() {
            problems.push(sentence(NO_CLIENT));
        }
        let (Some(connections), Some(interface)) = (connections, interface) else {
            return problems;
        };
        if !self.shared.credentials.any() {
            return problems;
        }
        let pool = connections.pool();
        let within = self.shared.settings.call_timeout;
        let secondary = cluster.has(AddressKind::SecondaryIp);
        let own = if secondary {
            let look = secondary::with_subnet(&self.shared, &pool.client, &interface);
            match timeout(within, look).await.unwrap_or(Err(CallOutcome::Timeout)) {
                Ok(own) => own,
                Err(outcome) => {
                    self.refresh_credentials_after(&outcome);
                    if outcome == CallOutcome::Timeout {
                        connections.replace(&pool);
                    }
                    problems.extend(problem(LOOK, &interface, &outcome, within));
                    return problems;
                }
            }
        } else {
            own
        };
        let tried = Tried { client: pool.client.clone(), within, cluster: &cluster, own: &own };
        if secondary {
            let misplaced = secondary::misplaced(&self.shared, &interface).await;
            problems.extend(misplaced.iter().map(|problem| sentence(problem)));
            problems.extend(tried.try_secondary(&interface).await);
        }
        for (group, _) in groups {
            match tried.read(group).await {
                Ok(seen) => {
                    problems.extend(tried.outside(&seen));
                    problems.extend(tried.try_calls(group, seen, &interface).await);
                }
                Err(Unread { outcome, sentences }) => {
                    self.refresh_credentials_after(&outcome);
                    problems.extend(sentences);
                    // The rest would only say the same again.
                    if outcome.is_unknown() {
                        if outcome == CallOutcome::Timeout {
                            connections.replace(&pool);
                        }
                        return problems;
                    }
                }
            }
        }
        problems
            .extend(reach::hints(&tried.client, &cluster, &own, &interface, tried.within).await);
        problems.dedup();
        problems
    }

    fn credential_problems(&self) -> Vec<String> {
        let credentials = &self.shared.credentials;
        let why = credentials.trouble();
        let why = why.as_deref();
        if !credentials.any() {
            let why = why.unwrap_or("none have been fetched yet");
            return vec![sentence(&format!(
                "there are no credentials ({why}): give the instance a role, or set AWS_PROFILE"
            ))];
        }
        let ends_soon = credentials.left().filter(|left| *left < EXPIRING);
        match (ends_soon, why) {
            (Some(left), Some(why)) => vec![sentence(&format!(
                "the credentials end in {} s and cannot be renewed ({why}): \
                 make the source of the credentials reachable",
                left.as_secs()
            ))],
            (Some(_), None) | (None, _) => Vec::new(),
        }
    }
}

/// What the tries of one preflight share.
struct Tried<'a> {
    client: Client,
    within: Duration,
    cluster: &'a Cluster,
    own: &'a Own,
}

/// A read that failed, and what to say about it.
struct Unread {
    outcome: CallOutcome,
    sentences: Vec<String>,
}

impl Tried<'_> {
    /// Reads all addresses of a group, one by one where the answer would not tell which is wrong.
    async fn read(&self, group: GroupId) -> Result<Vec<Observation>, Unread> {
        let mut seen = Vec::new();
        for kind in AddressKind::ALL {
            let addresses = self.cluster.groups.get(group.index()).map(|g| &g.addresses);
            let all: Vec<_> = (0..)
                .map(AddressId)
                .zip(addresses.into_iter().flatten())
                .filter_map(|(id, address)| (address.kind() == kind).then_some(id))
                .collect();
            if !all.is_empty() {
                seen.extend(self.read_kind(group, kind, &all).await?);
            }
        }
        Ok(seen)
    }

    async fn read_kind(
        &self,
        group: GroupId,
        kind: AddressKind,
        all: &[AddressId],
    ) -> Result<Vec<Observation>, Unread> {
        let operation = Operation::Describe { kind, addresses: Vec::new() }.as_str();
        let outcome = match self.describe(group, kind, all).await {
            Ok(seen) => return Ok(seen),
            Err(outcome) => outcome,
        };
        let mut sentences = Vec::new();
        if matches!(outcome, CallOutcome::Refused { .. }) {
            for address in all {
                if let Err(outcome) = self.describe(group, kind, &[*address]).await {
                    let name = self.cluster.name(group, *address).unwrap_or_default();
                    sentences.extend(problem(operation, &name, &outcome, self.within));
                }
            }
        } else {
            sentences.extend(problem(operation, "", &outcome, self.within));
        }
        Err(Unread { outcome, sentences })
    }

    async fn describe(
        &self,
        group: GroupId,
        kind: AddressKind,
        addresses: &[AddressId],
    ) -> Result<Vec<Observation>, CallOutcome> {
        let (client, cluster, own) = (&self.client, self.cluster, self.own);
        let read = async {
            match kind {
                AddressKind::ElasticIp => describe(client, cluster, own, group, addresses).await,
                AddressKind::SecondaryIp => {
                    secondary::describe(client, cluster, own, group, addresses).await
                }
            }
        };
        match timeout(self.within, read).await {
            Ok((CallOutcome::Ok(CallReply::Described(seen)), _)) => Ok(seen),
            Ok((outcome, _)) => Err(outcome),
            Err(_) => Err(CallOutcome::Timeout),
        }
    }

    /// Addresses that something outside the cluster holds. Only where every other node's ids are
    /// known: an unknown holder may else be a peer.
    fn outside(&self, seen: &[Observation]) -> Vec<String> {
        let others = (0..).map(vipward_core::NodeId).zip(&self.cluster.nodes);
        let mut others =
            others.filter(|(node, ids)| Some(*node) != self.cluster.me && ids.may_hold);
        let all_known = others.all(|(_, ids)| ids.network_interface_id.is_some());
        if !all_known {
            return Vec::new();
        }
        let held = seen.iter().filter_map(|seen| {
            let Association { holder: Holder::Outside(holder), .. } = seen.association.as_ref()?
            else {
                return None;
            };
            Some(format!(
                "{} is held by {holder}, which is no node of this cluster: release it there, \
                 or correct the network_interface_id of the node that it is",
                seen.ip.map_or_else(|| "an address".to_owned(), |ip| ip.to_string()),
            ))
        });
        held.map(|problem| sentence(&problem)).collect()
    }

    /// Tries the calls of a claim on secondary addresses: once for all of them, since what is
    /// tried is none of them.
    async fn try_secondary(&self, interface: &str) -> Vec<String> {
        let Some(primary) = self.own.primary else {
            return vec![sentence(&format!(
                "EC2 does not show the primary private address of {interface}, so it cannot be \
                 tried whether this node may assign addresses to it: correct its \
                 network_interface_id"
            ))];
        };
        let tried = secondary::try_calls(&self.client, interface, primary, self.within).await;
        let found = |(operation, outcome): (&str, CallOutcome)| {
            let permitted = secondary::refused_for_content(&outcome);
            (!permitted).then(|| problem(operation, interface, &outcome, self.within)).flatten()
        };
        tried.into_iter().filter_map(found).collect()
    }

    /// Tries the calls of a claim on every elastic IP of the group.
    async fn try_calls(
        &self,
        group: GroupId,
        seen: Vec<Observation>,
        interface: &Arc<str>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let mut tries = JoinSet::new();
        for seen in seen {
            let Some(ids) = self.cluster.address(group, seen.address) else { continue };
            let (client, within) = (self.client.clone(), self.within);
            let AddressIds::ElasticIp { allocation_id, private_ip } = ids.clone() else { continue };
            let (ids, interface) = ((allocation_id, private_ip), Arc::clone(interface));
            let association = seen.association.map(|association| association.id);
            if tries.len() >= AT_ONCE
                && let Some(Ok(found)) = tries.join_next().await
            {
                problems.push(found);
            }
            tries.spawn(try_elastic(client, ids, interface, association, within));
        }
        while let Some(tried) = tries.join_next().await {
            problems.extend(tried);
        }
        problems.into_iter().flatten().collect()
    }
}

/// Tries the two calls of a claim on an elastic IP.
async fn try_elastic(
    client: Client,
    (allocation, private_ip): (String, Option<String>),
    interface: Arc<str>,
    association: Option<AssociationId>,
    within: Duration,
) -> Vec<String> {
    let associate = client
        .associate_address()
        .dry_run(true)
        .allocation_id(&allocation)
        .network_interface_id(&*interface)
        .set_private_ip_address(private_ip)
        .allow_reassociation(true);
    let associate = async { answer(associate.send().await, |_| Err(String::new())).0 };
    let associate = timeout(within, associate).await.unwrap_or(CallOutcome::Timeout);
    let mut problems: Vec<_> =
        problem("AssociateAddress", &allocation, &associate, within).into_iter().collect();
    // A fenced claim needs it; so does every retry after an unknown outcome.
    if let Some(association) = association {
        let end = client.disassociate_address().dry_run(true).association_id(&*association.0);
        let end = async { answer(end.send().await, |_| Err(String::new())).0 };
        let end = timeout(within, end).await.unwrap_or(CallOutcome::Timeout);
        let moved_meanwhile = matches!(&end,
            CallOutcome::Refused { code } if &**code == "InvalidAssociationID.NotFound");
        if !moved_meanwhile {
            problems.extend(problem("DisassociateAddress", &allocation, &end, within));
        }
    }
    problems
}

/// What an outcome of a try means; nothing if it shows that the call would have worked.
fn problem(
    operation: &str,
    address: &str,
    outcome: &CallOutcome,
    within: Duration,
) -> Option<String> {
    let of = if address.is_empty() { String::new() } else { format!(" of {address}") };
    let text = match outcome {
        CallOutcome::Refused { code } if &**code == "DryRunOperation" => return None,
        CallOutcome::Refused { code } if code.starts_with("InvalidAllocationID") => {
            format!(
                "EC2 knows no elastic IP {address} in this region ({code}): \
                 correct its allocation_id, or the region"
            )
        }
        CallOutcome::Refused { code } if code.starts_with("InvalidNetworkInterfaceI") => {
            format!(
                "EC2 knows no such interface of this node ({code} on {operation}): \
                 correct its network_interface_id"
            )
        }
        CallOutcome::Refused { code } => {
            format!(
                "EC2 would refuse {operation}{of} with {code}: \
                 correct what the code names, in the configuration or in EC2"
            )
        }
        CallOutcome::Denied { code } if &**code == NOT_PERMITTED => {
            format!("{operation}{of} is not permitted: allow ec2:{operation} to this node's role")
        }
        CallOutcome::Denied { code } => {
            format!(
                "EC2 does not accept this node's credentials ({code}): \
                 check its role or keys, and its clock"
            )
        }
        CallOutcome::Throttled => {
            format!(
                "EC2 throttles this account's calls ({operation}): \
                 find out what else calls the API so often"
            )
        }
        CallOutcome::Timeout => {
            format!(
                "the EC2 API does not answer {operation} within {within:?}: \
                 check routes, security groups and DNS from this node to its endpoint"
            )
        }
        CallOutcome::Error { what } if what.is_empty() => {
            format!(
                "the endpoint carried out {operation}{of} although it was asked only to try \
                 it (DryRun): use an endpoint that knows DryRun"
            )
        }
        CallOutcome::Error { what } => {
            format!(
                "{operation}{of} failed ({what}): \
                 check that this node reaches the EC2 API, and its endpoint_url"
            )
        }
        CallOutcome::Ok(_) | CallOutcome::NotStarted => return None,
    };
    Some(sentence(&text))
}

/// A sentence begins with a capital and ends with a full stop.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    let first = chars.next();
    // Names of operations and ids keep their case.
    let first = first.filter(|_| !text.starts_with("eipalloc-") && !text.starts_with("eni-"));
    match first {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => format!("{text}."),
    }
}
