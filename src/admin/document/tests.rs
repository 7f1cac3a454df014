use std::net::Ipv4Addr;

use serde_json::json;
use vipward_core::{
    AddressId, AlarmName, BootId, CheckState, GroupId, Holder, OwnershipName, Reference,
    ReferenceVersion, RoleName, Term,
};

use super::*;
use crate::names::tests::names;

/// A master at 100 s on its clock.
pub(in crate::admin) fn status() -> Status {
    let at = Timestamp::from_millis(100_000);
    let ago = |ms| at - Duration::from_millis(ms);
    Status {
        at,
        standing: Standing::Ready,
        standing_reason: None,
        muted: Duration::ZERO,
        digest: Digest([0xab; 32]),
        reference: Some(Reference {
            version: ReferenceVersion { term: Term(42), count: 1 },
            digest: Digest([0xab; 32]),
        }),
        consistent: Some(true),
        drift_since: None,
        groups: vec![GroupStatus {
            group: GroupId(0),
            role: RoleName::Master,
            term: Term(42),
            master: Some(NodeId(0)),
            lease_left: Duration::from_micros(512_900),
            priority: Priority::try_from(200).ok(),
            effective_priority: Priority::try_from(150).ok(),
            quorum: true,
            addresses: vec![AddressStatus {
                address: AddressId(0),
                ip: Some(Ipv4Addr::new(198, 51, 100, 10).into()),
                ownership: OwnershipName::Owned,
                holder: Some(Holder::Node(NodeId(0))),
                verified_ago: Some(Duration::from_millis(812)),
                kernel: None,
            }],
        }],
        peers: vec![
            PeerStatus {
                node: NodeId(1),
                boot: Some(BootId(9)),
                standing: Some(Standing::Probation),
                digest: Some(Digest([0xab; 32])),
                consistent: Some(true),
                drift_since: None,
                up: true,
                links: vec![(true, Some(Duration::from_millis(90))), (false, None)],
            },
            PeerStatus {
                node: NodeId(2),
                boot: None,
                standing: None,
                digest: None,
                consistent: None,
                drift_since: None,
                up: false,
                links: vec![(false, None), (false, None)],
            },
        ],
        checks: vec![(CheckState::Passing, ago(60_000))],
        preflight_problems: vec!["no credentials".into()],
        alarms: vec![(AlarmName::Preflight, ago(1_500), "no credentials".into())],
        last_failover: Some(Failover {
            group: GroupId(0),
            term: Term(42),
            from: Some(NodeId(1)),
            to: NodeId(0),
            cause: Some(Cause::MasterSilent),
            detect: Some(Duration::from_micros(640_210)),
            elect: Some(Duration::from_micros(1_400)),
            claim: Some(Duration::from_millis(212)),
            verify: None,
            at: ago(50_000),
        }),
    }
}

pub(in crate::admin) fn document(status: &Status) -> StatusDocument {
    let round_trip =
        |peer, link| (peer == NodeId(1) && link == LinkId(0)).then_some(Duration::from_micros(310));
    let wall = "2026-01-01T01:00:00Z".parse().unwrap();
    let preflight_checked_ago = Some(Duration::from_millis(20_411));
    let names = names();
    let check_reason = |_| Some("status 503".to_owned());
    let around = Surroundings {
        names: &names,
        wall,
        round_trip: &round_trip,
        check_reason: &check_reason,
        preflight_checked_ago,
    };
    StatusDocument::new(status, &around)
}

#[test]
fn the_document_is_the_contracts() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let expected = json!({
        "cluster":"web-prod","node":"lb-a","version":"0.1.0",
        "boot":"00000000000000000000000000000007","standing":"ready",
        "standing_reason":null,"muted_ms":0,"digest":digest,
        "reference":{"digest":digest,"version":"42.1","consistent":true},
        "groups":[{"name":"web","role":"master","term":42,"master":"lb-a","lease_left_ms":512,
            "priority":200,"effective_priority":150,"quorum":true,
            "addresses":[{"kind":"elastic-ip","id":"eipalloc-0abc","address":"198.51.100.10",
                "ownership":"owned","holder":"lb-a","verified_ms_ago":812,"kernel":null}]}],
        "peers":[
            {"name":"lb-b","role":"balancer","standing":"probation","digest":digest,"consistent":true,"links":[
                {"address":"10.0.1.11:7400","up":true,"rtt_us":310,"last_heard_ms":90},
                {"address":"10.0.9.11:7400","up":false,"rtt_us":null,"last_heard_ms":null}]},
            {"name":"witness","role":"witness","standing":null,"digest":null,"consistent":null,"links":[
                {"address":"10.0.2.5:7400","up":false,"rtt_us":null,"last_heard_ms":null},
                {"address":"10.0.2.5:7400","up":false,"rtt_us":null,"last_heard_ms":null}]}],
        "checks":[{"name":"nginx","state":"passing","since":"2026-01-01T00:59:00.000Z","reason":"status 503"}],
        "preflight":{"ok":false,"checked_ms_ago":20411,"problems":["no credentials"]},
        "alarms":[{"name":"preflight","since":"2026-01-01T00:59:58.500Z","message":"no credentials"}],
        "last_failover":{"group":"web","term":42,"from":"lb-b","to":"lb-a","cause":"master-silent",
            "detect_ms":640.2,"elect_ms":1.4,"claim_ms":212.0,"verify_ms":null,
            "at":"2026-01-01T00:59:10.000Z"},
    });
    let document = document(&status());
    assert_eq!(serde_json::to_value(&document).unwrap(), expected);
    assert_eq!(serde_json::from_value::<StatusDocument>(expected).unwrap(), document);
}

#[test]
fn ready_means_that_it_could_take_over() {
    let mut status = status();
    assert!(!document(&status).is_ready());
    status.preflight_problems.clear();
    assert!(document(&status).is_ready());
    status.standing = Standing::Quarantined;
    assert!(!document(&status).is_ready());
    // A witness is ready when it can vote, whatever its standing.
    status.groups[0].priority = None;
    assert!(document(&status).is_ready());
    status.muted = Duration::from_millis(10);
    assert!(!document(&status).is_ready());
}
