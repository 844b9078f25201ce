//! Probes: packets sent and received inside network namespaces, without shell or helper programs.
//!
//! A socket belongs for ever to the namespace it was opened in, so each is opened on a short-lived
//! thread that has joined the namespace; from then on one thread can serve sockets of many:
//!
//! ```text
//! namespace A  --(thread joins, opens)-->  socket \
//!                                                  >--  one thread: send, poll, receive
//! namespace B  --(thread joins, opens)-->  socket /
//! ```
//!
//! Every probe distinguishes *lost* from *late* packets: late ones are received, and a sender that was kept
//! from the processor reports it instead of counting the silence as loss.

pub mod echo;
pub mod endpoint;
pub mod flow_report;
pub mod loss;
pub mod namespace;
pub mod ping;
pub mod stream;
pub mod trace;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until one of `sockets` has something to read, or an error, or `until` has passed.
/// Returns the positions of those that have.
fn wait_readable<S: AsFd>(sockets: &[S], until: Instant) -> std::io::Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|socket| PollFd::new(fd_of(socket), PollFlags::POLLIN))
        .collect();
    let left = until.saturating_duration_since(Instant::now());
    match poll(&mut polled, poll_timeout(left)) {
        Ok(_) => {}
        Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    Ok(polled
        .iter()
        .enumerate()
        .filter(|(_, polled)| polled.any().unwrap_or(true))
        .map(|(position, _)| position)
        .collect())
}

fn fd_of<S: AsFd>(socket: &S) -> BorrowedFd<'_> {
    socket.as_fd()
}

/// Rounds up to whole milliseconds, so that a wait of less than one does not spin.
fn poll_timeout(left: Duration) -> PollTimeout {
    let milliseconds = left.as_nanos().div_ceil(1_000_000).min(60_000);
    PollTimeout::try_from(i32::try_from(milliseconds).expect("at most 60,000"))
        .unwrap_or(PollTimeout::ZERO)
}

/// Milliseconds, to the microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Eight bytes that no two probes of one machine share: process id, time and a counter.
fn nonce() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    now ^ (u64::from(std::process::id()) << 40) ^ (count << 20)
}
