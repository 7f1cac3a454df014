//! Planned handovers, asked of every node.

use crate::fixture::{Cluster, NAMES, Plan, WITNESS};

#[test]
fn it_moves_once_whoever_is_asked_and_waits_for_the_outcome() {
    let mut cluster = Cluster::settled();
    // At the master, at the backup of now, and at the witness, to a node and to the best one.
    let rounds = [(0, Some("lb-b")), (0, Some("lb-a")), (WITNESS, None)];
    for (round, (asked, to)) in rounds.into_iter().enumerate() {
        let master = 1 - round % 2;
        let mut args = vec!["switchover", "web"];
        args.extend(to.iter().flat_map(|to| ["--to", to]));
        let ran = cluster.ask(asked, &args).exits(0);
        // It is done when it says so.
        let sentence = ran.stdout.trim();
        assert!(sentence.starts_with(&format!("{} leads web", NAMES[master])), "{sentence}");
        assert_eq!(ran.stderr, "");
        let interface = ["eni-0aaa", "eni-0bbb"][master];
        assert_eq!(cluster.cloud.holder().as_deref(), Some(interface));
        assert_eq!(cluster.cloud.done("AssociateAddress").len(), round + 2);
        cluster.wait_leads(master);
        let led = cluster.wait_journal(master, "its mastership", |entry| {
            entry["event"] == "role-changed"
                && entry["to"] == "master"
                && entry["term"].as_u64() > Some(cluster.first_term())
        });
        assert_eq!(led["cause"], "switchover", "{led}");
    }
}

#[test]
fn what_is_refused_says_why_and_what_is_so_already_is_done() {
    let mut cluster = Cluster::settled();
    for node in 0..3 {
        let ran = cluster.ask(node, &["switchover", "web", "--to", "lb-a"]).exits(0);
        assert!(ran.stdout.contains("lb-a is the master of web already"), "{ran:?}");
        for (args, says) in [
            (&["switchover", "web", "--to", "lb-x"][..], "lb-x"),
            (&["switchover", "web", "--to", "witness"], "witness"),
            (&["switchover", "mail"], "mail"),
        ] {
            let ran = cluster.ask(node, args).exits(1);
            assert_eq!(ran.stdout, "");
            assert!(ran.sentence().contains(says), "{ran:?}");
        }
    }
    cluster.assert_undisturbed();
    // No successor: the other balancer is gone.
    cluster.kill(1);
    cluster.wait_status(0, "misses lb-b", |status| {
        let mut peers = status["peers"].as_array().unwrap().iter();
        peers.any(|peer| peer["name"] == "lb-b" && peer["links"][0]["up"] == false)
    });
    for node in [0, WITNESS] {
        for to in [None, Some("lb-b")] {
            let mut args = vec!["switchover", "web"];
            args.extend(to.iter().flat_map(|to| ["--to", to]));
            let ran = cluster.ask(node, &args).exits(1);
            assert!(!ran.sentence().is_empty());
        }
    }
    assert_eq!(cluster.group(0).unwrap()["role"], "master");
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 1);
}

#[test]
fn a_successor_that_may_not_claim_needs_force_and_a_sick_one_is_never_taken() {
    let check = "\n[[checks]]\nname = \"lamp\"\ncommand = [\"/usr/bin/test\", \"-e\", \"lamp\"]\n\
                 interval = \"100ms\"\ntimeout = \"90ms\"\nrise = 1\nfall = 1\nfatal = true\n";
    let mut plan = Plan::new();
    plan.config += check; // Each daemon looks into its own directory.
    for name in NAMES {
        std::fs::write(plan.path(name).join("lamp"), "").unwrap();
    }
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    cluster.wait_status(0, "its check passes", |status| status["checks"][0]["state"] == "passing");
    std::fs::remove_file(cluster.plan.path("lb-b/lamp")).unwrap();
    cluster.wait_status(1, "its check fails", |status| status["checks"][0]["state"] == "failing");
    for force in [false, true] {
        let mut args = vec!["switchover", "web", "--to", "lb-b"];
        args.extend(force.then_some("--force"));
        crate::fixture::wait_until("it is refused", || {
            let ran = cluster.ask(0, &args);
            ran.code == 1 && ran.sentence().contains("lb-b")
        });
    }
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 1);
    // A master whose fatal check fails while the other is well hands over by itself.
    std::fs::write(cluster.plan.path("lb-b/lamp"), "").unwrap();
    cluster.wait_status(1, "its check passes", |status| status["checks"][0]["state"] == "passing");
    std::fs::remove_file(cluster.plan.path("lb-a/lamp")).unwrap();
    cluster.wait_leads(1);
    let led = cluster.wait_journal(1, "its mastership", |entry| {
        entry["event"] == "role-changed" && entry["to"] == "master"
    });
    assert_eq!(led["cause"], "check-failed", "{led}");
}
