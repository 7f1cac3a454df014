//! What the links cost. Measured, printed, and held to generous bounds.

use super::*;

#[tokio::test]
async fn a_round_trip_takes_well_below_a_millisecond() {
    let settings = pair(1);
    let mut a = Node::start(settings.clone()).await;
    let end = super::links::process(seen_from(&settings, B, 0xb));
    let mut took = Vec::new();
    for send in 1..=500 {
        a.transport.send(B, &heartbeat(send));
        a.wait_answer().await;
        took.push(a.stats.last_round_trip(B, LinkId(0)).unwrap());
    }
    took.sort();
    println!("round trip: median {:?}, p99 {:?}", took[250], took[495]);
    assert!(took[250] < Duration::from_millis(5));
    end();
}

/// CPU time of this thread.
pub(super) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// A node with two peers, ten heartbeats a second each way, for ten seconds' worth of exchanges
/// sent in a row: the cost of an exchange does not depend on the pauses, but waking up does, so
/// one real second with pauses is measured beside it.
#[tokio::test]
async fn ten_heartbeats_a_second_with_two_peers_cost_little() {
    let mut settings = pair(1);
    settings.nodes.push(NodeLinks { name: "c".into(), links: vec![free_address()] });
    let c = NodeId(2);
    let mut a = Node::start(settings.clone()).await;
    let end_b = super::links::process(seen_from(&settings, B, 0xb));
    let end_c = super::links::process(seen_from(&settings, c, 0xc));
    for (pause, rounds) in [(0, 100), (100, 20)] {
        let (began, cpu) = (tokio::time::Instant::now(), cpu_time());
        for send in 1..=rounds {
            a.transport.send(B, &heartbeat(send));
            a.transport.send(c, &heartbeat(send));
            a.wait_answer().await;
            a.wait_answer().await;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let (took, cpu) = (began.elapsed(), cpu_time() - cpu);
        let each = cpu / u32::try_from(rounds).unwrap();
        // Each node also answers as many as it sends; that costs about the same again.
        let share = each.as_secs_f64() * 10.0 * 2.0 * 100.0;
        println!(
            "pause {pause} ms: {each:?} CPU for 2 exchanges ({took:?} in all): {share:.2} % of a core at 10/s"
        );
        assert!(share < 2.0, "{share}");
    }
    end_b();
    end_c();
}
