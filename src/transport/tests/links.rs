//! Honest nodes.

use super::*;

#[tokio::test]
async fn heartbeats_go_both_ways_on_every_link() {
    let settings = pair(2);
    let mut a = Node::start(settings.clone()).await;
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;

    a.transport.send(B, &heartbeat(1));
    for _ in 0..2 {
        let (from, boot, id, request) = b
            .wait(|input| match input {
                Input::Request { from, boot, id, request, .. } => {
                    Some((*from, *boot, *id, request.clone()))
                }
                _ => None,
            })
            .await;
        assert_eq!((from, boot, &request), (A, BootId(0xa), &heartbeat(1)));
        let Request::Heartbeat(beat) = request else { panic!("{request:?}") };
        b.transport.answer(id, answer_to(&beat));
    }
    let mut links = Vec::new();
    for _ in 0..2 {
        let (link, boot, to_boot) = a
            .wait(|input| match input {
                Input::Answer { link, boot, to_boot, .. } => Some((*link, *boot, *to_boot)),
                _ => None,
            })
            .await;
        assert_eq!((boot, to_boot), (BootId(0xb), BootId(0xa)));
        assert!(a.stats.last_round_trip(B, link).is_some());
        links.push(link);
    }
    links.sort();
    assert_eq!(links, [LinkId(0), LinkId(1)]);

    // And the other way round.
    let mut beats = b;
    beats.transport.send(A, &heartbeat(5));
    let id = a
        .wait(|input| match input {
            Input::Request { id, from: B, .. } => Some(*id),
            _ => None,
        })
        .await;
    let Request::Heartbeat(beat) = heartbeat(5) else { panic!() };
    a.transport.answer(id, answer_to(&beat));
    let (_, answer) = beats.wait_answer().await;
    assert_eq!(answer, answer_to(&beat));
    for reason in Rejection::ALL {
        assert_eq!(a.stats.rejections(reason) + beats.stats.rejections(reason), 0, "{reason:?}");
    }
}

#[tokio::test]
async fn two_connections_per_link_are_used_in_turn_and_kept() {
    let settings = pair(1);
    let mut a = Node::start(settings.clone()).await;
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;
    for send in 1..=10 {
        a.transport.send(B, &heartbeat(send));
        let id = b
            .wait(|input| match input {
                Input::Request { id, .. } => Some(*id),
                _ => None,
            })
            .await;
        let Request::Heartbeat(beat) = heartbeat(send) else { panic!() };
        b.transport.answer(id, answer_to(&beat));
        a.wait_answer().await;
    }
    let most = a.told().iter().chain(&b.told()).fold(0, |most, input| match input {
        Input::Connections { open, .. } => most.max(*open),
        _ => most,
    });
    assert!(most <= 2, "{most}");
}

#[tokio::test]
async fn every_kind_of_request_is_carried() {
    let settings = pair(1);
    let mut a = Node::start(settings.clone()).await;
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;
    let take_back = TakeBack { group: GroupId(0), term: Term(3), kind: TakeBackKind::Release };
    let switchover = Switchover { group: GroupId(0), to: Some(B), force: false };
    let exchanges = [
        (
            Request::TakeBack(TakeBacks { send: SendNumber(2), list: vec![take_back] }),
            Answer::TakenBack { send: SendNumber(2) },
        ),
        (
            Request::Operator(OperatorRequest {
                send: SendNumber(3),
                command: PeerCommand::Switchover(switchover),
            }),
            Answer::Operator(OperatorAnswer { send: SendNumber(3), result: Ok(Done::Leads(B)) }),
        ),
    ];
    for (request, answer) in exchanges {
        a.transport.send(B, &request);
        let (id, read) = b
            .wait(|input| match input {
                Input::Request { id, request, .. } => Some((*id, request.clone())),
                _ => None,
            })
            .await;
        assert_eq!(read, request);
        b.transport.answer(id, answer.clone());
        assert_eq!(a.wait_answer().await.1, answer);
    }
}

