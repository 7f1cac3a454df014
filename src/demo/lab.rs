//! The demo's and the benchmark's small world on loopback: hosts, a simulated cloud, a client.
//! It needs no root, touches no network, and leaves no file behind.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::client::Client;
use super::forward::Forwarder;
use super::host::{Host, HostSpec};
use super::rejoin;
use crate::simulated_cloud::{
    AllocationSpec, Fault, Faults, InterfaceSpec, Options, Resources, SimulatedCloud,
};
use crate::transport::Keys;

/// The names of the hosts: two balancers and a witness.
pub(crate) const NAMES: [&str; 3] = ["lb-a", "lb-b", "witness"];
/// The address that moves.
pub(crate) const ALLOCATION: &str = "eipalloc-0demo";
const LINK_PORT: u16 = 7400;
const ADMIN_PORT: u16 = 7401;
const SERVICE_PORT: u16 = 8080;
/// Behind a forwarder a daemon listens here.
const INNER_PORT: u16 = 7410;
const INNER_SERVICE_PORT: u16 = 8081;

/// What the lab is like.
#[derive(Clone, Debug)]
pub(crate) struct LabSettings {
    /// The `vipward` binary that the hosts run.
    pub(crate) program: PathBuf,
    pub(crate) heartbeat: Duration,
    pub(crate) latency: Duration,
    /// Whether links, services and the cloud are reached through forwarders that can be cut.
    pub(crate) forwarded: bool,
    /// Whether the daemons ask for real-time priority.
    pub(crate) realtime: bool,
    /// So many files, beside vipward's own configuration, are compared by the gate.
    pub(crate) compared_files: usize,
}

impl LabSettings {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self {
            program,
            heartbeat: Duration::from_millis(100),
            latency: Duration::ZERO,
            forwarded: false,
            realtime: true,
            compared_files: 0,
        }
    }
}

/// The running world. Dropped: all of it ends.
pub(crate) struct Lab {
    pub(crate) hosts: Vec<Host>,
    pub(crate) cloud: SimulatedCloud,
    pub(crate) client: Client,
    pub(crate) forwarders: Vec<Forwarder>,
    places: Places,
    _directory: TempDir,
}

/// Where everything is: each host has a loopback address of its own.
#[derive(Clone, Copy, Debug)]
struct Places {
    network: [u8; 2],
}

impl Places {
    /// A part of 127.0.0.0/8 that hardly anybody else uses at the moment.
    fn draw() -> anyhow::Result<Self> {
        let drawn = getrandom::u32().context("the system has no random numbers")?.to_le_bytes();
        Ok(Self { network: [64 + drawn[0] % 128, drawn[1]] })
    }

    fn ip(self, host: usize) -> IpAddr {
        let last = 11 + u8::try_from(host).unwrap_or(0);
        IpAddr::V4(Ipv4Addr::new(127, self.network[0], self.network[1], last))
    }

    fn at(self, host: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(host), port)
    }
}

