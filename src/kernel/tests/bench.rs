//! The edge on a pair of interfaces, and a neighbour that listens.

use std::time::Duration;

use pnet_datalink::{Channel, Config, NetworkInterface};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use vipward_core::{AddressId, GroupId, Input, KernelState, Presence};

use super::super::{Address, Keep, Settings, Wanted, run};
use crate::netlink::Netlink;
use crate::netlink::namespace::ip;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for what is done at once.
pub(super) const MOMENT: Duration = Duration::from_millis(300);
pub(super) const IP: &str = "10.0.1.50";

/// The edge, and the core's side of it.
pub(super) struct Bench {
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) mac: watch::Sender<Option<[u8; 6]>>,
    inputs: mpsc::Receiver<Input>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The address that the core orders.
pub(super) fn ordered(interface: Option<&str>) -> Address {
    let keep = Keep::Ordered(GroupId(0), AddressId(0));
    Address { ip: IP.parse().unwrap(), interface: interface.map(str::to_owned), keep }
}

impl Bench {
    pub(super) fn start(addresses: Vec<Address>) -> Self {
        let (wanted, orders) = watch::channel(Wanted::new());
        let (mac, known) = watch::channel(None);
        let (to_core, inputs) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let settings = Settings { addresses, mac: known };
        let task = tokio::spawn(run(settings, orders, to_core, stop.clone()));
        Self { wanted, mac, inputs, stop, task }
    }

    pub(super) fn want(&self, presence: Presence) {
        self.wanted.send_modify(|all| {
            all.insert((GroupId(0), AddressId(0)), presence);
        });
    }

    /// What the core is told next.
    pub(super) async fn told(&mut self) -> KernelState {
        match timeout(PATIENCE, self.inputs.recv()).await.expect("nothing is told") {
            Some(Input::Kernel { group: GroupId(0), address: AddressId(0), state }) => state,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn told_is(&mut self, presence: Presence) {
        assert_eq!(self.told().await, KernelState::Is(presence));
    }

    /// The sentence of a failure that is told next.
    pub(super) async fn told_failed(&mut self) -> String {
        match self.told().await {
            KernelState::Failed { what } => what.to_string(),
            other @ KernelState::Is(_) => panic!("{other:?}"),
        }
    }

    pub(super) async fn told_nothing(&mut self) {
        let told = timeout(MOMENT, self.inputs.recv()).await;
        assert!(told.is_err(), "{told:?}");
    }

    pub(super) async fn stop(self) -> Duration {
        let begun = tokio::time::Instant::now();
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
        begun.elapsed()
    }
}

/// The IPv4 addresses of an interface, as `address/prefix scope`.
pub(super) fn addresses(interface: &str) -> Vec<String> {
    let shown: serde_json::Value =
        serde_json::from_str(&ip(&format!("-j -4 addr show dev {interface}"))).unwrap();
    let all = shown[0]["addr_info"].as_array().cloned().unwrap_or_default();
    let one = |it: serde_json::Value| {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        format!("{}/{} {}", text("local"), it["prefixlen"], text("scope"))
    };
    all.into_iter().map(one).collect()
}

/// Waits until `interface` has exactly these addresses, in any order.
pub(super) async fn until_addresses(interface: &str, expected: &[&str]) {
    let mut expected: Vec<_> = expected.iter().map(|&it| it.to_owned()).collect();
    expected.sort();
    let mut last = Vec::new();
    let fits = async {
        loop {
            last = addresses(interface);
            last.sort();
            if last == expected {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let fits = timeout(PATIENCE, fits).await;
    assert!(fits.is_ok(), "{interface} has {last:?} and not {expected:?}");
}

/// The ARP frames that arrive at an interface from now on.
pub(super) async fn listen(interface: &str) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let link = Netlink::open().unwrap().link(interface).await.unwrap().unwrap();
    let interface = NetworkInterface {
        name: link.name,
        description: String::new(),
        index: link.index,
        mac: None,
        ips: Vec::new(),
        flags: 0,
    };
    let config = Config { promiscuous: false, ..Config::default() };
    let Ok(Channel::Ethernet(_, mut receiver)) = pnet_datalink::channel(&interface, config) else {
        panic!("no packet socket");
    };
    let (frames, heard) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(frame) = receiver.next() {
            let arp = frame.get(12..14) == Some(&[8, 6]);
            if arp && frames.send(frame.to_vec()).is_err() {
                return;
            }
        }
    });
    heard
}

/// Waits for an announcement of the address by `mac`: its request and its answer.
pub(super) async fn heard(frames: &mut mpsc::UnboundedReceiver<Vec<u8>>, mac: [u8; 6]) {
    let ip = IP.parse::<std::net::Ipv4Addr>().unwrap().octets();
    for operation in [1, 2] {
        let frame = timeout(PATIENCE, frames.recv()).await.expect("no announcement").unwrap();
        assert_eq!(frame[..6], [0xff; 6], "to everybody");
        assert_eq!(frame[6..12], mac);
        assert_eq!(frame[20..22], [0, operation]);
        assert_eq!((&frame[22..28], &frame[28..32]), (&mac[..], &ip[..]), "the sender");
        assert_eq!(frame[38..42], ip, "the target");
    }
}
