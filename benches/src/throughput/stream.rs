//! A TCP connection between two namespaces that stays open, and is filled for a short time when it is its turn.
//!
//! Its two threads have a processor each, where there are two: a scheduler that moves them changes the
//! rate more than a Forwarder does.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::harness::netns::within;

/// Time that counts of a turn.
pub(crate) const SLICE: Duration = Duration::from_millis(100);
/// Time of a turn before it counts: the window opens anew after a pause.
const OPENING: Duration = Duration::from_millis(30);
const PORT: u16 = 5_201;
/// Bytes of one write or read, as iperf3 has them.
const CHUNK: usize = 128 << 10;

/// A connection; it ends when dropped.
pub(crate) struct Stream {
    client: Option<TcpStream>,
    received: Arc<AtomicU64>,
    receiver: Option<JoinHandle<()>>,
}

impl Stream {
    /// Connects the two namespaces.
    ///
    /// # Errors
    /// When a namespace cannot be entered, or the address cannot be reached.
    pub(crate) fn open(client: &str, server: &str, address: Ipv4Addr) -> Result<Self> {
        let listener = within(server, || {
            Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?)
        })?;
        let to = SocketAddrV4::new(address, PORT);
        let client = within(client, || {
            Ok(TcpStream::connect_timeout(
                &to.into(),
                Duration::from_secs(5),
            )?)
        })?;
        client.set_write_timeout(Some(Duration::from_secs(5)))?;
        let (server, _) = listener.accept()?;
        let received = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&received);
        Ok(Self {
            client: Some(client),
            received,
            receiver: Some(thread::spawn(move || receive(server, &count))),
        })
    }

    /// Rate at which bytes arrive while as many are sent as can be.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) fn gigabits_per_second(&mut self) -> Result<f64> {
        let (mut client, received) = (self.client.as_ref(), &self.received);
        let client = client.as_mut().expect("open until dropped");
        thread::scope(|scope| {
            let sender = scope.spawn(move || -> Result<f64> {
                stay_on(0);
                let chunk = vec![0; CHUNK];
                let mut send_for = |time| -> Result<(Duration, u64)> {
                    let (start, before) = (Instant::now(), received.load(Ordering::Relaxed));
                    while start.elapsed() < time {
                        client.write_all(&chunk)?;
                    }
                    Ok((start.elapsed(), received.load(Ordering::Relaxed) - before))
                };
                send_for(OPENING)?;
                let (elapsed, bytes) = send_for(SLICE)?;
                ensure!(bytes > 0, "nothing arrived in {elapsed:?}");
                Ok(bytes as f64 * 8.0 / 1e9 / elapsed.as_secs_f64())
            });
            sender.join().expect("the sender does not panic")
        })
    }
}

fn receive(mut server: TcpStream, count: &AtomicU64) {
    stay_on(1);
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = server.read(&mut chunk) {
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// Keeps the calling thread on one of the processors that it may use, if there are two or more.
fn stay_on(position: usize) {
    let own = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(own) else {
        return;
    };
    let all: Vec<usize> = (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu) == Ok(true))
        .collect();
    let mut chosen = CpuSet::new();
    if all.len() > 1 && chosen.set(all[position]).is_ok() {
        // Refused, it runs where the kernel puts it.
        let _ = sched_setaffinity(own, &chosen);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.client.take());
        let _ = self.receiver.take().map(JoinHandle::join);
    }
}
