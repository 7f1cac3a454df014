//! Questions and orders to the kernel, each with a deadline.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::StreamExt as _;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_proto::sys::{SocketAddr, protocols::NETLINK_ROUTE};
use netlink_proto::{ConnectionHandle, new_connection};
use rustix::io::Errno;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Held, Link, View};

/// The kernel answers within microseconds, unless something holds its lock.
const PATIENCE: Duration = Duration::from_secs(1);
/// A list that changed while it was read is read again so often.
const READS: usize = 5;

/// A netlink socket for requests.
pub(crate) struct Netlink {
    handle: ConnectionHandle<RouteNetlinkMessage>,
    _connection: AbortOnDropHandle<()>,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let (mut connection, handle, _) = new_connection(NETLINK_ROUTE)?;
        // The last message tells a whole answer from one that a broken connection cut off.
        connection.set_forward_done(true);
        connection.set_forward_ack(true);
        Ok(Self { handle, _connection: AbortOnDropHandle::new(tokio::spawn(connection)) })
    }

    /// All links and IPv4 addresses.
    pub(crate) async fn view(&self) -> io::Result<View> {
        let mut links = LinkMessage::default();
        links.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let mut addresses = AddressMessage::default();
        addresses.header.family = AddressFamily::Inet;
        let links = self.list(RouteNetlinkMessage::GetLink(links)).await?;
        let held = self.list(RouteNetlinkMessage::GetAddress(addresses)).await?;
        Ok(View {
            links: links.iter().filter_map(link).collect(),
            held: held.iter().filter_map(held_by).collect(),
        })
    }

    /// One link, if there is one of that name.
    pub(crate) async fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.ask(RouteNetlinkMessage::GetLink(message), NLM_F_ACK).await {
            Ok((answers, _)) => Ok(answers.iter().find_map(link)),
            Err(error) if is(&error, Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds an address, without a route and never to be chosen as the source of other traffic
    /// (which scope "host" does). That it is there already is no error.
    pub(crate) async fn add(&self, link: u32, ip: Ipv4Addr) -> io::Result<()> {
        let mut message = address(link, ip, 32);
        message.header.scope = AddressScope::Host;
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        match self.ask(RouteNetlinkMessage::NewAddress(message), flags).await {
            Err(error) if !is(&error, Errno::EXIST) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Removes an address. That it is gone already is no error.
    pub(crate) async fn remove(&self, held: Held) -> io::Result<()> {
        let message = address(held.link, held.ip, held.prefix);
        let gone = |error: &io::Error| is(error, Errno::ADDRNOTAVAIL) || is(error, Errno::NODEV);
        match self.ask(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK).await {
            Err(error) if !gone(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether this process may change addresses: it is found out by removing one of no link.
    pub(crate) async fn may_change(&self) -> io::Result<bool> {
        let nowhere = Held { link: 0, ip: Ipv4Addr::LOCALHOST, prefix: 32, secondary: false };
        match self.remove(nowhere).await {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 1..READS {
            let (answers, whole) = self.ask(question.clone(), NLM_F_DUMP).await?;
            if whole {
                return Ok(answers);
            }
        }
        // Each change of it is an event too, with which it is read again.
        Ok(self.ask(question, NLM_F_DUMP).await?.0)
    }

    /// The answers, and whether nothing changed while they were gathered.
    async fn ask(
        &self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let asked = timeout(PATIENCE, self.ask_on(question, flags)).await;
        asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn ask_on(
        &self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let mut request = NetlinkMessage::from(question);
        request.header.flags = NLM_F_REQUEST | flags;
        let kernel = SocketAddr::new(0, 0);
        let answers = self.handle.request(request, kernel);
        let mut answers = answers.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let (mut all, mut whole) = (Vec::new(), true);
        while let Some(answer) = answers.next().await {
            whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => all.push(message),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(-done.code));
                }
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok((all, whole)),
                NetlinkPayload::Overrun(_) => whole = false,
                NetlinkPayload::Noop => {}
                _ => {}
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// Whether the kernel answered with that error.
pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Whether the kernel answered that this process may not do so.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    is(error, Errno::PERM) || is(error, Errno::ACCESS)
}

fn address(link: u32, ip: Ipv4Addr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = link;
    message.header.prefix_len = prefix;
    let ip = IpAddr::V4(ip);
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

fn link(message: &RouteNetlinkMessage) -> Option<Link> {
    if let RouteNetlinkMessage::NewLink(message) = message { Link::read(message) } else { None }
}

fn held_by(message: &RouteNetlinkMessage) -> Option<Held> {
    if let RouteNetlinkMessage::NewAddress(message) = message { Held::read(message) } else { None }
}
