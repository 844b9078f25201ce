//! Task that owns the connections: dials every peer, accepts and ends connections of peers, follows
//! mesh keys and the desired state.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::backoff::random;
use super::dialer::{Context, dial};
use super::error::Error as Problem;
use super::keys::Keys;
use super::listener::{Event, listen};
use super::membership::Membership;
use super::status::Status;
use super::{Reports, Settings};
use crate::objects::Snapshot;

/// Length of the event queue.
const QUEUE: usize = 256;

/// Actor of flooding.
#[derive(Debug)]
pub(super) struct Actor {
    context: Context,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    members: watch::Sender<Arc<Membership>>,
    keys: watch::Sender<Option<Arc<Keys>>>,
    /// Ends the incoming connection of a peer.
    ends: BTreeMap<String, (u64, oneshot::Sender<Problem>)>,
    dialled: BTreeMap<String, (JoinHandle<()>, Arc<Notify>)>,
}

impl Actor {
    /// Actor without connections.
    pub(super) fn new(
        settings: Settings,
        reports: Reports,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        status: Arc<Status>,
    ) -> Actor {
        let (members, members_seen) = watch::channel(Arc::default());
        let (keys, keys_seen) = watch::channel(None);
        let settings = Arc::new(settings);
        let context = Context {
            room: Arc::new(Semaphore::new(settings.most_peers())),
            settings,
            instance: format!("{:016x}", random()),
            keys: keys_seen,
            members: members_seen,
            reports,
            status,
        };
        Actor {
            context,
            snapshots,
            members,
            keys,
            ends: BTreeMap::new(),
            dialled: BTreeMap::new(),
        }
    }

    /// Runs until the engine ends.
    pub(super) async fn run(mut self) {
        // First of all: without a key every incoming connection is refused.
        self.read_keys();
        let (events, mut connections) = mpsc::channel(QUEUE);
        tokio::spawn(listen(self.context.clone(), events));
        let mut look = interval(self.context.timing().look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.snapshots.mark_changed();
        loop {
            tokio::select! {
                seen = self.snapshots.changed() => {
                    if seen.is_err() {
                        // The engine has ended, and so does the daemon.
                        return;
                    }
                    self.follow();
                }
                Some(event) = connections.recv() => self.take(event),
                _ = look.tick() => {
                    self.read_keys();
                    self.dial();
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        let status = &self.context.status;
        match event {
            Event::Opened { peer, id, end } => {
                tracing::info!(peer, "peer connected, receives link states");
                status.set_peer(&peer, |peer| peer.is_heard = true);
                if let Some((_, wake)) = self.dialled.get(&peer) {
                    // The peer is reachable: no need to wait out a pause.
                    wake.notify_one();
                }
                if let Some((_, former)) = self.ends.insert(peer, (id, end)) {
                    // It may have ended already.
                    let _ = former.send(Problem::Replaced);
                }
            }
            Event::Closed { peer, id } => {
                if self.ends.get(&peer).is_some_and(|(last, _)| *last == id) {
                    self.ends.remove(&peer);
                    status.set_peer(&peer, |peer| peer.is_heard = false);
                }
            }
        }
    }

    /// Follows the desired state: changed peers and addresses.
    fn follow(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let members = Membership::new(&self.context.settings.node, &snapshot);
        if members == **self.members.borrow() {
            return;
        }
        let members = Arc::new(members);
        self.members.send_replace(Arc::clone(&members));
        self.context.status.set_peers(members.peers.keys());
        let (peers, most) = (members.peers.len(), self.context.settings.most_peers());
        let lack = || {
            let (needed, room) = (2 * peers, 2 * most);
            format!("{peers} peers need {needed}, {room} open files are kept for peers")
        };
        let lack = (peers > most).then(lack);
        self.context.status.set_problem("open-files", lack);
        for peer in self.ends.keys() {
            // The connection may have been opened before the node became a peer.
            let status = &self.context.status;
            status.set_peer(peer, |peer| peer.is_heard = true);
        }
        self.dialled.retain(|peer, (task, wake)| {
            let is_peer = members.peers.contains_key(peer);
            if is_peer {
                wake.notify_one();
            } else {
                task.abort();
            }
            is_peer
        });
        self.dial();
    }

    /// Starts a dialler for every peer without one.
    fn dial(&mut self) {
        let members = Arc::clone(&self.members.borrow());
        for peer in members.peers.keys() {
            let is_dialled = |(task, _): &(JoinHandle<()>, _)| !task.is_finished();
            if self.dialled.get(peer).is_some_and(is_dialled) {
                continue;
            }
            let wake = Arc::new(Notify::new());
            let task = dial(peer.clone(), self.context.clone(), Arc::clone(&wake));
            self.dialled
                .insert(peer.clone(), (tokio::spawn(task), wake));
        }
    }

    fn read_keys(&mut self) {
        let path = &self.context.settings.key_file;
        let read = std::fs::read(path).map_err(|error| error.to_string());
        match read.and_then(|file| Keys::parse(&file)) {
            Ok(keys) => {
                let is_new = |known: &Option<Arc<Keys>>| known.as_deref() != Some(&keys);
                if is_new(&self.keys.borrow()) {
                    tracing::info!(keys = keys.accepted().count(), "mesh keys loaded");
                    self.keys.send_replace(Some(Arc::new(keys)));
                }
                self.context.status.set_problem("key", None);
            }
            // The keys that were read before stay in use.
            Err(problem) => {
                let problem = format!("{}: {problem}", path.display());
                self.context.status.set_problem("key", Some(problem));
            }
        }
    }
}
