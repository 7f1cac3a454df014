//! One call of the core, as one request of the SDK and back.

use std::net::IpAddr;
use std::sync::Arc;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use aws_sdk_ec2::types::Address;
use tokio::time::Instant;
use tracing::Instrument;
use vipward_core::{
    AddressId, AddressKind, Association, AssociationId, CallOutcome, CallReply, CloudCall, GroupId,
    Holder, Observation, Operation,
};

use super::connections::Pool;
use super::fence::Fence;
use super::identity::Own;
use super::outcome::{failed, of_error};
use super::{AddressIds, Clock, Cloud, Cluster, Finished, secondary};

/// An outcome, and the cloud's name for the request.
pub(super) type Answer = (CallOutcome, Option<Arc<str>>);

impl Cloud {
    /// Carries out one call: at most one request, never repeated, its outcome within
    /// `call.timeout`.
    pub async fn execute(&self, call: CloudCall, clock: &Clock) -> Finished {
        let span = tracing::info_span!(
            "cloud.call",
            otel.kind = "client",
            operation = call.operation.as_str(),
            term = call.term.0,
            group = tracing::field::Empty,
            address = tracing::field::Empty,
            outcome = tracing::field::Empty,
            request_id = tracing::field::Empty,
        );
        self.carry_out(call, clock).instrument(span).await
    }

    async fn carry_out(&self, call: CloudCall, clock: &Clock) -> Finished {
        let started = Instant::now();
        let cluster = self.shared.cluster();
        name_in_span(&cluster, &call);
        let (outcome, request_id) = match self.shared.connections() {
            None => (failed(NO_CLIENT), None),
            Some(connections) => {
                let pool = connections.pool();
                let sent = self.send(&pool, &cluster, &call, clock);
                let answer = tokio::time::timeout(call.timeout, sent).await;
                let answer = answer.unwrap_or((CallOutcome::Timeout, None));
                if way_out_may_have_changed(&call.operation, &answer.0) {
                    connections.replace(&pool);
                }
                answer
            }
        };
        let took = started.elapsed();
        self.refresh_credentials_after(&outcome);
        // Whether this node alone fails decides who should lead: not a minute later.
        let failed = matches!(outcome, CallOutcome::Denied { .. }) || outcome.is_unknown();
        if call.operation.mutates().is_some() && failed {
            self.doubt_preflight();
        }
        self.shared.observer.call(call.operation.as_str(), outcome.as_str(), took);
        tell(&outcome, request_id.as_deref());
        Finished { outcome, request_id, took }
    }

    /// Fetches new credentials where the cloud did not accept these.
    pub(super) fn refresh_credentials_after(&self, outcome: &CallOutcome) {
        if let CallOutcome::Denied { code } = outcome
            && &**code != NOT_PERMITTED
        {
            self.shared.credentials.refresh();
        }
    }

    async fn send(
        &self,
        pool: &Pool,
        cluster: &Cluster,
        call: &CloudCall,
        clock: &Clock,
    ) -> Answer {
        let client = &pool.client;
        let own = self.shared.own.borrow().clone();
        let Some(interface) = &own.interface_id else {
            return (failed(own.missing()), None);
        };
        let fence = call.not_after.map(|not_after| Fence::new(not_after, Arc::clone(clock)));
        if fence.as_ref().is_some_and(|fence| !fence.permits()) {
            return (CallOutcome::NotStarted, None);
        }
        let answer = match &call.operation {
            Operation::Describe { kind: AddressKind::ElasticIp, addresses } => {
                describe(client, cluster, &own, call.group, addresses).await
            }
            Operation::Describe { kind: AddressKind::SecondaryIp, addresses } => {
                match secondary::with_subnet(&self.shared, client, interface).await {
                    Ok(own) => {
                        secondary::describe(client, cluster, &own, call.group, addresses).await
                    }
                    Err(outcome) => (outcome, None),
                }
            }
            Operation::Associate { address, reassociate } => {
                let Some(ids) = cluster.address(call.group, *address) else {
                    return (failed(NO_ADDRESS), None);
                };
                associate(client, ids, interface, *reassociate, fence.clone()).await
            }
            Operation::Assign { address, reassign } => {
                let Some(ip) = cluster.secondary(call.group, *address) else {
                    return (failed(NO_ADDRESS), None);
                };
                secondary::assign(client, ip, interface, *reassign, fence.clone()).await
            }
            Operation::Unassign { address, interface } => {
                let Some(ip) = cluster.secondary(call.group, *address) else {
                    return (failed(NO_ADDRESS), None);
                };
                secondary::unassign(client, ip, &interface.0, fence.clone()).await
            }
            Operation::Disassociate { address: _, association } => {
                disassociate(client, association, fence.clone()).await
            }
        };
        match fence {
            Some(fence) if fence.refused() => (CallOutcome::NotStarted, None),
            _ => answer,
        }
    }
}

