//! Three daemons and a simulated cloud: who leads, and what the cloud's own record says.

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Cluster, NAMES, Plan, WITNESS, holds_for, wait_until};

fn took_over(entry: &Value) -> bool {
    entry["event"] == "role-changed" && entry["to"] == "master"
}

#[test]
fn all_start_at_once_one_is_elected_and_the_address_moves_exactly_once() {
    let mut cluster = Plan::new().start_together();
    let master = cluster.wait_master();
    cluster.wait_leads(master);
    let calls = cluster.cloud.record();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(calls[0]["action"], "AssociateAddress");
    assert_eq!(calls[0]["access_key"], NAMES[master]);
    assert_eq!(cluster.cloud.holder().as_deref(), Some(["eni-0aaa", "eni-0bbb"][master]));
    let led = cluster.wait_journal(master, "its mastership", took_over);
    assert_eq!(led["cause"], "startup", "{led}");
}

#[test]
fn a_killed_master_is_followed_by_one_call_and_the_journal_says_why() {
    let mut cluster = Cluster::settled();
    cluster.kill(0);
    cluster.wait_leads(1);
    assert_eq!(cluster.cloud.holder().as_deref(), Some("eni-0bbb"));
    let moved = cluster.cloud.done("AssociateAddress");
    assert_eq!(moved.len(), 2, "{moved:#?}");
    assert_eq!(cluster.cloud.record().len(), 2);

    let led = cluster.wait_journal(1, "its mastership", took_over);
    assert_eq!(led["cause"], "master-crashed", "{led}");
    let call = cluster.wait_journal(1, "the end of its call", |entry| {
        entry["event"] == "call-finished" && entry["operation"] == "AssociateAddress"
    });
    assert_eq!(call["outcome"], "ok", "{call}");
    assert_eq!(call["term"], led["term"]);
    // The request that the journal names is the one that moved the address.
    assert_eq!(call["request_id"], moved[1]["request_id"]);
    let voted = cluster.wait_journal(WITNESS, "its vote", |entry| {
        entry["event"] == "vote-granted" && entry["candidate"] == "lb-b"
    });
    assert_eq!(voted["term"], led["term"]);

    // The old master comes back and takes nothing: preemption is off.
    cluster.start_again(0);
    cluster.wait_leads(1);
    assert_eq!(cluster.cloud.record().len(), 2);
}

#[test]
fn a_frozen_master_is_replaced_and_leaves_the_address_alone_when_it_thaws() {
    let mut cluster = Cluster::settled();
    cluster.node(0).signal(Signal::STOP);
    cluster.wait_status(1, "leads", |status| {
        let group = &status["groups"][0];
        group["role"] == "master" && group["addresses"][0]["ownership"] == "owned"
    });
    let led = cluster.wait_journal(1, "its mastership", took_over);
    assert_eq!(led["cause"], "master-silent", "{led}");
    cluster.node(0).signal(Signal::CONT);
    cluster.wait_leads(1);
    cluster.wait_status(0, "is a backup", |status| status["groups"][0]["role"] == "backup");
    assert_eq!(cluster.cloud.record().len(), 2, "{:#?}", cluster.cloud.record());
}

#[test]
fn a_master_without_a_majority_holds_on_and_calls_nothing() {
    let mut cluster = Cluster::settled();
    cluster.kill(1);
    cluster.kill(WITNESS);
    cluster.wait_status(0, "is holding", |status| status["groups"][0]["role"] == "holding");
    let at = cluster.plan.admin(0);
    let master = crate::fixture::get(at, "/v1/groups/web/master").unwrap();
    assert_eq!((master.status, master.header("x-vipward-role")), (200, Some("holding")));
    holds_for(std::time::Duration::from_secs(1), "it holds on", || {
        cluster.cloud.record().len() == 1
    });
    cluster.start_again(WITNESS);
    cluster.wait_leads(0);
    assert_eq!(cluster.cloud.holder().as_deref(), Some("eni-0aaa"));
}

#[test]
fn all_restart_and_the_holder_leads_again_without_a_needless_move() {
    let mut cluster = Cluster::settled();
    cluster.ask(0, &["switchover", "web"]).exits(0);
    cluster.wait_leads(1);
    for node in 0..3 {
        cluster.kill(node);
    }
    for node in 0..3 {
        cluster.start_again(node);
    }
    // The cloud shows lb-b as the holder: it stands first, although lb-a's priority is higher.
    cluster.wait_leads(1);
    let moves = cluster.cloud.done("AssociateAddress");
    let to_a = moves.iter().skip(1).filter(|call| call["access_key"] == NAMES[0]);
    assert_eq!(to_a.count(), 0, "{moves:#?}");
    let terms = |node| {
        let journal = cluster.journal(node);
        journal.iter().filter(|it| took_over(it)).filter_map(|it| it["term"].as_u64()).collect()
    };
    let terms: Vec<u64> = terms(1);
    assert!(terms.windows(2).all(|two| two[0] < two[1]), "{terms:?}");
}

#[test]
fn preemption_moves_it_back_when_it_is_on() {
    // The cloud by its short name: no region, no credentials.
    let plan = Plan::new().with("\"aws\"\nregion = \"eu-west-1\"", "\"simulated\"");
    let plan = plan.with("addresses = ", "preempt = true\npreempt_delay = \"1s\"\naddresses = ");
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    cluster.kill(0);
    cluster.wait_leads(1);
    cluster.start_again(0);
    cluster.wait_leads(0);
    let led = cluster.wait_journal(0, "its return", |it| {
        took_over(it) && it["term"].as_u64() > Some(cluster.first_term())
    });
    assert_eq!(led["cause"], "preempt", "{led}");
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 3);
}

#[test]
fn a_full_or_missing_disk_stops_no_takeover() {
    let mut cluster = Cluster::settled();
    // The directory goes away under the daemon's feet.
    std::fs::remove_dir_all(cluster.plan.path("lb-b/state")).unwrap();
    cluster.kill(0);
    wait_until("the address moves", || cluster.cloud.holder().as_deref() == Some("eni-0bbb"));
    cluster.wait_leads(1);
}
