//! Link states from daemon to daemon, without the API server.
//!
//! Each daemon dials every node that shares a topology with it and tells it what it reports of its
//! Forwarders: all of it, then each change at once. What it hears it writes beside its own reports,
//! where the engine reads them; so they outlive the daemon, and with the boot's directory they go.
//!
//! ```text
//!         inotify (1x thread)             dial (1x a peer) => Noise over TCP => peers
//!                  | names                  ^ own reports
//! engine -- view --+--> keeper (1x task) ---'
//!                        | ^ (queue of 256)
//!       files of others <' '--- listen (1x) -> hear (1x a peer) <= Noise over TCP <= peers
//! ```
//! A connection carries reports one way, from who dialled to who answered; its order is the order of
//! what is true, so a peer that lost its count is believed. A peer that cannot be reached keeps its
//! last word: its links may work well without its daemon.
//!
//! All of it is one thread. What to believe and what to send are plain functions: `store`, `told`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use crate::error::Error;
use crate::source::Snapshot;

mod backoff;
mod channel;
mod dial;
mod error;
mod files;
mod frame;
mod hear;
mod keeper;
mod keys;
mod message;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod view;

pub use status::{Overview, Peer, Status};

use keeper::Keeper;

/// The port of the daemons among themselves.
pub const DEFAULT_PORT: u16 = 4788;

/// What the exchange is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name.
    pub node: String,
    /// The directory of the reports.
    pub directory: PathBuf,
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
    pub fn new(
        node: impl Into<String>,
        directory: impl Into<PathBuf>,
        key_file: impl Into<PathBuf>,
        port: u16,
    ) -> Settings {
        Settings {
            node: node.into(),
            directory: directory.into(),
            key_file: key_file.into(),
            listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
            peer_port: port,
            timing: Timing::default(),
        }
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
pub struct Flood {
    status: Arc<Status>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Starts the exchange in a thread of its own, in the caller's network namespace. `views` is the
    /// desired state as the engine has it.
    ///
    /// A key or a port that is not there is waited for; [`Status`] says so.
    ///
    /// # Errors
    /// When the directory cannot be used or the thread cannot be started.
    pub fn start(
        settings: Settings,
        views: watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Flood, Error> {
        let started = |what| move |source| Error::Start { what, source };
        let status = Arc::new(Status::default());
        let keeper = Keeper::open(settings, views, Arc::clone(&status))?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(started("the runtime of the peers"))?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("flood".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = keeper.run() => {}
                        // Told to end, or nobody is left to tell.
                        _ = stopped => {}
                    }
                });
            })
            .map_err(started("the thread of the peers"))?;
        Ok(Flood {
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

impl Drop for Flood {
    fn drop(&mut self) {
        // Both may have ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
