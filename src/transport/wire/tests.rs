//! Every message survives the way over the wire; what only the other side knows does not hurt.

use std::cmp::Reverse;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use vipward_core::*;

use super::*;

const NODES: [&str; 3] = ["lb-a", "lb-b", "witness"];
const GROUPS: [&str; 2] = ["api", "web"];

/// Three nodes, two groups.
pub(in crate::transport) fn names() -> Names {
    Names {
        nodes: NODES.iter().map(ToString::to_string).collect(),
        groups: GROUPS.iter().map(ToString::to_string).collect(),
    }
}

fn node() -> impl Strategy<Value = NodeId> {
    (0..3u8).prop_map(NodeId)
}

fn group() -> impl Strategy<Value = GroupId> {
    (0..2u8).prop_map(GroupId)
}

fn term() -> impl Strategy<Value = Term> {
    any::<u64>().prop_map(Term)
}

fn send() -> impl Strategy<Value = SendNumber> {
    any::<u64>().prop_map(SendNumber)
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_micros)
}

fn hash() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn rank() -> impl Strategy<Value = u8> {
    1..=254u8
}

fn standing() -> impl Strategy<Value = Standing> {
    select(vec![
        Standing::Joining,
        Standing::Quarantined,
        Standing::Maintenance,
        Standing::Probation,
        Standing::Ready,
    ])
}

fn cause() -> impl Strategy<Value = Cause> {
    select(vec![
        Cause::MasterSilent,
        Cause::MasterCrashed,
        Cause::Resigned,
        Cause::CheckFailed,
        Cause::Switchover,
        Cause::Preempt,
        Cause::Preventive,
        Cause::Startup,
        Cause::MajorityRegained,
    ])
}

fn elected() -> impl Strategy<Value = Elected> {
    (term(), node()).prop_map(|(term, node)| Elected { term, node })
}

fn take_back() -> impl Strategy<Value = TakeBack> {
    let resign = (option::of(node()), cause())
        .prop_map(|(successor, cause)| TakeBackKind::Resign { successor, cause });
    (group(), term(), prop_oneof![Just(TakeBackKind::Release), resign])
        .prop_map(|(group, term, kind)| TakeBack { group, term, kind })
}

fn group_beat() -> impl Strategy<Value = GroupBeat> {
    let mastered = (term(), duration()).prop_map(|(term, lease)| Mastered { term, lease });
    (
        group(),
        option::of(rank()),
        any::<bool>(),
        any::<bool>(),
        term(),
        option::of(mastered),
        option::of(elected()),
    )
        .prop_map(|(group, rank, healthy, holds, seen, mastered, elected)| GroupBeat {
            group,
            priority: rank.map(|rank| Priority::try_from(rank).unwrap()),
            healthy,
            holds,
            seen,
            mastered,
            elected,
        })
}

/// Any heartbeat.
pub(in crate::transport) fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    (
        (send(), any::<u64>(), standing(), hash(), any::<bool>(), term()),
        (duration(), hash(), option::of(reference()), prop::collection::vec(admission(), 0..3)),
        prop::collection::vec(node(), 0..3),
        prop::collection::vec(group_beat(), 0..3),
        prop::collection::vec(take_back(), 0..3),
    )
        .prop_map(
            |((send, at, standing, digest, preflight_ok, ceiling), gate, hears, groups, back)| {
                let sent_at = Timestamp::from_nanos(at);
                let (up_for, shared, reference, admissions) = gate;
                Heartbeat {
                    send,
                    sent_at,
                    up_for,
                    standing,
                    digest,
                    shared,
                    reference,
                    admissions,
                    preflight_ok,
                    hears,
                    ceiling,
                    groups,
                    take_backs: back,
                }
            },
        )
}

fn version() -> impl Strategy<Value = ReferenceVersion> {
    (term(), any::<u64>()).prop_map(|(term, count)| ReferenceVersion { term, count })
}

fn reference() -> impl Strategy<Value = Reference> {
    (version(), hash()).prop_map(|(version, digest)| Reference { version, digest })
}

fn admission() -> impl Strategy<Value = Admission> {
    (version(), node(), hash(), hash()).prop_map(|(version, node, digest, over)| Admission {
        version,
        node,
        digest,
        over,
    })
}

fn exception() -> impl Strategy<Value = Exception> {
    prop_oneof![
        Just(Exception::Drift),
        Just(Exception::LastResort),
        Just(Exception::Admitted),
        Just(Exception::ColdStart),
    ]
}

