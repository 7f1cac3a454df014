//! The edge in network namespaces of its own, with the real kernel.

mod bench;
mod trouble;

use std::net::UdpSocket;

use bench::*;
use vipward_core::Presence::{Absent, Present};

use super::*;
use crate::netlink::namespace::{ip, isolated, pair};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa];

/// Runs a test of this module, or of one below, in a namespace.
macro_rules! isolated_test {
    ($(#[without($without:literal)])? async fn $name:ident() $body:block) => {
        #[test]
        fn $name() {
            let without: &[&str] = &[$($without)?];
            let path = concat!(module_path!(), "::", stringify!($name));
            let path = path.split_once("::").unwrap().1;
            isolated(path, without.first().copied(), async $body);
        }
    };
}
use isolated_test;

/// A machine with one interface, eth0, and a neighbour at its other end.
fn machine() {
    pair("eth0", "peer");
    ip("link set eth0 address 02:00:00:00:00:0a");
    ip("addr add 10.0.1.10/24 dev eth0");
}

isolated_test! {
    async fn an_address_is_added_announced_and_removed() {
        machine();
        let mut frames = listen("peer").await;
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.told_is(Absent).await;
        bench.told_nothing().await;

        let wanted = tokio::time::Instant::now();
        bench.want(Present);
        bench.told_is(Present).await;
        println!("set and announced after {:?}", wanted.elapsed());
        assert_eq!(addresses("eth0"), ["10.0.1.50/32 host", "10.0.1.10/24 global"]);
        for _ in 0..4 {
            heard(&mut frames, MAC).await;
        }

        bench.want(Absent);
        bench.told_is(Absent).await;
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global"]);
        assert!(frames.try_recv().is_err(), "nothing is announced that is not here");
        bench.told_nothing().await;
    }
}

isolated_test! {
    async fn it_is_reached_and_is_no_source_of_other_traffic() {
        machine();
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.want(Present);
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        // The hardest cases: the address stands first, and a route without a gateway.
        ip("addr del 10.0.1.10/24 dev eth0");
        ip("addr add 10.0.1.10/24 dev eth0");
        ip("route add default dev eth0");
        assert_eq!(addresses("eth0")[0], "10.0.1.50/32 host");
        for to in ["10.0.1.1:9", "192.0.2.1:9"] {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(to).unwrap();
            assert_eq!(socket.local_addr().unwrap().ip().to_string(), "10.0.1.10", "to {to}");
        }

        // The neighbour in a namespace below: it finds the address by ARP and connects.
        let listener = tokio::net::TcpListener::bind(format!("{IP}:80")).await.unwrap();
        let script = "read _; ip link set peer up; ip addr add 10.0.1.1/24 dev peer; \
                      exec 3<>/dev/tcp/10.0.1.50/80; read -r word <&3; test \"$word\" = welcome";
        let mut neighbour = tokio::process::Command::new("unshare")
            .args(["-n", "bash", "-c", script])
            .stdin(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let inside = format!("/proc/{}/ns/net", neighbour.id().unwrap());
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        while std::fs::read_link(&inside).is_ok_and(|it| it == own) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ip(&format!("link set peer netns {}", neighbour.id().unwrap()));
        drop(neighbour.stdin.take());
        let (mut stream, from) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        assert_eq!(from.ip().to_string(), "10.0.1.1");
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"welcome\n").await.unwrap();
        assert!(timeout(PATIENCE, neighbour.wait()).await.unwrap().unwrap().success());
    }
}

isolated_test! {
    async fn what_something_else_removes_is_put_back() {
        machine();
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.want(Present);
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        let mut frames = listen("peer").await;
        // Its first announcements may still be under way.
        heard(&mut frames, MAC).await;

        let removed = tokio::time::Instant::now();
        ip("addr del 10.0.1.50/32 dev eth0");
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        println!("put back {:?} after `ip` was started", removed.elapsed());
        assert_eq!(addresses("eth0").len(), 2);

        // And what something else adds, is removed.
        bench.want(Absent);
        bench.told_is(Absent).await;
        ip("addr add 10.0.1.50/24 dev eth0");
        bench.told_is(Present).await;
        bench.told_is(Absent).await;
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global"]);
    }
}

isolated_test! {
    async fn an_address_with_another_prefix_counts() {
        machine();
        ip("addr add 10.0.1.50/24 dev eth0");
        let mut frames = listen("peer").await;
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.told_is(Present).await;
        bench.want(Present);
        // Another may have announced it meanwhile.
        heard(&mut frames, MAC).await;
        bench.told_nothing().await;
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global", "10.0.1.50/24 global"], "untouched");
        bench.want(Absent);
        bench.told_is(Absent).await;
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global"]);
    }
}

isolated_test! {
    async fn the_interface_is_that_with_the_mac_once_it_is_known() {
        machine();
        pair("eth1", "peer1");
        let mut bench = Bench::start(vec![ordered(None)]);
        bench.told_is(Absent).await;
        bench.want(Present);
        assert!(bench.told_failed().await.contains("is not known"));
        bench.mac.send_replace(Some(MAC));
        bench.told_is(Present).await;
        until_addresses("eth0", &["10.0.1.10/24 global", "10.0.1.50/32 host"]).await;
        assert_eq!(addresses("eth1"), [""; 0]);
    }
}

isolated_test! {
    async fn it_is_removed_from_wherever_it_is_before_the_mac_is_known() {
        machine();
        ip("addr add 10.0.1.50/32 dev eth0");
        ip("addr add 10.0.1.50/32 dev lo");
        let mut bench = Bench::start(vec![ordered(None)]);
        bench.told_is(Present).await;
        bench.want(Absent);
        bench.told_is(Absent).await;
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global"]);
        assert_eq!(addresses("lo"), ["10.0.1.50/32 global"], "that is another matter");
    }
}

isolated_test! {
    async fn an_interface_may_come_late_go_and_come_back() {
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.told_is(Absent).await;
        bench.want(Present);
        assert!(bench.told_failed().await.contains("there is no interface \"eth0\""));
        for _ in 0..8 {
            // More often than something may remove it: this is no fight.
            pair("eth0", "peer");
            bench.told_is(Present).await;
            ip("link del eth0");
            bench.told_is(Absent).await;
            assert!(bench.told_failed().await.contains("there is no interface \"eth0\""));
        }
    }
}

isolated_test! {
    async fn it_is_announced_again_when_its_interface_comes_back() {
        machine();
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.want(Present);
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        let mut frames = listen("peer").await;
        ip("link set peer down");
        // It is seen, and the announcements from before are over.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        while frames.try_recv().is_ok() {}
        let mut frames = {
            ip("link set peer up");
            listen("peer").await
        };
        heard(&mut frames, MAC).await;
        bench.told_nothing().await;
    }
}

isolated_test! {
    async fn the_last_order_is_carried_out_at_the_end() {
        machine();
        ip("addr add 10.0.1.50/32 dev eth0");
        let own = Address { ip: [10, 0, 1, 20].into(), ..ordered(Some("eth0")) };
        let own = Address { keep: Keep::Always, ..own };
        let mut bench = Bench::start(vec![ordered(Some("eth0")), own]);
        bench.told_is(Present).await;
        until_addresses(
            "eth0",
            &["10.0.1.10/24 global", "10.0.1.20/32 host", "10.0.1.50/32 global"],
        )
        .await;
        // The order comes with the end.
        bench.want(Absent);
        assert!(bench.stop().await < LAST_ORDERS);
        let left = ["10.0.1.20/32 host", "10.0.1.10/24 global"];
        assert_eq!(addresses("eth0"), left, "its own stays");
    }
}

isolated_test! {
    async fn nothing_is_touched_that_nobody_ordered() {
        machine();
        ip("addr add 10.0.1.50/32 dev eth0");
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.told_is(Present).await;
        bench.told_nothing().await;
        assert!(bench.stop().await < LAST_ORDERS);
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global", "10.0.1.50/32 global"]);
    }
}
