//! Whether a systemd unit is active, as systemd says by D-Bus.

use std::path::{Path, PathBuf};

use super::Failure;
use super::bus::{Bus, BusError, Property};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// A unit, and the connection that is kept from run to run.
pub(super) struct UnitCheck {
    system_bus: PathBuf,
    object: String,
    bus: Option<Bus>,
}

impl UnitCheck {
    pub(super) fn new(system_bus: &Path, name: &str) -> Self {
        Self { system_bus: system_bus.to_owned(), object: object(name), bus: None }
    }

    /// Passes where `systemctl is-active` does.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        let active = self.property("ActiveState").await?;
        if matches!(active.as_str(), "active" | "reloading" | "refreshing") {
            return Ok(());
        }
        // A unit that does not exist is inactive too.
        let loaded = self.property("LoadState").await?;
        let loaded = Some(loaded).filter(|state| state != "loaded");
        Err(Failure::Unit { active, loaded })
    }

    /// Taken out while it is asked: a run that is broken off leaves no half of an answer behind.
    async fn property(&mut self, name: &str) -> Result<String, BusError> {
        let object = self.object.clone();
        let wanted = Property { service: SYSTEMD, object: &object, interface: UNIT, name };
        if let Some(mut bus) = self.bus.take() {
            let answer = bus.property(wanted).await;
            if answer.as_ref().err().is_none_or(BusError::is_answer) {
                self.bus = Some(bus);
                return answer;
            }
            // The bus was restarted since the last run.
        }
        let mut bus = Bus::connect(&self.system_bus).await?;
        let answer = bus.property(wanted).await;
        if answer.as_ref().err().is_none_or(BusError::is_answer) {
            self.bus = Some(bus);
        }
        answer
    }
}

