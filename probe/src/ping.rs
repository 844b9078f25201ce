//! ICMP echo (RFC 792, RFC 4443 section 4) between namespaces.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::libc;
use socket2::{SockAddr, Socket};

use super::{namespace, nonce, wait_readable};

/// Parameters of a ping.
#[derive(Clone, Debug)]
pub struct Ping {
    /// Namespace to send from.
    pub from: String,
    /// Source address, one that the namespace holds.
    pub source: IpAddr,
    /// Destination, of the same family.
    pub to: IpAddr,
    /// Echo requests to send.
    pub count: u64,
    /// Time between two of them.
    pub interval: Duration,
    /// Timeout of replies after the last request.
    pub timeout: Duration,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Sequence number of the request, from 0.
    pub sequence: u64,
    /// From sending to reading the answer.
    pub round_trip: Duration,
}

/// Result of a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that the kernel took or refused.
    pub sent: u64,
    /// Different requests that were answered, late ones included.
    pub received: u64,
    /// Round-trip times, in the order of arrival.
    pub round_trips: Vec<Duration>,
    /// The last refusal by the sender's own kernel, for instance "network is unreachable".
    pub refused: Option<String>,
}

impl Report {
    /// Requests without an answer.
    pub fn lost(&self) -> u64 {
        self.sent - self.received
    }

    /// Least, mean and greatest round-trip time.
    pub fn min_mean_max(&self) -> Option<(Duration, Duration, Duration)> {
        let min = *self.round_trips.iter().min()?;
        let max = *self.round_trips.iter().max()?;
        let count = u32::try_from(self.round_trips.len()).ok()?;
        let mean = self.round_trips.iter().sum::<Duration>() / count;
        Some((min, mean, max))
    }
}

/// Sends echo requests and collects the answers; `on_reply` sees each as it arrives.
///
/// # Errors
/// When the socket cannot be opened or read. A request that the kernel refuses to send is not an
/// error but a loss, with its reason in [`Report::refused`].
pub fn ping(ping: &Ping, mut on_reply: impl FnMut(Reply)) -> io::Result<Report> {
    let socket = namespace::icmp(&ping.from, ping.source)?;
    let mut echoes = Echoes::new(socket, ping);
    let start = Instant::now();
    for sequence in 0..ping.count {
        let at = start + ping.interval * u32::try_from(sequence).unwrap_or(u32::MAX);
        echoes.collect(at.max(Instant::now()), false, &mut on_reply)?;
        echoes.send(sequence);
    }
    echoes.collect(Instant::now() + ping.timeout, true, &mut on_reply)?;
    // Kept from the processor for all of the time limit? What has arrived meanwhile counts.
    echoes.drain(&mut on_reply)?;
    Ok(echoes.report)
}

struct Echoes {
    socket: Socket,
    to: SockAddr,
    family: IpAddr,
    nonce: u64,
    sent_at: Vec<Instant>,
    answered: Vec<bool>,
    report: Report,
}

impl Echoes {
    fn new(socket: Socket, ping: &Ping) -> Self {
        Echoes {
            socket,
            to: SockAddr::from(SocketAddr::new(ping.to, 0)),
            family: ping.to,
            nonce: nonce(),
            sent_at: Vec::new(),
            answered: Vec::new(),
            report: Report::default(),
        }
    }

    fn send(&mut self, sequence: u64) {
        let request = echo_request(self.family, self.nonce, sequence);
        self.sent_at.push(Instant::now());
        self.answered.push(false);
        self.report.sent += 1;
        if let Err(error) = self.socket.send_to(&request, &self.to) {
            self.report.refused = Some(error.to_string());
        }
    }

    /// Reads answers until `until`; with `all_is_enough` stops when none is missing.
    fn collect(
        &mut self,
        until: Instant,
        all_is_enough: bool,
        on_reply: &mut impl FnMut(Reply),
    ) -> io::Result<()> {
        loop {
            self.drain(on_reply)?;
            let complete = all_is_enough && self.report.received == self.report.sent;
            if complete || Instant::now() >= until {
                return Ok(());
            }
            wait_readable(std::slice::from_ref(&self.socket), until)?;
        }
    }

    fn drain(&mut self, on_reply: &mut impl FnMut(Reply)) -> io::Result<()> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
        loop {
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // An ICMP error about an own request, which stays unanswered.
                Err(error) if is_about_a_packet(&error) => continue,
                Err(error) => return Err(error),
            };
            // SAFETY: `recv` has filled the first `length` bytes.
            let packet =
                unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
            let Some(sequence) = answered_sequence(self.family, self.nonce, packet) else {
                continue;
            };
            self.note(sequence, on_reply);
        }
    }

    fn note(&mut self, sequence: u64, on_reply: &mut impl FnMut(Reply)) {
        let Ok(position) = usize::try_from(sequence) else {
            return;
        };
        match self.answered.get_mut(position) {
            Some(answered) if !*answered => *answered = true,
            _ => return,
        }
        let round_trip = self.sent_at[position].elapsed();
        self.report.received += 1;
        self.report.round_trips.push(round_trip);
        on_reply(Reply {
            sequence,
            round_trip,
        });
    }
}

fn is_about_a_packet(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ECONNREFUSED | libc::EINTR)
    )
}

const HEADER: usize = 8;

/// The message, with `nonce` and `sequence` as its data. The kernel fills in the ICMPv6 checksum.
fn echo_request(family: IpAddr, nonce: u64, sequence: u64) -> Vec<u8> {
    let mut message = vec![if family.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
    message.extend((nonce as u16).to_be_bytes());
    message.extend((sequence as u16).to_be_bytes());
    message.extend(nonce.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    if family.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The sequence number of an echo reply to us; none for any other packet.
fn answered_sequence(family: IpAddr, nonce: u64, packet: &[u8]) -> Option<u64> {
    let (message, reply) = if family.is_ipv4() {
        // A raw IPv4 socket hands over the IP header too.
        (packet.get(usize::from(packet.first()? & 0x0f) * 4..)?, 0)
    } else {
        (packet, 129)
    };
    if *message.first()? != reply {
        return None;
    }
    let data = message.get(HEADER..HEADER + 16)?;
    let (theirs, sequence) = data.split_at(8);
    (theirs == nonce.to_be_bytes()).then(|| u64::from_be_bytes(sequence.try_into().expect("8")))
}

/// The Internet checksum (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let mut sum: u32 = message
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn a_checksummed_message_sums_to_zero() {
        let request = echo_request(V4, 0x0123_4567_89ab_cdef, 7);
        assert_eq!(checksum(&request), 0);
    }

    #[test]
    fn only_the_reply_with_our_nonce_is_ours() {
        let mut reply = echo_request(V6, 42, 9);
        assert_eq!(answered_sequence(V6, 42, &reply), None, "a request");
        reply[0] = 129;
        assert_eq!(answered_sequence(V6, 42, &reply), Some(9));
        assert_eq!(answered_sequence(V6, 43, &reply), None, "someone else's");
        assert_eq!(answered_sequence(V6, 42, &reply[..20]), None, "cut short");
        let mut packet = vec![0x45; 20];
        reply[0] = 0;
        packet.extend(&reply);
        assert_eq!(
            answered_sequence(V4, 42, &packet),
            Some(9),
            "behind an IPv4 header"
        );
        assert_eq!(answered_sequence(V4, 42, &[]), None, "nothing");
    }
}
