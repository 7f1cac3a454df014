//! For tests: a network namespace of their own.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;

/// Set in the process that runs inside.
const INSIDE: &str = "VIPWARD_TEST_NAMESPACE";
const LONGEST: Duration = Duration::from_secs(60);

/// Runs `test`, which is the test called `path` (as the test runner lists it), in a network
/// namespace: this program is started again inside one, for that test alone, without the
/// capabilities named in `without` (like `-net_raw`).
///
/// Where no namespace can be made, the test is skipped, and says so.
pub(crate) fn isolated(path: &str, without: Option<&str>, test: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(LONGEST, test).await.expect("the test hangs") });
        return;
    }
    let makes = |flags: &&[&str]| {
        let mut command = Command::new("unshare");
        command.args(*flags).arg("true").stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let Some(flags) = [&["-n"][..], &["-U", "-r", "-n"]].into_iter().find(makes) else {
        eprintln!("skipped: no network namespace can be made here, not even in a user namespace");
        return;
    };
    let mut command = Command::new("unshare");
    command.args(flags).env(INSIDE, "1");
    if let Some(capabilities) = without {
        let flag = |name| format!("--{name}={capabilities}");
        command.arg("setpriv").args([flag("bounding-set"), flag("inh-caps")]);
    }
    command.arg(std::env::current_exe().unwrap());
    command.args([path, "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("test result: ok. 1 passed"),
        "in the namespace: {}\n{said}\n{complained}",
        output.status
    );
}

/// Runs `ip` with these arguments.
#[track_caller]
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {complained}");
    String::from_utf8(output.stdout).unwrap()
}

/// A pair of Ethernet interfaces; what leaves one arrives at the other.
pub(crate) fn pair(name: &str, peer: &str) {
    ip(&format!("link add {name} type veth peer name {peer}"));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {peer} up"));
}
