//! Flooding of link states from daemon to daemon, without the API server and without files.
//!
//! Each daemon dials every node that shares a topology with it, and sends it the reports on its own Forwarders: all of them, then
//! each change at once. What comes from peers goes into the database of link states, and from there to failover.
//!
//! ```text
//!  engine -- desired state --> actor (1x task) --> dialer (1x a peer) => Noise over TCP => peers
//!  link states -- own reports, by generation ------^
//!  link states, failover <-- listener (1x) -> (1x a peer) <= Noise over TCP <= peers
//! ```
//! A connection carries reports one way, from who dialled to who answered. A peer that cannot be reached keeps its last report: its
//! links may work well without its daemon. Daemons of several versions speak the highest that both know.
//!
//! All of it is one thread.

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

/// TCP port of the exchange.
pub const DEFAULT_PORT: u16 = 4788;

/// Settings of the exchange.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name.
    pub node: String,
    /// The file of the keys: text, a key a line. The first line is dialled with, all are accepted.
    pub key_file: PathBuf,
    /// Where this daemon answers.
    pub listen: SocketAddr,
    /// The port at which the others answer.
    pub peer_port: u16,
    /// How long things may take.
    pub timing: Timing,
}

impl Settings {
    /// The settings of the node called `node`, on all its addresses.
    pub fn new(node: impl Into<String>, key_file: impl Into<PathBuf>, port: u16) -> Settings {
        Settings {
            node: node.into(),
            key_file: key_file.into(),
            listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
            peer_port: port,
            timing: Timing::default(),
        }
    }
}

/// The reports that are exchanged.
#[derive(Clone)]
pub struct Reports {
    /// The database.
    pub link_states: Arc<LinkStates>,
    /// Follows reports of peers.
    pub follower: Arc<dyn Follower>,
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.link_states.fmt(formatter)
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// To reach one address.
    pub connect: Duration,
    /// From the connection to the end of the greeting.
    pub handshake: Duration,
    /// Between two signs of life.
    pub keep_alive: Duration,
    /// Without a sign of life, until a peer counts as lost.
    pub silence: Duration,
    /// The longest pause between two attempts, but for the jitter.
    pub redial: Duration,
    /// Between two looks at the key file and at what was left undone.
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

/// The exchange while it runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Flooding {
    status: Arc<Status>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flooding {
    /// Starts the exchange of `reports` in a thread of its own, in the caller's network namespace. `views` is the desired state as
    /// the engine has it.
    ///
    /// A key or a port that is not there is waited for; [`Status`] says so.
    ///
    /// # Errors
    /// When the thread cannot be started.
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
                        // Told to end, or nobody is left to tell.
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

    /// How the exchange is doing.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        // Both may have ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
