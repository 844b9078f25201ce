//! The handle to the detector.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::bind::{Binder, Desired};
use crate::inbox::{Command, Inbox};
use crate::link::Namespace;
use crate::statistics::Statistics;
use crate::worker::{Verdicts, Worker};

/// The detector cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the detector of link failures does not start")]
pub struct StartError(#[source] io::Error);

/// Handle to the detector, which stops as planned when this is dropped.
#[derive(Debug)]
pub struct Detector {
    inbox: Arc<Inbox>,
    desired: Arc<Desired>,
    statistics: Arc<Statistics>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Detector {
    /// Starts both threads. At most `most` namespaces are watched: each takes two descriptors.
    ///
    /// # Errors
    /// [`StartError`]: a thread or a descriptor is refused.
    pub fn start(verdicts: Arc<dyn Verdicts>, most: usize) -> Result<Detector, StartError> {
        let inbox = Arc::new(Inbox::new().map_err(StartError)?);
        let (desired, statistics) = (Arc::<Desired>::default(), Arc::<Statistics>::default());
        let worker = Worker::new(Arc::clone(&inbox), verdicts, Arc::clone(&statistics));
        let worker = worker.map_err(StartError)?;
        let binder = Binder::new(Arc::clone(&desired), Arc::clone(&inbox), most);
        let binder = binder.map_err(|error| StartError(io::Error::other(error)))?;
        let detector = Detector {
            inbox,
            desired,
            statistics,
            threads: Mutex::default(),
        };
        detector.spawn("liveness", || worker.run())?;
        detector.spawn("liveness-bind", || binder.run())?;
        Ok(detector)
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        self.threads().push(thread.map_err(StartError)?);
        Ok(())
    }

    /// Replaces the links of a namespace. Returns at once; sockets are opened by another thread.
    pub fn set(&self, netns: &str, namespace: Namespace) {
        self.desired.set(netns, namespace);
    }

    /// Forgets the namespaces that `stands` is false for.
    pub fn retain(&self, stands: impl Fn(&str) -> bool) {
        self.desired.retain(stands);
    }

    /// The daemon of a node stopped while its kernel answers: silence is no failure for [`crate::PAUSE`].
    pub fn peer_stopped(&self, node: &str) {
        self.inbox.send(Command::PeerStopped(node.to_owned()));
    }

    /// The daemon of a node answers.
    pub fn peer_back(&self, node: &str) {
        self.inbox.send(Command::PeerBack(node.to_owned()));
    }

    /// The kernel of a node does not answer: its silence is a failure.
    pub fn peer_lost(&self, node: &str) {
        self.inbox.send(Command::PeerLost(node.to_owned()));
    }

    /// Counters.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    /// A planned stop: tells all peers that silence is no failure from now on (AdminDown), as often as their detect multiplier needs,
    /// and ends both threads.
    pub fn stop(&self) {
        self.desired.end();
        self.inbox.send(Command::Stop);
        for thread in self.threads().drain(..) {
            // A panic was logged.
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        self.stop();
    }
}
