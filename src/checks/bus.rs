//! As much of D-Bus as it takes to read a text property: a connection to the system bus, one call
//! at a time. The wire format is that of the D-Bus specification, version 1.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Where the system bus listens (D-Bus specification, "System message bus").
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// Names another.
const SYSTEM_BUS_VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// No answer to what is asked here is longer; nor is a line of the handshake.
const LONGEST: usize = 64 << 10;
const LONGEST_LINE: usize = 1 << 10;

/// Kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
/// Do not start whoever is not there.
const NO_AUTO_START: u8 = 2;

/// Fields of a header.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Where the system bus listens here.
#[must_use]
pub fn system_bus() -> PathBuf {
    let address = std::env::var(SYSTEM_BUS_VARIABLE).unwrap_or_default();
    let path = address.strip_prefix("unix:path=").and_then(|rest| rest.split(',').next());
    path.unwrap_or(SYSTEM_BUS).into()
}

/// Why a property cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum BusError {
    #[error("the system bus at {path} cannot be reached: {source}", path = path.display())]
    NoBus { path: PathBuf, source: io::Error },
    #[error("the system bus broke off: {0}")]
    Broken(#[from] io::Error),
    #[error("the system bus does not let this process in: {0:?}")]
    NotAdmitted(String),
    #[error("the system bus sent what is no D-Bus: {0}")]
    Malformed(&'static str),
    #[error("{name}: {message}")]
    Refused { name: String, message: String },
}

impl BusError {
    /// Whether the connection can go on.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// A property of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Property<'a> {
    pub(super) service: &'a str,
    pub(super) object: &'a str,
    pub(super) interface: &'a str,
    pub(super) name: &'a str,
}

/// A connection. One that a call was broken off on is of no more use.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    /// Connects and says who this is.
    pub(super) async fn connect(path: &Path) -> Result<Self, BusError> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|source| BusError::NoBus { path: path.to_owned(), source })?;
        let mut bus = Self { stream, serial: 0 };
        bus.authenticate().await?;
        let hello = Call {
            service: "org.freedesktop.DBus",
            object: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
        };
        bus.call(&hello, &[]).await?;
        Ok(bus)
    }

    /// Reads a property that is a text.
    pub(super) async fn property(&mut self, wanted: Property<'_>) -> Result<String, BusError> {
        let Property { service, object, interface, name } = wanted;
        let get =
            Call { service, object, interface: "org.freedesktop.DBus.Properties", member: "Get" };
        let body = self.call(&get, &[interface, name]).await?;
        let mut reader = body.reader();
        if reader.signature()? != "s" {
            return Err(BusError::Malformed("the property is no text"));
        }
        Ok(reader.text()?.to_owned())
    }

    /// The kernel tells the bus whose process this is; the name only has to agree.
    async fn authenticate(&mut self) -> Result<(), BusError> {
        use std::fmt::Write as _;
        let user = rustix::process::geteuid().as_raw().to_string();
        let mut line = "\0AUTH EXTERNAL ".to_owned();
        for byte in user.bytes() {
            let _ = write!(line, "{byte:02x}"); // Writing to a string cannot fail.
        }
        self.stream.write_all((line + "\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") && answer.len() < LONGEST_LINE {
            answer.push(self.stream.read_u8().await?);
        }
        if !answer.starts_with(b"OK ") {
            let said = String::from_utf8_lossy(&answer).trim().to_owned();
            return Err(BusError::NotAdmitted(said));
        }
        Ok(self.stream.write_all(b"BEGIN\r\n").await?)
    }

    async fn call(&mut self, call: &Call<'_>, arguments: &[&str]) -> Result<Body, BusError> {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.stream.write_all(&call.encode(self.serial, arguments)).await?;
        loop {
            let message = self.read().await?;
            // Signals, and answers to nobody, are passed over.
            if message.reply_to != Some(self.serial) {
                continue;
            }
            match message.kind {
                RETURN => return Ok(message.body),
                ERROR => {
                    let text = message.body.reader().text().unwrap_or_default().to_owned();
                    let name = message.error.unwrap_or_default();
                    return Err(BusError::Refused { name, message: text });
                }
                _ => {}
            }
        }
    }

    async fn read(&mut self) -> Result<Message, BusError> {
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed).await?;
        let little = match fixed[0] {
            b'l' => true,
            b'B' => false,
            _ => return Err(BusError::Malformed("neither byte order")),
        };
        let mut lengths = Reader { bytes: &fixed, at: 4, little };
        let body = to_length(lengths.number()?)?;
        lengths.at = 12;
        let fields = to_length(lengths.number()?)?;
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest).await?;
        let (head, body) = rest.split_at(fields.next_multiple_of(8));
        let body = Body { bytes: body.to_owned(), little };
        let mut message = Message { kind: fixed[1], reply_to: None, error: None, body };
        let mut reader = Reader { bytes: head.get(..fields).unwrap_or_default(), at: 0, little };
        while reader.at < fields {
            message.field(&mut reader)?;
        }
        Ok(message)
    }
}