impl Lab {
    /// Builds the world and starts every host.
    pub(crate) async fn start(settings: &LabSettings) -> anyhow::Result<Self> {
        let places = Places::draw()?;
        let directory = tempfile::Builder::new()
            .prefix("vipward-demo-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let cloud = start_cloud(settings.latency).await?;
        let keys = Keys::generate().context("the system has no random numbers")?;
        write_private(&directory.path().join("cluster.key"), &keys)?;
        write_compared(directory.path(), settings.compared_files)?;
        let mut forwarders = Vec::new();
        if settings.forwarded {
            for host in 0..NAMES.len() {
                forwarders.push(forwarder(places, host, cloud.address()).await?);
            }
        }
        let mut hosts = Vec::new();
        for host in 0..NAMES.len() {
            let endpoint = forwarders
                .get(host)
                .map_or_else(|| cloud.endpoint_url(), |it| format!("http://{}", it.cloud));
            hosts.push(start_host(settings, places, directory.path(), host, &endpoint)?);
        }
        let services = (0..2).map(|host| (interface(host), places.at(host, SERVICE_PORT)));
        let client = Client::start(ALLOCATION.into(), cloud.watch_holders(), services.collect());
        Ok(Self { hosts, cloud, client, forwarders, places, _directory: directory })
    }

    /// A host's read-only HTTP address.
    pub(crate) fn admin(&self, host: usize) -> SocketAddr {
        self.places.at(host, ADMIN_PORT)
    }

    /// Starts a host anew that has died.
    pub(crate) fn restart(&mut self, host: usize) -> anyhow::Result<()> {
        let host = self.hosts.get_mut(host).context("no such host")?;
        host.bury();
        *host = Host::start(host.spec.clone())?;
        Ok(())
    }

    /// Lets a host's daemon read its file again.
    pub(crate) fn reload(&self, host: usize) -> anyhow::Result<()> {
        self.hosts.get(host).context("no such host")?.reload_daemon()
    }

    /// The host whose interface that is.
    pub(crate) fn host_of(&self, id: &str) -> Option<usize> {
        (0..NAMES.len()).find(|host| interface(*host) == id)
    }

    /// A host's status document.
    pub(crate) async fn status(&self, host: usize) -> Option<serde_json::Value> {
        super::fetch::json(self.admin(host), "/v1/status").await
    }

    /// Waits until a master owns the address, the client is served, and a standby is able to
    /// take over. Tells who leads.
    pub(crate) async fn settled(&mut self, at_most: Duration) -> anyhow::Result<usize> {
        let wait = async {
            loop {
                if let Some(problem) = self.hosts.iter_mut().find_map(Host::daemon_ended) {
                    bail!("{problem}");
                }
                if let Some(master) = self.ready_master().await {
                    return Ok(master);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(at_most, wait).await {
            Ok(settled) => settled,
            Err(_) => bail!("no master with a ready standby within {at_most:?}"),
        }
    }

    async fn ready_master(&self) -> Option<usize> {
        let mut master = None;
        for host in 0..NAMES.len() {
            let status = self.status(host).await?;
            let ready = status["standing"] == "ready" && status["preflight"]["ok"] == true;
            let heard = status["peers"].as_array()?.iter().all(|peer| {
                peer["standing"] == "ready"
                    && peer["links"].as_array().is_some_and(|it| it.iter().all(|l| l["up"] == true))
            });
            if !ready || !heard {
                return None;
            }
            let group = &status["groups"][0];
            if group["role"] == "master" && group["addresses"][0]["ownership"] == "owned" {
                master = Some(host);
            }
        }
        master
    }

    /// Cuts a host off: its links, its clients, its cloud.
    pub(crate) fn partition(&self, host: usize, cut: bool) {
        for (index, forwarder) in self.forwarders.iter().enumerate() {
            if index == host {
                forwarder.cut_all(cut);
            } else {
                forwarder.cut_from(self.places.ip(host), cut);
            }
        }
    }
}

fn interface(host: usize) -> String {
    format!("eni-0demo{host}")
}

fn instance(host: usize) -> String {
    format!("i-0demo{host}")
}

async fn start_cloud(latency: Duration) -> anyhow::Result<SimulatedCloud> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("the simulated cloud cannot listen on loopback")?;
    let interfaces = (0..2).map(|host| InterfaceSpec {
        id: interface(host),
        instance: Some(instance(host)),
        private_ips: Vec::new(),
    });
    let resources = Resources {
        allocations: vec![AllocationSpec { id: ALLOCATION.into(), public_ip: None }],
        interfaces: interfaces.collect(),
    };
    let options = Options { resources, ..Options::default() };
    let cloud = SimulatedCloud::start(listener, options)?;
    if !latency.is_zero() {
        let fault = Fault { latency: Some(latency), ..Fault::default() };
        cloud.set_faults(Faults { fault, rules: Vec::new() })?;
    }
    Ok(cloud)
}

async fn forwarder(places: Places, host: usize, cloud: SocketAddr) -> anyhow::Result<Forwarder> {
    Forwarder::start(
        (places.at(host, LINK_PORT), places.at(host, INNER_PORT)),
        (places.at(host, SERVICE_PORT), places.at(host, INNER_SERVICE_PORT)),
        cloud,
    )
    .await
}

fn start_host(
    settings: &LabSettings,
    places: Places,
    directory: &Path,
    host: usize,
    endpoint: &str,
) -> anyhow::Result<Host> {
    let name = NAMES.get(host).copied().unwrap_or_default();
    let state = directory.join(name);
    std::fs::create_dir(&state).context("cannot make a host's directory")?;
    let config = directory.join(format!("{name}.toml"));
    std::fs::write(&config, config_text(settings, places, directory, host))
        .context("cannot write a host's configuration")?;
    let service_port = if settings.forwarded { INNER_SERVICE_PORT } else { SERVICE_PORT };
    let mut environment: BTreeMap<&str, &str> = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", "AKIADEMO"),
        ("AWS_SECRET_ACCESS_KEY", "demo"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL_EC2", endpoint),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ]);
    if !settings.realtime {
        environment.insert("VIPWARD_REALTIME", "off");
    }
    Host::start(HostSpec {
        program: settings.program.clone(),
        name: name.into(),
        service: places.at(host, service_port),
        config,
        log: directory.join(format!("{name}.log")),
        environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        listen_links: if settings.forwarded {
            vec![places.at(host, INNER_PORT)]
        } else {
            Vec::new()
        },
    })
}

fn config_text(settings: &LabSettings, places: Places, directory: &Path, host: usize) -> String {
    let directory = directory.display();
    let name = NAMES.get(host).copied().unwrap_or_default();
    let [a, b, witness] = [0, 1, 2].map(|host| places.at(host, LINK_PORT));
    let consistency = match settings.compared_files {
        0 => String::new(),
        _ => format!("[consistency]\nfiles = [\"{directory}/compared/*\"]\n"),
    };
    format!(
        r#"cluster = "demo"
node = "{name}"

[timing]
heartbeat_interval = "{heartbeat}ms"
restart_grace = "{grace}s"
probation = "{probation}s"

[security]
key_file = "{directory}/cluster.key"

[[nodes]]
name = "lb-a"
links = ["{a}"]
instance_id = "{i_a}"
network_interface_id = "{eni_a}"

[[nodes]]
name = "lb-b"
links = ["{b}"]
instance_id = "{i_b}"
network_interface_id = "{eni_b}"

[[nodes]]
name = "witness"
role = "witness"
links = ["{witness}"]

[[groups]]
name = "web"
priority = {{ lb-a = 200, lb-b = 100 }}
addresses = [{{ kind = "elastic-ip", allocation_id = "{ALLOCATION}" }}]

[cloud]
provider = "aws"
region = "eu-west-1"

[limits]
moves_per_hour = 1000

[admin]
socket = "{directory}/{name}/admin.sock"
listen = "{admin}"

[state]
directory = "{directory}/{name}"

[telemetry]
log = "text"
level = "info"

{consistency}"#,
        heartbeat = settings.heartbeat.as_millis(),
        grace = rejoin::GRACE.as_secs(),
        probation = rejoin::PROBATION.as_secs(),
        admin = places.at(host, ADMIN_PORT),
        i_a = instance(0),
        i_b = instance(1),
        eni_a = interface(0),
        eni_b = interface(1),
    )
}

/// Files for the gate to compare: the same for every host.
fn write_compared(directory: &Path, files: usize) -> anyhow::Result<()> {
    let directory = directory.join("compared");
    std::fs::create_dir(&directory).context("cannot make a directory to compare")?;
    for file in 0..files {
        let text = format!("# {file}\n").repeat(512);
        std::fs::write(directory.join(format!("{file}.conf")), text)
            .context("cannot write a file to compare")?;
    }
    Ok(())
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .context("cannot write the demo's key file")?;
    file.write_all(text.as_bytes()).context("cannot write the demo's key file")
}
