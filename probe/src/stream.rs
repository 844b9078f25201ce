//! Steady one-way streams of numbered packets, to measure the duration of an outage.
//!
//! One thread sends on all flows at each tick, another receives at all destinations. The sender
//! records when each packet was really sent, so that a late tick is distinguished from a packet that was
//! lost: an outage lasts from the sending of the first lost packet to that of the next that arrived.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};

use super::loss::{Loss, greatest_gap, loss};
use super::{namespace, nonce, wait_readable};

/// One flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Namespace to send from.
    pub from: String,
    /// Address and port to send from (port 0: any free one).
    pub source: SocketAddr,
    /// Namespace that holds the destination.
    pub sink: String,
    /// Destination address, of the same family.
    pub to: IpAddr,
    /// Destination port (0: any free one).
    pub port: u16,
}

/// Streams that are running; dropped, they stop.
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

struct Shared {
    start: Instant,
    stop_sending: AtomicBool,
    stop_receiving: AtomicBool,
    flows: Vec<FlowState>,
}

/// Times are nanoseconds since `start`.
struct FlowState {
    sent_at: Mutex<Vec<u64>>,
    arrived: Mutex<Vec<u64>>,
    /// Send times of the first and the last packet of the current run without a loss.
    run_since: AtomicU64,
    run_until: AtomicU64,
}

impl Running {
    /// Opens all sockets and starts to send on each flow every `interval`.
    ///
    /// # Errors
    /// When a socket cannot be opened; nothing runs then.
    pub fn start(flows: &[Flow], interval: Duration) -> io::Result<Running> {
        let mut senders = Vec::with_capacity(flows.len());
        let mut sinks = Vec::with_capacity(flows.len());
        // Flows to one address and port share the socket there.
        let mut open: BTreeMap<(&str, SocketAddr), SockAddr> = BTreeMap::new();
        for flow in flows {
            let wanted = (flow.sink.as_str(), SocketAddr::new(flow.to, flow.port));
            let known = open.get(&wanted).filter(|_| flow.port != 0).cloned();
            let to = match known {
                Some(to) => to,
                None => {
                    let sink = namespace::udp(wanted.0, wanted.1)?;
                    let to = sink.local_addr()?;
                    sinks.push(sink);
                    open.insert(wanted, to.clone());
                    to
                }
            };
            senders.push((namespace::udp(&flow.from, flow.source)?, to));
        }
        let shared = Arc::new(Shared {
            start: Instant::now(),
            stop_sending: AtomicBool::new(false),
            stop_receiving: AtomicBool::new(false),
            flows: flows.iter().map(|_| FlowState::new()).collect(),
        });
        let nonce = nonce();
        let (for_sender, for_receiver) = (Arc::clone(&shared), Arc::clone(&shared));
        let receiver = std::thread::Builder::new()
            .name("probe-receive".to_owned())
            .spawn(move || receive(&for_receiver, &sinks, nonce))?;
        let sender = std::thread::Builder::new()
            .name("probe-send".to_owned())
            .spawn(move || send(&for_sender, &senders, nonce, interval));
        let mut running = Running {
            shared,
            threads: vec![receiver],
        };
        running.threads.insert(0, sender?);
        Ok(running)
    }