fn vote_request() -> impl Strategy<Value = VoteRequest> {
    let dead =
        (node(), any::<u128>()).prop_map(|(node, boot)| Evidence { node, boot: BootId(boot) });
    (
        (send(), group(), term(), duration(), hash(), cause()),
        (any::<bool>(), standing(), any::<bool>(), any::<bool>(), rank(), node()),
        (option::of(reference()), option::of(exception()), option::of(dead)),
    )
        .prop_map(|((send, group, term, lease, digest, cause), place, rest)| {
            let (equal, standing, preflight_ok, holds, rank, name) = place;
            let (priority, name) = (Priority::try_from(rank).unwrap(), Reverse(name));
            let rank = Rank { reference: equal, standing, preflight_ok, holds, priority, name };
            let (reference, exception, evidence) = rest;
            VoteRequest {
                send,
                group,
                term,
                lease,
                rank,
                digest,
                reference,
                exception,
                cause,
                evidence,
            }
        })
}

fn operator_request() -> impl Strategy<Value = OperatorRequest> {
    let switchover = (group(), option::of(node()), any::<bool>())
        .prop_map(|(group, to, force)| PeerCommand::Switchover(Switchover { group, to, force }));
    let offer = (group(), term(), any::<bool>())
        .prop_map(|(group, term, force)| PeerCommand::Offer { group, term, force });
    let maintenance = any::<bool>().prop_map(|on| PeerCommand::Maintenance { on });
    (send(), prop_oneof![switchover, offer, maintenance])
        .prop_map(|(send, command)| OperatorRequest { send, command })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        heartbeat().prop_map(|beat| Request::Heartbeat(Arc::new(beat))),
        vote_request().prop_map(Request::Vote),
        (send(), prop::collection::vec(take_back(), 0..4))
            .prop_map(|(send, list)| Request::TakeBack(TakeBacks { send, list })),
        operator_request().prop_map(Request::Operator),
    ]
}

fn denial() -> impl Strategy<Value = DenialReason> {
    prop_oneof![
        Just(DenialReason::Muted),
        node().prop_map(DenialReason::PromisedToMaster),
        node().prop_map(DenialReason::PromisedToCandidate),
        node().prop_map(DenialReason::Reserved),
        Just(DenialReason::TermTooLow),
        Just(DenialReason::BetterCandidate),
        standing().prop_map(DenialReason::Standing),
        Just(DenialReason::Digest),
        node().prop_map(DenialReason::ReferenceHeard),
        Just(DenialReason::NotAMember),
        Just(DenialReason::LeaseNotDurable),
        Just(DenialReason::Withdrawn),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        select(vec![
            Refusal::NoMaster,
            Refusal::NotMaster,
            Refusal::NoSuccessor,
            Refusal::MovesExhausted,
            Refusal::Busy,
            Refusal::Stopping,
            Refusal::CallsPending,
            Refusal::NoMajority,
        ]),
        (node(), standing()).prop_map(|(node, standing)| Refusal::Standing(node, standing)),
        (0..12usize, node()).prop_map(|(which, node)| {
            let about = [
                Refusal::NotAMember,
                Refusal::Silent,
                Refusal::Unhealthy,
                Refusal::Drift,
                Refusal::Preflight,
                Refusal::NotElected,
                Refusal::OtherElected,
                Refusal::NotClaimed,
                Refusal::RolledBack,
                Refusal::NoAnswer,
                Refusal::NotABalancer,
                Refusal::NotScanned,
            ];
            about[which](node)
        }),
    ]
}

fn beat_answer() -> impl Strategy<Value = HeartbeatAnswer> {
    let renewal = prop_oneof![
        Just(Renewal::None),
        any::<bool>().prop_map(|had_run_out| Renewal::Renewed { had_run_out }),
    ];
    let promised =
        (node(), term(), duration()).prop_map(|(node, term, left)| Promised { node, term, left });
    let of_group = (group(), renewal, option::of(promised), option::of(elected())).prop_map(
        |(group, renewal, promised, elected)| GroupBeatAnswer { group, renewal, promised, elected },
    );
    let gate =
        (option::of(reference()), prop::collection::vec(admission(), 0..3), option::of(duration()));
    (send(), any::<u64>(), duration(), term(), gate, prop::collection::vec(of_group, 0..3))
        .prop_map(|(send, at, muted, ceiling, gate, groups)| {
            let sent_at = Timestamp::from_nanos(at);
            let (reference, admissions, away) = gate;
            HeartbeatAnswer { send, sent_at, muted, ceiling, reference, admissions, away, groups }
        })
}

