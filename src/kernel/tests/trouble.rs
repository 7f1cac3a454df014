//! What goes wrong is told with the remedy, and survived.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

isolated_test! {
    async fn a_fight_is_not_fought_for_ever() {
        machine();
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.want(Present);
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        for _ in 0..5 {
            ip("addr del 10.0.1.50/32 dev eth0");
            bench.told_is(Absent).await;
            bench.told_is(Present).await;
        }
        ip("addr del 10.0.1.50/32 dev eth0");
        bench.told_is(Absent).await;
        let sentence = bench.told_failed().await;
        let expected = "something else removes 10.0.1.50 again and again; it is put right each 10s";
        assert!(sentence.contains(expected), "{sentence}");
        bench.told_nothing().await;
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global"]);
        // What is ordered anew is no fight.
        bench.want(Absent);
        bench.told_is(Absent).await;
        bench.want(Present);
        bench.told_is(Present).await;
        assert_eq!(addresses("eth0").len(), 2);
    }
}

isolated_test! {
    async fn a_flood_of_events_hides_no_removal() {
        machine();
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.want(Present);
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        // Far more than the socket's buffer takes, while nothing here runs; the removal is
        // somewhere in it.
        let mut batch = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut commands = String::new();
        for round in 0..4000 {
            if round == 3990 {
                commands += "addr del 10.0.1.50/32 dev eth0\n";
            }
            commands += "addr add 10.9.9.9/32 dev lo\naddr del 10.9.9.9/32 dev lo\n";
        }
        batch.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(batch.wait().unwrap().success());
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        ip("addr del 10.0.1.50/32 dev eth0");
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
    }
}

isolated_test! {
    async fn the_other_addresses_of_a_subnet_do_not_go_with_it() {
        pair("eth0", "peer");
        std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0").unwrap();
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "0").unwrap();
        ip("addr add 10.0.1.50/24 dev eth0");
        ip("addr add 10.0.1.10/24 dev eth0");
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.told_is(Present).await;
        bench.want(Absent);
        let sentence = bench.told_failed().await;
        assert!(sentence.contains("would remove 10.0.1.10 with it; set the sysctl"), "{sentence}");
        assert_eq!(addresses("eth0").len(), 2);
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1").unwrap();
        bench.told_is(Absent).await;
        assert_eq!(addresses("eth0"), ["10.0.1.10/24 global"]);
    }
}

isolated_test! {
    #[without("-net_admin")]
    async fn without_cap_net_admin_it_says_so() {
        let mut bench = Bench::start(vec![ordered(Some("lo"))]);
        bench.told_is(Absent).await;
        // A standby says so before it is needed.
        bench.want(Absent);
        let sentence = bench.told_failed().await;
        let expected = "10.0.1.50 cannot be added without CAP_NET_ADMIN; give vipward that";
        assert!(sentence.contains(expected), "{sentence}");
        bench.want(Present);
        bench.told_nothing().await;
        assert_eq!(addresses("lo"), [""; 0]);
        // At the end no more than the time set aside for it is spent on that.
        assert!(bench.stop().await < LAST_ORDERS * 2);
    }
}

isolated_test! {
    #[without("-net_raw")]
    async fn without_cap_net_raw_it_is_set_all_the_same() {
        machine();
        let mut bench = Bench::start(vec![ordered(Some("eth0"))]);
        bench.want(Present);
        bench.told_is(Absent).await;
        bench.told_is(Present).await;
        let link = crate::netlink::Netlink::open().unwrap().link("eth0").await.unwrap().unwrap();
        let error = crate::kernel::announce::announce(&link, IP.parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "the test has the right");
        assert!(crate::kernel::announce::may_announce().is_err());
        bench.told_nothing().await;
    }
}
