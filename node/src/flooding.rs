//! Flooding of link states between daemons, without the API server and without files.
//!
//! Each daemon dials every node that shares a topology with it and sends the reports on its own
//! Forwarders: all of them first, then each change at once. Reports of peers are merged into the
//! link-state database, and from there reach failover.
//!
//! ```text
//!  engine -- desired state --> actor (1x task) --> dialer (1x a peer) => Noise over TCP => peers
//!  link states -- own reports, by generation ------^
//!  link states, failover <-- listener (1x) -> (1x a peer) <= Noise over TCP <= peers
//! ```
//! A connection carries reports in one direction, from the dialling to the accepting node. The last
//! report of an unreachable peer stays valid: its links may work without its daemon. Daemons of
//! several versions negotiate the highest common one.
//!
//! All tasks run in one thread.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use crate::error::Error;
use crate::objects::Snapshot;
use crate::routing::link_state::{Follower, LinkStates};

mod actor;
mod backoff;
mod channel;
mod dialer;
mod error;
mod frame;
mod keys;
mod listener;
mod membership;
mod message;
mod peer_sync;
mod slots;
mod status;
#[cfg(test)]
mod tests;

pub use status::{Overview, Peer, Status};

use actor::Actor;

/// TCP port of flooding.
pub const DEFAULT_PORT: u16 = 4788;

/// Settings of flooding.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name.
    pub node: String,
    /// Path of the key file: text, one key a line. The first key is used for dialling, all are
    /// accepted.
    pub key_file: PathBuf,
    /// Listen address of this daemon.
    pub listen: SocketAddr,
    /// TCP port of the peers.
    pub peer_port: u16,
    /// Timeouts and intervals.
    pub timing: Timing,
    /// Descriptors that connections may take: one for each peer that is dialled, and one for each that dials.
    pub open_files: usize,
}

impl Settings {
    /// Settings of the node called `node`, which listens on all its addresses.
    pub fn new(node: impl Into<String>, key_file: impl Into<PathBuf>, port: u16) -> Settings {
        Settings {
            node: node.into(),
            key_file: key_file.into(),
            listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
            peer_port: port,
            timing: Timing::default(),
            open_files: usize::MAX,
        }
    }

    /// Most peers that are dialled, and most that may dial.
    fn most_peers(&self) -> usize {
        (self.open_files / 2).min(listener::MAX_CONNECTIONS)
    }
}

/// Link-state database and its follower.
#[derive(Clone)]
pub struct Reports {
    /// The database.
    pub link_states: Arc<LinkStates>,
    /// Follower of the peers' reports.
    pub follower: Arc<dyn Follower>,
    /// Follower of the peers' daemons.
    pub presence: Arc<dyn Presence>,
}

/// Follower of the daemons of other nodes, as connections show them.
pub trait Presence: Send + Sync {
    /// The kernel of a node ended the connection of its daemon: the daemon stopped, the node did not.
    fn peer_stopped(&self, node: &str);
    /// A daemon has connected.
    fn peer_back(&self, node: &str);
    /// No address of a node answers.
    fn peer_lost(&self, node: &str);
}

impl Presence for liveness::Detector {
    fn peer_stopped(&self, node: &str) {
        liveness::Detector::peer_stopped(self, node);
    }

    fn peer_back(&self, node: &str) {
        liveness::Detector::peer_back(self, node);
    }

    fn peer_lost(&self, node: &str) {
        liveness::Detector::peer_lost(self, node);
    }
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.link_states.fmt(formatter)
    }
}

/// Timeouts and intervals.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Timeout of a TCP connection to one address.
    pub connect: Duration,
    /// Timeout of the handshake, from the connection on.
    pub handshake: Duration,
    /// Interval between two keep-alive messages.
    pub keep_alive: Duration,
    /// Dead interval: a peer without a message for this long is lost.
    pub silence: Duration,
    /// Longest pause between two dial attempts, without jitter.
    pub redial: Duration,
    /// Interval between two reads of the key file and retries of pending work.
    pub look: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            connect: Duration::from_secs(2),
            handshake: Duration::from_secs(5),
            keep_alive: Duration::from_secs(2),
            silence: Duration::from_secs(8),
            redial: Duration::from_secs(4),
            look: Duration::from_secs(2),
        }
    }
}

/// Running flooding; dropping it ends the thread.
#[derive(Debug)]
pub struct Flooding {
    status: Arc<Status>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flooding {
    /// Starts flooding of `reports` in a thread of its own, in the caller's network namespace.
    /// `views` carries the engine's desired state.
    ///
    /// A missing key or an occupied port is waited for; [`Status`] reports it.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        settings: Settings,
        reports: Reports,
        views: watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Flooding, Error> {
        let started = |what| move |source| Error::Start { what, source };
        let status = Arc::new(Status::default());
        let actor = Actor::new(settings, reports, views, Arc::clone(&status));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(started("the runtime of the peers"))?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("flooding".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = actor.run() => {}
                        // A stop was requested, or the sender is dropped.
                        _ = stopped => {}
                    }
                });
            })
            .map_err(started("the thread of the peers"))?;
        Ok(Flooding {
            status,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Status of flooding.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