fn answer() -> impl Strategy<Value = Answer> {
    let denied = (denial(), term(), duration())
        .prop_map(|(reason, seen, left)| Vote::Denied(Denial { reason, seen, left }));
    let vote = (send(), group(), term(), prop_oneof![Just(Vote::Granted), denied])
        .prop_map(|(send, group, term, vote)| VoteAnswer { send, group, term, vote });
    let done = prop_oneof![
        node().prop_map(Done::Leads),
        node().prop_map(Done::AlreadyMaster),
        Just(Done::Accepted),
        node().prop_map(Done::Admitted),
        (node(), any::<bool>()).prop_map(|(node, on)| Done::Maintenance(node, on)),
    ];
    let result = prop_oneof![done.prop_map(Ok), refusal().prop_map(Err)];
    let operator = (send(), result).prop_map(|(send, result)| OperatorAnswer { send, result });
    prop_oneof![
        beat_answer().prop_map(Answer::Heartbeat),
        vote.prop_map(Answer::Vote),
        send().prop_map(|send| Answer::TakenBack { send }),
        operator.prop_map(Answer::Operator),
    ]
}

fn kind_of(answer: &Answer) -> Kind {
    match answer {
        Answer::Heartbeat(_) => Kind::Heartbeat,
        Answer::Vote(_) => Kind::Vote,
        Answer::TakenBack { .. } => Kind::Resign,
        Answer::Operator(_) => Kind::Operator,
    }
}

proptest! {
    #[test]
    fn every_request_survives_the_wire(request in request()) {
        let body = encode_request(&request, &names()).unwrap();
        let read = decode_request(Kind::of(&request), &body, &names()).unwrap();
        prop_assert_eq!(read, request);
    }

    #[test]
    fn every_answer_survives_the_wire(answer in answer()) {
        let body = encode_answer(&answer, &names()).unwrap();
        let read = decode_answer(kind_of(&answer), &body, &names()).unwrap();
        prop_assert_eq!(read, answer);
    }

    #[test]
    fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in Kind::ALL {
            let _ = decode_request(kind, &body, &names());
            let _ = decode_answer(kind, &body, &names());
        }
    }

    #[test]
    fn no_mutilated_request_makes_the_reader_panic(
        request in request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = encode_request(&request, &names()).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode_request(Kind::of(&request), &body, &names());
    }
}

#[test]
fn a_heartbeat_reads_as_documented() {
    let json = r#"{"send":7,"sent_at_ns":1,"standing":"ready","preflight_ok":true,
        "digest":"sha256:00000000000000000000000000000000000000000000000000000000000000ff",
        "hears":["lb-b","newcomer"],"ceiling":9,"a field of the next version":{"x":[1]},
        "groups":[{"group":"web","priority":200,"healthy":true,"holds":false,
            "mastered":{"term":4,"lease_us":600000},"elected":{"term":4,"node":"lb-a"}},
            {"group":"only theirs","priority":1,"healthy":true,"holds":false,
            "mastered":null,"elected":{"term":1,"node":"newcomer"}}],
        "take_backs":[{"group":"only theirs","term":1,"kind":"release"}]}"#;
    let read = decode_request(Kind::Heartbeat, json.as_bytes(), &names()).unwrap();
    let Request::Heartbeat(beat) = read else { panic!("{read:?}") };
    assert_eq!(beat.hears, [NodeId(1)]);
    assert_eq!(beat.groups.len(), 1);
    assert_eq!(beat.groups[0].mastered.unwrap().lease, Duration::from_millis(600));
    assert!(beat.take_backs.is_empty());
}

#[test]
fn what_must_be_known_is_refused_by_name() {
    let json = br#"{"send":1,"command":{"switchover":{"group":"web","to":"lb-c","force":false}}}"#;
    let error = decode_request(Kind::Operator, json, &names()).unwrap_err();
    assert!(matches!(&error, WireError::UnknownNode(name) if name == "lb-c"), "{error}");
    let json = br#"{"send":1,"command":{"offer":{"group":"db","term":1,"force":false}}}"#;
    let error = decode_request(Kind::Operator, json, &names()).unwrap_err();
    assert!(matches!(&error, WireError::UnknownGroup(name) if name == "db"), "{error}");
}

#[test]
fn a_rest_below_a_microsecond_is_not_over() {
    assert_eq!(micros(Duration::from_nanos(1)), 1);
    assert_eq!(micros(Duration::from_millis(600)), 600_000);
}

#[test]
fn a_boot_id_is_32_hex_digits() {
    let id = BootId(0x0123_4567_89ab_cdef);
    assert_eq!(Boot::decode(&Boot::encode(id)).unwrap(), id);
    assert!(boot("+0000000000000000123456789abcdef").is_err());
    assert!(boot("12").is_err());
}
