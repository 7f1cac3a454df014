//! A cloud that throttles, denies, fails, answers late, or answers what nobody expects.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::fixture::{
    ALLOCATION, Asked, Cluster, NAMES, Plan, WITNESS, get, http, serve, wait_until,
};

/// The ends of a node's mutating calls, as its journal tells them.
fn outcomes(cluster: &Cluster, node: usize) -> Vec<String> {
    let journal = cluster.journal(node);
    let ends =
        journal.iter().filter(|it| it["event"] == "call-finished" && it["address"] != Value::Null);
    ends.map(|it| it["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_throttled_claim_is_tried_again() {
    let mut cluster = Cluster::settled();
    let throttle = json!({"burst": 0, "per_second": 0.0});
    let when = json!({"access_key": NAMES[1], "mutating": true});
    cluster.cloud.faults(&json!({"rules": [{"when": when, "next": 2, "throttle": throttle}]}));
    cluster.kill(0);
    cluster.wait_leads(1);
    assert_eq!(outcomes(&cluster, 1), ["throttled", "throttled", "ok"]);
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 2);
}

#[test]
fn a_claim_with_an_unknown_outcome_is_never_repeated_unconditionally() {
    for answer in ["error", "closed"] {
        let mut cluster = Cluster::settled();
        let when = json!({"access_key": NAMES[1], "mutating": true});
        cluster.cloud.faults(&json!({"rules": [{"when": when, "next": 1, "answer": answer}]}));
        cluster.kill(0);
        cluster.wait_leads(1);
        let calls = cluster.cloud.record();
        let mine: Vec<_> = calls.iter().filter(|it| it["access_key"] == NAMES[1]).collect();
        let unconditional = mine.iter().filter(|call| {
            call["action"] == "AssociateAddress"
                && call["parameters"]["AllowReassociation"] == "true"
        });
        assert_eq!(unconditional.count(), 1, "{answer}: {mine:#?}");
        assert_eq!(outcomes(&cluster, 1)[0], "error", "{answer}");
    }
}

#[test]
fn a_late_landing_of_the_old_masters_call_is_repaired() {
    let plan = Plan::new();
    let cloud = plan.start_cloud();
    let when = json!({"access_key": NAMES[0], "mutating": true});
    let rule = json!({"when": when, "next": 1, "late_landing": "6s", "answer": "never"});
    cloud.faults(&json!({"rules": [rule]}));
    let nodes = [Some(plan.start_node(0)), None, Some(plan.start_node(WITNESS))];
    let mut cluster = Cluster::new(nodes, cloud, plan);
    wait_until("lb-a's claim is under way", || !cluster.cloud.record().is_empty());
    cluster.start_again(1);
    wait_until("lb-b joins", || {
        cluster.status(1).is_some_and(|it| it["groups"][0]["master"] == NAMES[0])
    });
    cluster.kill(0);
    cluster.wait_leads(1);
    // lb-a is dead, and its call still lands: it was fast, so it takes the address.
    wait_until("the late call lands", || cluster.cloud.record()[0]["outcome"] == "done");
    wait_until("it is repaired", || {
        let calls = cluster.cloud.done("AssociateAddress");
        let last = calls.iter().max_by_key(|call| call["landed"]["boot_ns"].as_u64()).unwrap();
        last["access_key"] == NAMES[1]
    });
    cluster.wait_leads(1);
    assert_eq!(cluster.cloud.holder().as_deref(), Some("eni-0bbb"));
    // It was seen, and by whom the address was held.
    cluster.wait_journal(1, "the loss", |entry| {
        entry["event"] == "ownership-changed" && entry["holder"] == NAMES[0]
    });
}

#[test]
fn in_fenced_mode_a_call_that_lands_late_is_refused() {
    let plan = Plan::new().with("[limits]", "claim = \"fenced\"\n[limits]");
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    cluster.kill(0);
    cluster.wait_leads(1);
    for call in cluster.cloud.record() {
        let unfenced = call["parameters"]["AllowReassociation"] == "true";
        assert!(!unfenced, "{call:#}");
    }
    assert_eq!(cluster.cloud.done("DisassociateAddress").len(), 1);
}

#[test]
fn a_standby_that_may_not_claim_shows_it_before_it_matters() {
    let plan = Plan::new();
    let cloud = plan.start_cloud();
    let when = json!({"interface": "eni-0bbb"});
    cloud.faults(&json!({"rules": [{"when": when, "deny": ["AssociateAddress"]}]}));
    let nodes = [0, 1, 2].map(|node| Some(plan.start_node(node)));
    let mut cluster = Cluster::new(nodes, cloud, plan);
    let status = cluster.wait_status(1, "shows its failed preflight", |status| {
        status["preflight"]["ok"] == false && status["groups"][0]["master"] == NAMES[0]
    });
    let problem = status["preflight"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("ec2:AssociateAddress"), "{problem}");
    // It stays Ready: if nobody better is left, it still stands.
    assert_eq!(status["standing"], "ready");
    let alarm = cluster.wait_journal(1, "the alarm", |it| it["event"] == "alarm-raised");
    assert_eq!(alarm["name"], "preflight", "{alarm}");
    let ready = get(cluster.plan.admin(1), "/readyz").unwrap();
    assert!(ready.status == 503 && ready.text().contains("AssociateAddress"), "{ready:?}");
    let page = cluster.ask(1, &["status"]).exits(0).stdout;
    assert!(page.contains("ec2:AssociateAddress"), "{page}");
    wait_until("the metric shows it", || {
        let text = get(cluster.plan.admin(1), "/metrics").unwrap().text();
        text.lines().any(|line| line == "vipward_preflight_ok 0")
            && text.contains("vipward_alarm{name=\"preflight\"} 1")
    });
    let checked = cluster.plan.check(1, &["--cloud"]).exits(1);
    assert!(checked.stderr.contains("ec2:AssociateAddress"), "beside the daemon: {checked:?}");
    let refused = cluster.ask(0, &["switchover", "web", "--to", "lb-b"]).exits(1);
    assert!(refused.sentence().contains("lb-b"), "{refused:?}");
    // With the permission it is ready within seconds.
    cluster.cloud.no_faults();
    cluster.wait_leads(0);
    wait_until("it is ready", || get(cluster.plan.admin(1), "/readyz").unwrap().status == 200);
    cluster.assert_undisturbed();
}

#[test]
fn a_master_that_is_denied_says_so_and_goes_on_when_it_is_permitted() {
    let mut cluster = Cluster::settled();
    let when = json!({"access_key": NAMES[1]});
    cluster.cloud.faults(&json!({"rules": [{"when": when, "deny": ["*"]}]}));
    cluster.kill(0);
    let status = cluster.wait_status(1, "alarms that it cannot claim", |status| {
        let mut alarms = status["alarms"].as_array().unwrap().iter();
        alarms.any(|alarm| alarm["name"] == "claim-failing")
    });
    assert_eq!(status["groups"][0]["role"], "master");
    assert_ne!(status["groups"][0]["addresses"][0]["ownership"], "owned");
    cluster.cloud.no_faults();
    cluster.wait_leads(1);
    assert_eq!(cluster.cloud.holder().as_deref(), Some("eni-0bbb"));
}

#[test]
fn a_cloud_that_is_gone_moves_nothing_and_stops_no_election() {
    let mut cluster = Cluster::settled();
    cluster.cloud.faults(&json!({"black_hole": true}));
    cluster.kill(0);
    cluster.wait_status(1, "is the master", |status| status["groups"][0]["role"] == "master");
    wait_until("its call times out", || {
        outcomes(&cluster, 1).first().is_some_and(|it| it == "timeout")
    });
    cluster.cloud.no_faults();
    cluster.wait_leads(1);
    assert_eq!(cluster.cloud.holder().as_deref(), Some("eni-0bbb"));
}

#[test]
fn without_ids_and_without_metadata_the_preflight_says_what_to_set() {
    let plan = Plan::new();
    let plan = plan.with("instance_id = \"i-0bbb\"\nnetwork_interface_id = \"eni-0bbb\"\n", "");
    let cluster = plan.start();
    let status =
        cluster.wait_status(1, "shows what it lacks", |status| status["preflight"]["ok"] == false);
    let problem = status["preflight"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("set its network_interface_id"), "{problem}");
    let checked = cluster.plan.check(1, &["--cloud"]).exits(1);
    assert!(checked.stderr.contains("network_interface_id"), "{checked:?}");
    cluster.wait_status(0, "leads all the same", |status| status["groups"][0]["role"] == "master");
    let witness =
        cluster.wait_status(WITNESS, "needs none", |status| status["preflight"]["ok"] == true);
    assert_eq!(witness["preflight"]["problems"], json!([]));
}

/// An EC2 that answers with success and without the fields that count.
fn fake_ec2(at: SocketAddr, lacks: &'static str) {
    serve(at, move |asked: &Asked| {
        let xml = |action: &str, content: &str| {
            let text = format!(
                "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
                 <requestId>fake-1</requestId>{content}</{action}Response>"
            );
            http(200, "content-type: text/xml\r\n", &text)
        };
        let is = |word: &str| asked.body.contains(word);
        if is("DryRun=true") {
            let error = "<Response><Errors><Error><Code>DryRunOperation</Code><Message>m</Message>\
                         </Error></Errors><RequestID>fake-2</RequestID></Response>";
            return http(412, "content-type: text/xml\r\n", error);
        }
        let address = match lacks {
            "allocationId" => "<item><publicIp>198.51.100.10</publicIp></item>".to_owned(),
            "associationId" if is("DescribeAddresses") => format!(
                "<item><allocationId>{ALLOCATION}</allocationId>\
                 <networkInterfaceId>eni-0aaa</networkInterfaceId></item>"
            ),
            _ => format!("<item><allocationId>{ALLOCATION}</allocationId></item>"),
        };
        match lacks {
            "xml" => http(200, "content-type: text/html\r\n", "<html>captive portal</html>"),
            "everything" => http(200, "", ""),
            "http" => b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
            _ if is("DescribeAddresses") => {
                xml("DescribeAddresses", &format!("<addressesSet>{address}</addressesSet>"))
            }
            _ => xml("AssociateAddress", "<return>true</return>"),
        }
    });
}

#[test]
fn an_aws_answer_without_the_expected_field_is_an_error_that_names_it() {
    for (lacks, named) in [
        ("allocationId", "the answer to DescribeAddresses lacks eipalloc-0abc"),
        ("associationId", "no associationId"),
        ("nothing else", "the answer to AssociateAddress has no associationId"),
        ("xml", ""),
        ("everything", ""),
        ("http", ""),
    ] {
        let plan = Plan::new();
        fake_ec2(plan.endpoint(), lacks);
        // lb-b comes later: with a failed preflight lb-a is no better than it.
        let mut nodes = [0, WITNESS].map(|node| plan.start_node(node));
        let status = || get(plan.admin(0), "/v1/status").map(|reply| reply.json());
        wait_until(&format!("{lacks}: lb-a leads"), || {
            status().is_some_and(|it| it["groups"][0]["role"] == "master")
        });
        wait_until(&format!("{lacks}: it is told"), || {
            let journal = std::fs::read_to_string(plan.path("lb-a/state/journal.jsonl"));
            let told = journal.unwrap_or_default();
            let mut lines = told.lines().filter(|it| it.contains("\"call-finished\""));
            lines.any(|line| line.contains("\"outcome\":\"error\"") && line.contains(named))
        });
        // Nothing but an answer in full makes the address the master's.
        let address = status().unwrap()["groups"][0]["addresses"][0].clone();
        assert_ne!(address["ownership"], "owned", "{lacks}: {address}");
        let checked = plan.check(0, &["--cloud"]);
        assert!(matches!(checked.code, 0 | 1), "{lacks}: {checked:?}");
        for node in &mut nodes {
            assert!(node.is_alive(), "{lacks}");
        }
    }
}