#[tokio::test]
async fn a_restarted_peer_is_known_by_its_new_boot_and_hears_the_same_request() {
    let settings = pair(1);
    let mut a = Node::start(settings.clone()).await;
    let b = Node::start(seen_from(&settings, B, 0xb)).await;
    let transport = Arc::clone(&b.transport);
    let serving = b.answer_all();
    a.transport.send(B, &heartbeat(1));
    a.wait_answer().await;
    transport.shutdown().await;
    serving.abort();
    a.wait_connections(|open| open == 0).await;

    let mut b = Node::start(seen_from(&settings, B, 0xbb)).await;
    a.transport.send(B, &heartbeat(2));
    let boot = a
        .wait(|input| match input {
            Input::BootAnswered { peer: B, boot, .. } => Some(*boot),
            _ => None,
        })
        .await;
    assert_eq!(boot, BootId(0xbb));
    let request = b
        .wait(|input| match input {
            Input::Request { request, .. } => Some(request.clone()),
            _ => None,
        })
        .await;
    assert_eq!(request, heartbeat(2));
}

#[tokio::test]
async fn a_slow_link_and_a_stuck_connection_delay_nobody() {
    let mut settings = pair(2);
    // Link 1 leads to a hole: it accepts and never answers.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut seen_by_a = settings.clone();
    seen_by_a.nodes[1].links[1] = hole.local_addr().unwrap();
    settings.timeouts.heartbeat = Duration::from_millis(50);
    let mut a = Node::start(seen_by_a).await;
    drop(Node::start(seen_from(&settings, B, 0xb)).await.answer_all());
    for send in 1..=20 {
        let began = tokio::time::Instant::now();
        a.transport.send(B, &heartbeat(send));
        let (link, _) = a.wait_answer().await;
        assert_eq!(link, LinkId(0));
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    }
    // Beyond four busy connections, what cannot be sent is lost at once.
    assert!(a.stats.lost_heartbeats(B, LinkId(1)) >= 16);
    assert_eq!(a.stats.lost_heartbeats(B, LinkId(0)), 0);
}

#[tokio::test]
async fn a_late_answer_is_lost_and_still_told() {
    let settings = pair(1);
    let mut a = Node::start(settings.clone()).await;
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;
    let vote_timeout = settings.timeouts.vote;
    b.transport.set_timeouts(Timeouts { heartbeat: vote_timeout, ..settings.timeouts });
    a.transport.send(B, &heartbeat(1));
    let id = b
        .wait(|input| match input {
            Input::Request { id, .. } => Some(*id),
            _ => None,
        })
        .await;
    let lost = async {
        while a.stats.lost_heartbeats(B, LinkId(0)) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, lost).await.unwrap();
    let Request::Heartbeat(beat) = heartbeat(1) else { panic!() };
    b.transport.answer(id, answer_to(&beat));
    a.wait_answer().await;
}

