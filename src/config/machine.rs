//! What only the machine itself can tell: its name, its files and its ports.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::problem::Problem;
use super::typed::{Config, Node};

/// This machine's hostname.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Which node this machine is, by its EC2 instance if that is known, else by its hostname: the
/// whole of it, or its first label.
///
/// # Errors
///
/// A [`Problem`] if no node fits, several do, or the file gives the one that fits to another
/// instance.
pub fn resolve_auto(
    config: &Config,
    hostname: &str,
    instance_id: Option<&str>,
) -> Result<String, Problem> {
    if let Some(id) = instance_id
        && let Some(node) = config.nodes.iter().find(|node| node.instance_id.as_deref() == Some(id))
    {
        return Ok(node.name.clone());
    }
    let machine = match instance_id {
        Some(id) => format!("this machine (hostname {hostname:?}, instance {id})"),
        None => format!("this machine (hostname {hostname:?}, no instance metadata)"),
    };
    let remedy = "name it: node = \"...\", or --node";
    let problem = |message: String| config.places.problem("node", message);
    let mut fitting: Vec<&Node> = by_name(config, |name| name.eq_ignore_ascii_case(hostname));
    if fitting.is_empty() {
        fitting =
            by_name(config, |name| first_label(name).eq_ignore_ascii_case(first_label(hostname)));
    }
    match (fitting.as_slice(), instance_id) {
        ([node], Some(id)) if node.instance_id.as_deref().is_some_and(|other| other != id) => {
            Err(problem(format!(
                "{machine} has the name of {}, whose instance_id is another; correct it, or \
                 {remedy}",
                node.name
            )))
        }
        ([node], _) => Ok(node.name.clone()),
        ([], _) => Err(problem(format!(
            "\"auto\" finds no node for {machine}; the nodes are {}; {remedy}",
            config.node_names()
        ))),
        ([first, second, ..], _) => Err(problem(format!(
            "\"auto\" cannot tell {} from {} for {machine}; {remedy}",
            first.name, second.name
        ))),
    }
}

fn by_name(config: &Config, fits: impl Fn(&str) -> bool) -> Vec<&Node> {
    config.nodes.iter().filter(|node| fits(&node.name)).collect()
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// What is wrong with the files of this machine: the key file, the state directory, the
/// directory of the operators' socket. `key_fault` says what is wrong with the text of a key file.
#[must_use]
pub fn machine_problems(
    config: &Config,
    key_fault: &dyn Fn(&str) -> Result<(), String>,
) -> Vec<Problem> {
    let place = |path: &str, fault: Option<String>| Some(config.places.problem(path, fault?));
    let socket_directory = config.admin.socket.parent().filter(|path| *path != Path::new(""));
    [
        place("security.key_file", key_file_fault(&config.key_file, key_fault)),
        place("state.directory", directory_fault(&config.state.directory)),
        place("admin.socket", socket_directory.and_then(directory_fault)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The largest key file: some hundred keys.
const KEY_FILE_MAX: u64 = 64 << 10;

fn key_file_fault(path: &Path, key_fault: &dyn Fn(&str) -> Result<(), String>) -> Option<String> {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!(
                "{shown} does not exist; make a key once (`vipward keygen`) and copy it to every \
                 node, mode 0600"
            ));
        }
        Err(error) => return Some(format!("{shown} cannot be reached: {error}")),
    };
    if !metadata.is_file() {
        return Some(format!("{shown} is no file; name the key file itself"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let open = if mode & 0o044 != 0 { "readable" } else { "writable" };
        let who = if mode & 0o007 != 0 { "everybody" } else { "its group" };
        return Some(format!(
            "{shown} is {open} by {who} (mode {mode:04o}), and who has the key commands the \
             cluster; run `chmod 600 {shown}`, and replace the key if somebody may have read it"
        ));
    }
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(KEY_FILE_MAX).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(format!(
            "{shown} may not be read by this user; make vipward's user its owner (`chown vipward \
             {shown}`)"
        )),
        Err(error) => Some(format!("{shown} cannot be read: {error}")),
        Ok(_) => key_fault(&text).err().map(|fault| format!("{shown}: {fault}")),
    }
}

/// Whether files can be written there, found out by writing one.
#[allow(clippy::wildcard_enum_match_arm, reason = "the kinds of I/O errors are an open list")]
fn directory_fault(path: &Path) -> Option<String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            return Some(format!("{shown} is no directory; move it away, or name another"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!(
                "{shown} does not exist; make it: `install -d -m 0700 -o vipward {shown}`"
            ));
        }
        Err(error) => return Some(format!("{shown} cannot be reached: {error}")),
    }
    let written = tempfile::tempfile_in(path).and_then(|mut file| {
        file.write_all(b"vipward")?;
        file.sync_all()
    });
    let error = written.err()?;
    Some(match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "{shown} may not be written by this user; make vipward's user its owner (`chown \
             vipward {shown}`)"
        ),
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "{shown} lies on a file system that is read-only; mount it writable, or name another \
             directory"
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk of {shown} is full; make room, or name another directory")
        }
        _ => format!("{shown} cannot be written: {error}"),
    })
}

/// What is wrong with the addresses and ports on which the node `me` would listen. They are taken
/// for a moment, so ask only where no daemon runs.
#[must_use]
pub fn port_problems(config: &Config, me: &Node) -> Vec<Problem> {
    let links = me.links.iter().enumerate();
    let links = links.map(|(i, link)| (format!("{}.links[{i}]", me.path), *link));
    links
        .chain([("admin.listen".to_owned(), config.admin.listen)])
        .filter_map(|(path, address)| Some(config.places.problem(&path, port_fault(address)?)))
        .collect()
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the kinds of I/O errors are an open list")]
fn port_fault(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {} of {} is in use by another process (`ss -ltnp 'sport = :{}'` shows it); stop \
             it, or choose another port",
            address.port(),
            address.ip(),
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "{} is no address of this machine (`ip -br address` shows them); correct it, or \
             `node` if this machine is another node",
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "this user may not listen on port {}; choose one of 1024 or more",
            address.port()
        ),
        _ => format!("cannot listen on {address}: {error}"),
    })
}
