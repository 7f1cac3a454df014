//! Gratuitous ARP: tells the neighbours of an address where it is now.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::time::Duration;

use pnet_datalink::{Channel, ChannelType, Config, MacAddr, NetworkInterface};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::time::Instant;

use crate::netlink::Link;

/// When it is said again after the first time: a switch may have been busy, or lost it.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// The announcements of one address that are still to be made.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    begun: Option<(Instant, usize)>,
}

impl Announcements {
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some((now, 0));
    }

    pub(super) fn end(&mut self) {
        self.begun = None;
    }

    /// When the next is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (begun, made) = self.begun?;
        match made.checked_sub(1) {
            None => Some(begun),
            Some(again) => AGAIN.get(again).map(|after| begun + *after),
        }
    }

    /// Whether one is due now, which then counts as made.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if let Some((_, made)) = self.begun.as_mut().filter(|_| due) {
            *made += 1;
        }
        due
    }
}

/// Says on `link` that it has `ip`, as a request and as an answer: there are neighbours that
/// heed only one of them. An interface that speaks no ARP says nothing.
pub(super) fn announce(link: &Link, ip: Ipv4Addr) -> io::Result<()> {
    let Some(mac) = link.mac else { return Ok(()) };
    let config = Config {
        channel_type: ChannelType::Layer3(0),
        promiscuous: false,
        // The channel closes it.
        socket_fd: Some(socket()?.into_raw_fd()),
        write_timeout: Some(Duration::ZERO),
        ..Config::default()
    };
    let interface = NetworkInterface {
        name: link.name.clone(),
        description: String::new(),
        index: link.index,
        mac: Some(MacAddr::from(mac)),
        ips: Vec::new(),
        flags: 0,
    };
    let Channel::Ethernet(mut sender, receiver) = pnet_datalink::channel(&interface, config)?
    else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let sent = [Operation::Request, Operation::Answer].into_iter().try_for_each(|operation| {
        let sent = sender.send_to(&frame(operation, mac, ip), None);
        sent.unwrap_or_else(|| Err(io::ErrorKind::WriteZero.into()))
    });
    close((sender, receiver));
    sent
}

/// Whether [`announce`] is permitted.
pub(super) fn may_announce() -> io::Result<()> {
    socket().map(close)
}

/// Closing a packet socket takes the kernel some ten milliseconds, for which nobody waits.
fn close(socket: impl Send + 'static) {
    drop(tokio::task::spawn_blocking(move || drop(socket)));
}

/// A packet socket of no protocol, so that it receives nothing.
fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?)
}

#[derive(Clone, Copy)]
enum Operation {
    Request = 1,
    Answer = 2,
}

/// An Ethernet frame to everybody: the owner of `ip`, as sender and as target, is `mac`
/// (RFC 826, RFC 5227).
fn frame(operation: Operation, mac: [u8; 6], ip: Ipv4Addr) -> Vec<u8> {
    const EVERYBODY: [u8; 6] = [0xff; 6];
    const ARP: [u8; 2] = [0x08, 0x06];
    /// Ethernet, IPv4, and the lengths of their addresses.
    const KINDS: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
    let target = match operation {
        Operation::Request => [0; 6],
        Operation::Answer => mac,
    };
    let ip = ip.octets();
    let operation = [0, operation as u8];
    [&EVERYBODY[..], &mac, &ARP, &KINDS, &operation, &mac, &ip, &target, &ip].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_are_those_of_the_standard() {
        let mac = [2, 0, 0, 0, 0, 0xa];
        let request = frame(Operation::Request, mac, [10, 0, 1, 50].into());
        let mut expected = Vec::from([0xff; 6]);
        expected.extend([2, 0, 0, 0, 0, 0xa, 8, 6]); // from, ARP
        expected.extend([0, 1, 8, 0, 6, 4, 0, 1]); // Ethernet, IPv4, lengths, request
        expected.extend([2, 0, 0, 0, 0, 0xa, 10, 0, 1, 50]);
        expected.extend([0, 0, 0, 0, 0, 0, 10, 0, 1, 50]);
        assert_eq!(request, expected);

        let answer = frame(Operation::Answer, mac, [10, 0, 1, 50].into());
        expected[21] = 2;
        expected[32..38].copy_from_slice(&mac);
        assert_eq!(answer, expected);
    }

    #[test]
    fn it_is_said_four_times_and_begun_anew() {
        let start = Instant::now();
        let mut announcements = Announcements::default();
        assert!(!announcements.take(start));
        announcements.begin(start);
        let mut times = Vec::new();
        while let Some(due) = announcements.due() {
            assert!(!announcements.take(due - Duration::from_millis(1)) && announcements.take(due));
            times.push((due - start).as_millis());
        }
        assert_eq!(times, [0, 100, 500, 2000]);
        announcements.begin(start);
        assert!(announcements.take(start));
        announcements.end();
        assert_eq!(announcements.due(), None);
    }
}