fn to_length(number: u32) -> Result<usize, BusError> {
    let length = usize::try_from(number).unwrap_or(usize::MAX);
    if length > LONGEST { Err(BusError::Malformed("too long a message")) } else { Ok(length) }
}

/// A method of an object.
struct Call<'a> {
    service: &'a str,
    object: &'a str,
    interface: &'a str,
    member: &'a str,
}

impl Call<'_> {
    fn encode(&self, serial: u32, arguments: &[&str]) -> Vec<u8> {
        let mut body = Writer::default();
        arguments.iter().for_each(|text| body.text(text));
        let mut fields = Writer::default();
        fields.field(PATH, "o", self.object);
        fields.field(INTERFACE, "s", self.interface);
        fields.field(MEMBER, "s", self.member);
        fields.field(DESTINATION, "s", self.service);
        if !arguments.is_empty() {
            fields.field(SIGNATURE, "g", &"s".repeat(arguments.len()));
        }
        message([CALL, NO_AUTO_START], serial, fields, body)
    }
}

/// Puts a message together: everything in it is aligned to its own size from the beginning.
fn message([kind, flags]: [u8; 2], serial: u32, fields: Writer, body: Writer) -> Vec<u8> {
    let mut whole = Writer(vec![b'l', kind, flags, 1]);
    whole.number(length(&body.0));
    whole.number(serial);
    whole.number(length(&fields.0));
    whole.0.extend(fields.0);
    whole.pad(8);
    whole.0.extend(body.0);
    whole.0
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Values in their wire format, little-endian.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, alignment: usize) {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
    }

    fn number(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(length(text.as_bytes()));
        self.0.extend(text.bytes().chain([0]));
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.bytes().chain([0]));
    }

    /// A field of a header.
    fn field(&mut self, code: u8, signature: &str, value: &str) {
        self.pad(8);
        self.0.push(code);
        self.signature(signature);
        if signature == "g" { self.signature(value) } else { self.text(value) }
    }
}

/// As much of a message as is looked at.
struct Message {
    kind: u8,
    reply_to: Option<u32>,
    error: Option<String>,
    body: Body,
}

impl Message {
    fn field(&mut self, reader: &mut Reader<'_>) -> Result<(), BusError> {
        reader.align(8);
        let code = reader.byte()?;
        match reader.signature()? {
            "s" | "o" => {
                let text = reader.text()?;
                if code == ERROR_NAME {
                    self.error = Some(text.to_owned());
                }
            }
            "u" => {
                let number = reader.number()?;
                if code == REPLY_SERIAL {
                    self.reply_to = Some(number);
                }
            }
            "g" => {
                reader.signature()?;
            }
            _ => return Err(BusError::Malformed("an unknown kind of field")),
        }
        Ok(())
    }
}

/// The values of a message.
struct Body {
    bytes: Vec<u8>,
    little: bool,
}

impl Body {
    fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.bytes, at: 0, little: self.little }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Reader<'a> {
    fn align(&mut self, alignment: usize) {
        self.at = self.at.next_multiple_of(alignment);
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BusError> {
        let end = self.at.saturating_add(length);
        let taken = self.bytes.get(self.at..end).ok_or(BusError::Malformed("it breaks off"))?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BusError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn number(&mut self) -> Result<u32, BusError> {
        self.align(4);
        let bytes = <[u8; 4]>::try_from(self.take(4)?).unwrap_or_default();
        Ok(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn text(&mut self) -> Result<&'a str, BusError> {
        let length = to_length(self.number()?)?;
        self.ended_text(length)
    }

    fn signature(&mut self) -> Result<&'a str, BusError> {
        let length = self.byte()?;
        self.ended_text(length.into())
    }

    /// A text and the zero after it.
    fn ended_text(&mut self, length: usize) -> Result<&'a str, BusError> {
        let text = self.take(length)?;
        self.byte()?;
        std::str::from_utf8(text).map_err(|_| BusError::Malformed("a text that is no UTF-8"))
    }
}

#[cfg(test)]
pub(super) mod tests;