/// The code for credentials that are accepted, but lack a permission.
pub(super) const NOT_PERMITTED: &str = "UnauthorizedOperation";
pub(super) const NO_CLIENT: &str = "the way to the cloud is not set up yet: no region is known; \
     set cloud.region or make instance metadata reachable";
pub(super) const NO_ADDRESS: &str = "the configuration has no such address";

/// Whether connections that are open may be dead now (see [`super::connections`]).
fn way_out_may_have_changed(operation: &Operation, outcome: &CallOutcome) -> bool {
    match operation {
        Operation::Associate { .. } => {
            outcome.is_unknown() || matches!(outcome, CallOutcome::Ok(_))
        }
        Operation::Describe { .. }
        | Operation::Disassociate { .. }
        | Operation::Assign { .. }
        | Operation::Unassign { .. } => {
            matches!(outcome, CallOutcome::Timeout)
        }
    }
}

/// Moves an address to `interface`; both flags are always said, since stand-ins have other
/// defaults than EC2.
async fn associate(
    client: &Client,
    ids: &AddressIds,
    interface: &str,
    reassociate: bool,
    fence: Option<Fence>,
) -> Answer {
    let AddressIds::ElasticIp { allocation_id, private_ip } = ids else {
        return (failed(NO_ADDRESS), None);
    };
    let call = client
        .associate_address()
        .allocation_id(allocation_id)
        .network_interface_id(interface)
        .set_private_ip_address(private_ip.clone())
        .allow_reassociation(reassociate);
    let sent = match fence {
        Some(fence) => call.customize().interceptor(fence).send().await,
        None => call.send().await,
    };
    answer(sent, |output| {
        let id = output.association_id().filter(|id| !id.is_empty());
        id.map(|id| CallReply::Associated(AssociationId(id.into())))
            .ok_or_else(|| "the answer to AssociateAddress has no associationId".to_owned())
    })
}

/// Ends one association.
async fn disassociate(
    client: &Client,
    association: &AssociationId,
    fence: Option<Fence>,
) -> Answer {
    let call = client.disassociate_address().association_id(&*association.0);
    let sent = match fence {
        Some(fence) => call.customize().interceptor(fence).send().await,
        None => call.send().await,
    };
    answer(sent, |_| Ok(CallReply::Disassociated))
}

/// Reads who holds `addresses`: one observation for each, or an error.
pub(super) async fn describe(
    client: &Client,
    cluster: &Cluster,
    own: &Own,
    group: GroupId,
    addresses: &[AddressId],
) -> Answer {
    let mut call = client.describe_addresses();
    for address in addresses {
        let ids = cluster.address(group, *address);
        let Some(allocation) = ids.and_then(AddressIds::allocation) else {
            return (failed(NO_ADDRESS), None);
        };
        call = call.allocation_ids(allocation);
    }
    answer(call.send().await, |output| {
        let shown = output.addresses();
        let observe = |address: &AddressId| {
            let ids = cluster.address(group, *address);
            let allocation = ids.and_then(AddressIds::allocation).unwrap_or_default();
            let shown = shown.iter().find(|shown| shown.allocation_id() == Some(allocation));
            let shown = shown
                .ok_or_else(|| format!("the answer to DescribeAddresses lacks {allocation}"))?;
            observation(cluster, own, *address, shown)
        };
        addresses.iter().map(observe).collect::<Result<_, _>>().map(CallReply::Described)
    })
}

/// What one entry of the answer shows.
fn observation(
    cluster: &Cluster,
    own: &Own,
    address: AddressId,
    shown: &Address,
) -> Result<Observation, String> {
    let present = |field: Option<&str>| field.filter(|text| !text.is_empty()).map(str::to_owned);
    let interface = present(shown.network_interface_id());
    let instance = present(shown.instance_id());
    let holder = interface.as_deref().or(instance.as_deref()).map(|outside| {
        let private = shown.private_ip_address();
        node_of(cluster, own, interface.as_deref(), instance.as_deref(), private)
            .unwrap_or_else(|| Holder::Outside(outside.into()))
    });
    let association = match (present(shown.association_id()), holder) {
        (None, None) => None,
        (Some(id), Some(holder)) => Some(Association { id: AssociationId(id.into()), holder }),
        (Some(_), None) => {
            return Err(format!(
                "the answer to DescribeAddresses does not say who holds {}",
                shown.allocation_id().unwrap_or_default()
            ));
        }
        (None, Some(_)) => {
            return Err(format!(
                "the answer to DescribeAddresses has no associationId for {}",
                shown.allocation_id().unwrap_or_default()
            ));
        }
    };
    let ip = shown.public_ip().and_then(|ip| ip.parse().ok());
    Ok(Observation { address, ip, association })
}