/// Runs a node that answers all heartbeats in a thread of its own; the returned function ends
/// the thread's runtime, which closes its sockets as a killed process would.
pub(super) fn process(settings: Settings) -> impl FnOnce() {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (ready, up) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let serving = Node::start(settings).await.answer_all();
            ready.send(()).unwrap();
            let _ = ended.await;
            drop(serving);
        });
    });
    up.recv().unwrap();
    move || {
        let _ = end.send(());
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn a_killed_peer_is_noticed_within_milliseconds() {
    let settings = pair(2);
    let mut a = Node::start(settings.clone()).await;
    let kill = process(seen_from(&settings, B, 0xb));
    for send in 1..=6 {
        a.transport.send(B, &heartbeat(send));
        a.wait_answer().await;
        a.wait_answer().await;
    }
    a.told();
    kill();
    let killed = tokio::time::Instant::now();
    a.wait_connections(|open| open == 0).await;
    let closed = killed.elapsed();
    a.transport.probe(B);
    let mut refused = Vec::new();
    for _ in 0..2 {
        refused.push(
            a.wait(|input| match input {
                Input::ConnectRefused { peer: B, link } => Some(*link),
                _ => None,
            })
            .await,
        );
    }
    refused.sort();
    assert_eq!(refused, [LinkId(0), LinkId(1)]);
    println!("killed: connections gone after {closed:?}, refused after {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_millis(200));
}

#[tokio::test]
async fn a_probe_tells_the_boot_and_changes_nothing() {
    let settings = pair(2);
    let mut a = Node::start(settings.clone()).await;
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;
    a.transport.probe(B);
    for _ in 0..2 {
        let boot = a
            .wait(|input| match input {
                Input::BootAnswered { boot, .. } => Some(*boot),
                _ => None,
            })
            .await;
        assert_eq!(boot, BootId(0xb));
    }
    assert_eq!(b.told(), []);
}

#[tokio::test]
async fn check_tries_every_link_and_leaves_no_trace() {
    let settings = pair(2);
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;
    let mut other_key = settings.clone();
    other_key.keys = Keys::parse(&Keys::generate().unwrap()).unwrap();

    let reports = check_links(&settings).await;
    assert_eq!(reports.len(), 2);
    for report in &reports {
        assert!(report.result.is_ok(), "{report:?}");
    }
    assert_eq!(b.told(), []);

    for report in check_links(&other_key).await {
        let error = report.result.unwrap_err();
        assert!(!error.is_silence());
        assert!(error.to_string().contains("bad-mac"), "{error}");
    }
    drop(b);
    let mut gone = settings;
    gone.nodes[1].links = vec![free_address()];
    for report in check_links(&gone).await {
        let error = report.result.unwrap_err();
        assert!(error.is_silence() && error.to_string().contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let settings = pair(1);
    let taken = std::net::TcpListener::bind(settings.listen[0]).unwrap();
    let stats = Arc::new(Stats::new(&settings.link_counts(), None));
    let (sender, _inputs) = mpsc::channel(1);
    let error = bind(settings, sender, stats).await.unwrap_err();
    let address = taken.local_addr().unwrap().to_string();
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("another vipward"), "{text}");
}

#[tokio::test]
async fn counts_are_told_even_when_the_core_is_late() {
    let settings = pair(1);
    let (sender, mut inputs) = mpsc::channel(1);
    let stats = Arc::new(Stats::new(&settings.link_counts(), None));
    let a = bind(settings.clone(), sender, stats).await.unwrap();
    let kill = process(seen_from(&settings, B, 0xb));
    a.send(B, &heartbeat(1));
    // The first input fills the queue; the rest find no room.
    tokio::time::sleep(Duration::from_millis(50)).await;
    kill();
    let mut last = None;
    while let Ok(Some(input)) = timeout(Duration::from_millis(200), inputs.recv()).await {
        if let Input::Connections { open, .. } = input {
            last = Some(open);
        }
    }
    assert_eq!(last, Some(0));
}

#[tokio::test]
async fn the_end_lets_answers_through_and_closes_the_listener_last() {
    let settings = pair(1);
    let mut a = Node::start(settings.clone()).await;
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;
    a.transport.send(B, &heartbeat(1));
    let id = b
        .wait(|input| match input {
            Input::Request { id, .. } => Some(*id),
            _ => None,
        })
        .await;
    let Request::Heartbeat(beat) = heartbeat(1) else { panic!() };
    b.transport.answer(id, answer_to(&beat));
    let began = tokio::time::Instant::now();
    b.transport.shutdown().await;
    println!("shut down in {:?}", began.elapsed());
    a.wait_answer().await;
    assert!(TcpStream::connect(settings.nodes[1].links[0]).await.is_err());
    assert!(std::net::TcpListener::bind((loopback(), 0)).is_ok());
}

#[tokio::test]
async fn a_hole_in_the_path_is_left_soon_after_it_heals() {
    let settings = pair(1);
    let front = free_address();
    let mut seen_by_a = settings.clone();
    seen_by_a.nodes[1].links[0] = front;
    // The hole: connections are accepted, and nothing ever comes back.
    let hole = TcpListener::bind(front).await.unwrap();
    let mut a = Node::start(seen_by_a).await;
    drop(Node::start(seen_from(&settings, B, 0xb)).await.answer_all());
    let mut beats = 0;
    let mut beat = |a: &Node| {
        beats += 1;
        a.transport.send(B, &heartbeat(beats));
    };
    for _ in 0..8 {
        beat(&a);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(a.told().is_empty());
    // It heals for new connections; those that are stuck stay stuck.
    let back = settings.nodes[1].links[0];
    tokio::spawn(async move {
        let mut stuck = Vec::new();
        while stuck.len() < 4 {
            stuck.push(hole.accept().await.unwrap());
        }
        drop(hole);
        drop(recorder(front, back).await);
        std::future::pending::<()>().await;
    });
    let healed = tokio::time::Instant::now();
    let answered = async {
        loop {
            beat(&a);
            tokio::time::sleep(Duration::from_millis(50)).await;
            if a.told().iter().any(|input| matches!(input, Input::Answer { .. })) {
                return;
            }
        }
    };
    timeout(PATIENCE, answered).await.unwrap();
    println!("healed: answered after {:?}", healed.elapsed());
    assert!(healed.elapsed() < Duration::from_millis(800));
}