/// The object of a unit: all but letters and digits are escaped, and a digit that comes first.
fn object(name: &str) -> String {
    let escape = |(index, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        b'0'..=b'9' if index > 0 => char::from(byte).to_string(),
        _ => format!("_{byte:02x}"),
    };
    let escaped: String = name.bytes().enumerate().map(escape).collect();
    format!("/org/freedesktop/systemd1/unit/{escaped}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::super::bus::tests::{Says, answer};
    use super::*;

    #[test]
    fn objects_are_named_as_systemd_does() {
        for (name, object_name) in [
            ("nginx.service", "nginx_2eservice"),
            ("0a-b.service", "_30a_2db_2eservice"),
            ("a@1.service", "a_401_2eservice"),
            ("é.mount", "_c3_a9_2emount"),
        ] {
            let wanted = format!("/org/freedesktop/systemd1/unit/{object_name}");
            assert_eq!(object(name), wanted);
        }
    }

    /// A bus on which systemd has one unit in a state; `None`: it never answers.
    struct Stand {
        path: PathBuf,
        state: Arc<Mutex<Option<(&'static str, &'static str)>>>,
        serving: Option<JoinHandle<()>>,
    }

    impl Stand {
        fn new(directory: &Path) -> Self {
            let state = Arc::new(Mutex::new(Some(("active", "loaded"))));
            let mut stand = Self { path: directory.join("bus"), state, serving: None };
            stand.start();
            stand
        }

        fn start(&mut self) {
            let listener = UnixListener::bind(&self.path).unwrap();
            let state = Arc::clone(&self.state);
            self.serving = Some(tokio::spawn(async move {
                let mut all = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    all.spawn(serve(stream, Arc::clone(&state)));
                }
            }));
        }

        /// Ends it, and every connection.
        async fn stop(&mut self) {
            let serving = self.serving.take().unwrap();
            serving.abort();
            let _ = serving.await;
            std::fs::remove_file(&self.path).unwrap();
        }

        fn is(&self, active: &'static str, loaded: &'static str) {
            *self.state.lock().unwrap() = Some((active, loaded));
        }
    }

    async fn serve(stream: UnixStream, state: Arc<Mutex<Option<(&'static str, &'static str)>>>) {
        let mut stream = BufStream::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let user = rustix::process::geteuid().as_raw().to_string();
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(line, format!("\0AUTH EXTERNAL {hex}\r\n"));
        stream.write_all(b"OK 0123456789abcdef\r\n").await.unwrap();
        stream.flush().await.unwrap();
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, "BEGIN\r\n");
        let mut fixed = [0; 16];
        while stream.read_exact(&mut fixed).await.is_ok() {
            let number = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap());
            let (body, serial, fields) = (number(4), number(8), number(12));
            let mut rest = vec![0; fields.next_multiple_of(8) as usize + body as usize];
            stream.read_exact(&mut rest).await.unwrap();
            let asked = String::from_utf8_lossy(&rest).into_owned();
            let state = *state.lock().unwrap();
            let says = match state {
                _ if asked.contains("Hello") => Says::Text(":1.5"),
                None => continue,
                Some(("refused", why)) => Says::Error("org.freedesktop.DBus.Error.Failed", why),
                Some((active, _)) if asked.contains("ActiveState") => Says::Text(active),
                Some((_, loaded)) => Says::Text(loaded),
            };
            assert!(asked.contains("Hello") || asked.contains("/unit/nginx_2eservice"), "{asked}");
            // A message for nobody comes before it, as a bus sends them.
            stream.write_all(&answer(serial + 1000, &Says::Text("stray"))).await.unwrap();
            stream.write_all(&answer(serial, &says)).await.unwrap();
            stream.flush().await.unwrap();
        }
    }

    async fn reason(check: &mut UnitCheck) -> String {
        check.run().await.expect_err("it fails").to_string()
    }

    #[tokio::test]
    async fn a_unit_passes_while_it_is_active_and_says_what_it_is_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let stand = Stand::new(dir.path());
        let mut check = UnitCheck::new(&stand.path, "nginx.service");
        for state in ["active", "reloading", "refreshing"] {
            stand.is(state, "loaded");
            assert!(check.run().await.is_ok(), "{state}");
        }
        for (active, loaded, wanted) in [
            ("failed", "loaded", "the unit is failed"),
            ("activating", "loaded", "the unit is activating"),
            ("inactive", "not-found", "the unit is inactive (not-found)"),
            ("inactive", "masked", "the unit is inactive (masked)"),
            ("refused", "no", "org.freedesktop.DBus.Error.Failed: no"),
        ] {
            stand.is(active, loaded);
            assert_eq!(reason(&mut check).await, wanted);
        }
        stand.is("active", "loaded");
        assert!(check.run().await.is_ok());
    }

    #[tokio::test]
    async fn a_bus_that_restarts_costs_no_run_and_one_that_is_gone_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut stand = Stand::new(dir.path());
        let mut check = UnitCheck::new(&stand.path, "nginx.service");
        assert!(check.run().await.is_ok());
        stand.stop().await;
        stand.start();
        assert!(check.run().await.is_ok(), "a new connection is made at once");
        stand.stop().await;
        let why = reason(&mut check).await;
        assert!(why.contains("cannot be reached") && why.contains("bus"), "{why}");
        stand.start();
        assert!(check.run().await.is_ok());
    }

    #[tokio::test]
    async fn an_answer_that_comes_too_late_is_not_taken_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let stand = Stand::new(dir.path());
        let mut check = UnitCheck::new(&stand.path, "nginx.service");
        *stand.state.lock().unwrap() = None;
        // A run that is broken off, as the time-out does it.
        assert!(timeout(Duration::from_millis(50), check.run()).await.is_err());
        assert!(check.bus.is_none());
        stand.is("failed", "loaded");
        assert_eq!(reason(&mut check).await, "the unit is failed");
    }

    #[tokio::test]
    async fn a_bus_that_does_not_admit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"REJECTED EXTERNAL\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let why = reason(&mut UnitCheck::new(&path, "nginx.service")).await;
        assert!(why.contains("REJECTED EXTERNAL"), "{why}");
    }
}