/// The node that an interface, or else an instance, belongs to. Another interface of this machine
/// is not this node: claims go to its own.
///
/// Where only a peer's own instance metadata tells its ids, by the private address that is shown:
/// that of one of its links.
pub(super) fn node_of(
    cluster: &Cluster,
    own: &Own,
    interface: Option<&str>,
    instance: Option<&str>,
    private: Option<&str>,
) -> Option<Holder> {
    let same = |known: Option<&str>, shown: Option<&str>| known.is_some() && known == shown;
    let find = |by: fn(&super::NodeIds) -> Option<&str>, mine: Option<&str>, shown| {
        if same(mine, shown) {
            return cluster.me;
        }
        let nodes = (0..).map(vipward_core::NodeId).zip(&cluster.nodes);
        let mut others = nodes.filter(|(node, _)| Some(*node) != cluster.me);
        others.find(|(_, ids)| same(by(ids), shown)).map(|(node, _)| node)
    };
    let by_instance = interface.is_none() || own.interface_id.is_none();
    let my_instance = own.instance_id.as_deref().filter(|_| by_instance);
    find(|ids| ids.network_interface_id.as_deref(), own.interface_id.as_deref(), interface)
        .or_else(|| find(|ids| ids.instance_id.as_deref(), my_instance, instance))
        .or_else(|| {
            let private: IpAddr = private?.parse().ok()?;
            let mut nodes = (0..).map(vipward_core::NodeId).zip(&cluster.nodes);
            let linked = |(node, ids): &(vipward_core::NodeId, &super::NodeIds)| {
                Some(*node) != cluster.me
                    && ids.network_interface_id.is_none()
                    && ids.links.contains(&private)
            };
            nodes.find(linked).map(|(node, _)| node)
        })
        .map(Holder::Node)
}

/// The outcome of a request, and its id.
pub(super) fn answer<T, E>(
    sent: Result<T, SdkError<E, HttpResponse>>,
    reply: impl FnOnce(&T) -> Result<CallReply, String>,
) -> Answer
where
    T: RequestId,
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match sent {
        Ok(output) => {
            let outcome = reply(&output).map_or_else(failed, CallOutcome::Ok);
            (outcome, output.request_id().map(Arc::from))
        }
        Err(error) => (of_error(&error), error.request_id().map(Arc::from)),
    }
}

fn name_in_span(cluster: &Cluster, call: &CloudCall) {
    let span = tracing::Span::current();
    let group = cluster.groups.get(call.group.index());
    span.record("group", group.map_or("", |group| &*group.name));
    let name = |address: &AddressId| cluster.name(call.group, *address);
    match &call.operation {
        Operation::Describe { kind: _, addresses } => {
            let named: Vec<_> = addresses.iter().filter_map(name).collect();
            span.record("address", named.join(","));
        }
        Operation::Associate { address, .. }
        | Operation::Disassociate { address, .. }
        | Operation::Assign { address, .. }
        | Operation::Unassign { address, .. } => {
            span.record("address", name(address).unwrap_or_default());
        }
    }
}

fn tell(outcome: &CallOutcome, request_id: Option<&str>) {
    let span = tracing::Span::current();
    span.record("outcome", outcome.as_str());
    if let Some(id) = request_id {
        span.record("request_id", id);
    }
    match outcome {
        CallOutcome::Ok(_) | CallOutcome::NotStarted => tracing::debug!("cloud call ended"),
        CallOutcome::Refused { code } => tracing::info!(%code, "the cloud refused a call"),
        CallOutcome::Denied { code } => tracing::warn!(%code, "the cloud denied a call"),
        CallOutcome::Throttled => tracing::warn!("the cloud throttled a call"),
        CallOutcome::Timeout => tracing::warn!("a cloud call got no answer in time"),
        CallOutcome::Error { what } => tracing::warn!(error = %what, "a cloud call failed"),
    }
}