    /// Time since the start, as [`Running::wait_unbroken`] takes it.
    pub fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Waits until every flow has arrived without a gap for `at_least`, counted from packets sent
    /// after `since`; false when that did not come about within `limit`.
    ///
    /// The limit is prolonged by the sender's delay, to tolerate a busy machine.
    pub fn wait_unbroken(&self, since: Duration, at_least: Duration, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if self
                .shared
                .flows
                .iter()
                .all(|flow| flow.is_unbroken(since, at_least))
            {
                return true;
            }
            let late = self.shared.flows.iter().map(FlowState::greatest_gap).max();
            if Instant::now() >= deadline + late.unwrap_or_default() * 4 {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops, waits for packets in flight, and returns the loss of each flow.
    ///
    /// # Errors
    /// When a socket failed while running.
    pub fn finish(mut self) -> io::Result<Vec<Loss>> {
        self.shared.stop_sending.store(true, Ordering::Relaxed);
        let mut result = Ok(());
        // The sender first: only then is it known what there is to receive.
        for thread in self.threads.drain(..) {
            let ended = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            self.shared.stop_receiving.store(true, Ordering::Relaxed);
            result = result.and(ended);
        }
        result?;
        Ok(self.shared.flows.iter().map(FlowState::loss).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop_sending.store(true, Ordering::Relaxed);
        self.shared.stop_receiving.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Who drops instead of finishing does not care for the outcome.
            let _ = thread.join();
        }
    }
}

fn send(
    shared: &Shared,
    senders: &[(Socket, SockAddr)],
    nonce: u64,
    interval: Duration,
) -> io::Result<()> {
    let mut next = Instant::now();
    while !shared.stop_sending.load(Ordering::Relaxed) {
        for (number, (socket, to)) in senders.iter().enumerate() {
            let sent_at = nanoseconds(shared.start.elapsed());
            let sequence = shared.flows[number].note_sent(sent_at);
            // A refusal (no route just now) is a loss like any other: the packet never arrives.
            let _ = socket.send_to(&encode(nonce, number, sequence, sent_at), to);
        }
        next += interval;
        let now = Instant::now();
        if next > now {
            std::thread::sleep(next - now);
        } else {
            // Late: go on from here, rather than make up for it by a burst.
            next = now;
        }
    }
    Ok(())
}

fn receive(shared: &Shared, sinks: &[Socket], nonce: u64) -> io::Result<()> {
    loop {
        // Checked before the read, so that earlier arrivals are read.
        let last_round = shared.stop_receiving.load(Ordering::Relaxed);
        let wait = if last_round {
            LINGER
        } else {
            Duration::from_millis(20)
        };
        for position in wait_readable(sinks, Instant::now() + wait)? {
            drain(shared, &sinks[position], nonce)?;
        }
        if last_round {
            for sink in sinks {
                drain(shared, sink, nonce)?;
            }
            return Ok(());
        }
    }
}

/// Longest time that packets are in flight after the last was sent.
const LINGER: Duration = Duration::from_millis(20);

fn drain(shared: &Shared, sink: &Socket, nonce: u64) -> io::Result<()> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); PACKET_BYTES + 1];
    loop {
        let length = match sink.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // SAFETY: `recv` has filled the first `length` bytes.
        let packet = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
        let Some((flow, sequence, sent_at)) = decode(nonce, packet) else {
            continue;
        };
        if let Some(flow) = shared.flows.get(flow) {
            flow.note_arrived(sequence, sent_at);
        }
    }
}

impl FlowState {
    fn new() -> Self {
        FlowState {
            sent_at: Mutex::new(Vec::new()),
            arrived: Mutex::new(Vec::new()),
            run_since: AtomicU64::new(0),
            run_until: AtomicU64::new(0),
        }
    }

    fn note_sent(&self, at: u64) -> u64 {
        let mut sent_at = self.sent_at.lock().unwrap_or_else(PoisonError::into_inner);
        sent_at.push(at);
        sent_at.len() as u64 - 1
    }

    fn note_arrived(&self, sequence: u64, sent_at: u64) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = arrived.last().is_some_and(|last| last + 1 >= sequence);
        arrived.push(sequence);
        if !follows {
            self.run_since.store(sent_at, Ordering::Relaxed);
        }
        self.run_until.fetch_max(sent_at, Ordering::Relaxed);
    }

    fn is_unbroken(&self, since: Duration, at_least: Duration) -> bool {
        let from = self
            .run_since
            .load(Ordering::Relaxed)
            .max(nanoseconds(since));
        let until = self.run_until.load(Ordering::Relaxed);
        until.saturating_sub(from) >= nanoseconds(at_least)
    }

    fn greatest_gap(&self) -> Duration {
        let sent_at = self.sent_at.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the recent past matters to one who waits, and this is asked often.
        greatest_gap(&sent_at[sent_at.len().saturating_sub(4096)..])
    }

    fn loss(&self) -> Loss {
        let sent_at = self.sent_at.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        loss(&sent_at, &arrived)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Nonce, flow, sequence number and time of sending.
const PACKET_BYTES: usize = 8 + 4 + 8 + 8;

fn encode(nonce: u64, flow: usize, sequence: u64, sent_at: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[..8].copy_from_slice(&nonce.to_be_bytes());
    packet[8..12].copy_from_slice(&u32::try_from(flow).unwrap_or(u32::MAX).to_be_bytes());
    packet[12..20].copy_from_slice(&sequence.to_be_bytes());
    packet[20..].copy_from_slice(&sent_at.to_be_bytes());
    packet
}

fn decode(nonce: u64, packet: &[u8]) -> Option<(usize, u64, u64)> {
    if packet.len() != PACKET_BYTES || packet[..8] != nonce.to_be_bytes() {
        return None;
    }
    let flow = u32::from_be_bytes(packet[8..12].try_into().expect("4 bytes"));
    let sequence = u64::from_be_bytes(packet[12..20].try_into().expect("8 bytes"));
    let sent_at = u64::from_be_bytes(packet[20..].try_into().expect("8 bytes"));
    Some((flow as usize, sequence, sent_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_run_counts_only_from_when_it_is_asked_for() {
        let flow = FlowState::new();
        for sequence in [0, 1, 2, 5, 6, 7] {
            flow.note_arrived(sequence, sequence * MS);
        }
        let ms = Duration::from_millis;
        assert!(flow.is_unbroken(ms(0), ms(2)));
        assert!(!flow.is_unbroken(ms(0), ms(3)), "3 and 4 are missing");
        assert!(flow.is_unbroken(ms(6), ms(1)));
        assert!(!flow.is_unbroken(ms(6), ms(2)));
    }
}
