//! Random but valid inputs for one node.

use proptest::prelude::*;

/// One thing that happens to the node. Numbers are folded into what is valid.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Time passes, every deadline is met.
    Pass(u64),
    /// Time passes, no deadline is met.
    Sleep(u64),
    Beat {
        from: bool,
        life: u8,
        repeat: bool,
        mastered: Option<u8>,
        lease: u8,
        elected: u8,
    },
    Ask {
        from: bool,
        life: u8,
        repeat: bool,
        term: u8,
        lease: u8,
        evidence: bool,
    },
    TakeBack {
        from: bool,
        life: u8,
        term: u8,
        resigned: bool,
        successor: Option<u8>,
    },
    /// Answers one of the last sends.
    Reply {
        from: bool,
        life: u8,
        back: u8,
        kind: u8,
    },
    Contact {
        from: bool,
        life: u8,
        kind: u8,
    },
    Check(bool),
    Preflight(bool),
    Disk(bool),
    Hint,
    /// The kernel has the secondary address, or not, or fails.
    Kernel(Option<bool>),
    Call {
        back: u8,
        kind: u8,
        holder: u8,
    },
    Operator {
        to: u8,
        force: bool,
        offered: bool,
    },
    Reload(u8),
    Stop,
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let term = 0..20_u8;
    let life = prop_oneof![8 => Just(1_u8), 1 => Just(2)];
    let beat = (any::<bool>(), life.clone(), prop::bool::weighted(0.2));
    let beat = (beat, prop::option::of(term.clone()), 0..4_u8, term.clone());
    let beat = beat.prop_map(|((from, life, repeat), mastered, lease, elected)| Op::Beat {
        from,
        life,
        repeat,
        mastered,
        lease,
        elected,
    });
    let ask = (any::<bool>(), life.clone(), prop::bool::weighted(0.2));
    let ask = (ask, term.clone(), 0..4_u8, prop::bool::weighted(0.2));
    let ask = ask.prop_map(|((from, life, repeat), term, lease, evidence)| Op::Ask {
        from,
        life,
        repeat,
        term,
        lease,
        evidence,
    });
    let take_back = (any::<bool>(), life.clone(), term, any::<bool>(), prop::option::of(0..4_u8))
        .prop_map(|(from, life, term, resigned, successor)| Op::TakeBack {
            from,
            life,
            term,
            resigned,
            successor,
        });
    let reply = (any::<bool>(), life.clone(), 0..4_u8, 0..6_u8)
        .prop_map(|(from, life, back, kind)| Op::Reply { from, life, back, kind });
    let contact = (any::<bool>(), life, 0..4_u8).prop_map(|(from, life, kind)| Op::Contact {
        from,
        life,
        kind,
    });
    let call = (0..3_u8, 0..9_u8, 0..4_u8).prop_map(|(back, kind, holder)| Op::Call {
        back,
        kind,
        holder,
    });
    let operator = (0..5_u8, any::<bool>(), any::<bool>())
        .prop_map(|(to, force, offered)| Op::Operator { to, force, offered });
    prop_oneof![
        24 => (0..1_200_u64).prop_map(Op::Pass),
        4 => (0..4_000_u64).prop_map(Op::Sleep),
        14 => beat,
        8 => ask,
        4 => take_back,
        40 => reply,
        3 => contact,
        2 => any::<bool>().prop_map(Op::Check),
        1 => any::<bool>().prop_map(Op::Preflight),
        2 => any::<bool>().prop_map(Op::Disk),
        2 => Just(Op::Hint),
        2 => prop::option::of(any::<bool>()).prop_map(Op::Kernel),
        8 => call,
        2 => operator,
        1 => (0..3_u8).prop_map(Op::Reload),
        1 => prop::bool::weighted(0.05).prop_map(|stop| if stop { Op::Stop } else { Op::Hint }),
    ]
}
