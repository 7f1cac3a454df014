//! A forwarder in front of one host, for `--fault partition`: what is cut is not refused, it is
//! silent, as behind a dead switch.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What is cut.
#[derive(Clone, Debug, Default)]
struct Cut {
    all: bool,
    from: BTreeSet<IpAddr>,
}

impl Cut {
    fn concerns(&self, from: IpAddr) -> bool {
        self.all || self.from.contains(&from)
    }
}

/// The forwarder of one host: for its links, its service, and its way to the cloud.
pub(crate) struct Forwarder {
    cut: watch::Sender<Cut>,
    /// Where the host reaches the cloud.
    pub(crate) cloud: SocketAddr,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Forwarder {
    /// Starts to forward `links` and `service`, each from its outer to its inner address, and a
    /// new address to the cloud.
    pub(crate) async fn start(
        links: (SocketAddr, SocketAddr),
        service: (SocketAddr, SocketAddr),
        cloud: SocketAddr,
    ) -> anyhow::Result<Self> {
        let cut = watch::Sender::new(Cut::default());
        let mut tasks = Vec::new();
        let mut own = cloud;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for (outer, inner) in [links, service, (any, cloud)] {
            let listener = TcpListener::bind(outer)
                .await
                .with_context(|| format!("the demo's forwarder cannot listen on {outer}"))?;
            own = listener.local_addr().context("a listener without an address")?;
            let task = tokio::spawn(accept(listener, inner, cut.subscribe()));
            tasks.push(AbortOnDropHandle::new(task));
        }
        Ok(Self { cut, cloud: own, _tasks: tasks })
    }

    /// Cuts everything of this host, or heals it.
    pub(crate) fn cut_all(&self, cut: bool) {
        self.cut.send_modify(|state| state.all = cut);
    }

    /// Cuts what comes from that address, or heals it.
    pub(crate) fn cut_from(&self, from: IpAddr, cut: bool) {
        self.cut.send_modify(|state| {
            if cut {
                state.from.insert(from);
            } else {
                state.from.remove(&from);
            }
        });
    }
}

async fn accept(listener: TcpListener, inner: SocketAddr, cut: watch::Receiver<Cut>) {
    let tasks = Arc::new(tokio_util::task::TaskTracker::new());
    while let Ok((outer, from)) = listener.accept().await {
        tasks.spawn(forward(outer, from.ip(), inner, cut.clone()));
    }
}

async fn forward(
    mut outer: TcpStream,
    from: IpAddr,
    inner: SocketAddr,
    mut cut: watch::Receiver<Cut>,
) {
    // A connection made while cut stays silent until it is healed.
    if cut.wait_for(|cut| !cut.concerns(from)).await.is_err() {
        return;
    }
    // The host behind sees who it is by the source address, as without a forwarder.
    let Ok(socket) = tokio::net::TcpSocket::new_v4() else { return };
    if socket.bind(SocketAddr::new(from, 0)).is_err() {
        return;
    }
    let Ok(mut target) = socket.connect(inner).await else { return };
    let _ = outer.set_nodelay(true);
    let _ = target.set_nodelay(true);
    let was_cut = tokio::select! {
        _ = copy_bidirectional(&mut outer, &mut target) => false,
        cut = cut.wait_for(|cut| cut.concerns(from)) => cut.is_ok(),
    };
    if was_cut {
        // Silent, not closed: both ends are held until it is healed, and then reset.
        let _ = cut.wait_for(|cut| !cut.concerns(from)).await; // The demo's end heals as well.
    }
}
