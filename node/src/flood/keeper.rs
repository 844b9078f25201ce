//! The one who keeps the store: takes word from all sides, does what follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Settings;
use super::backoff::random;
use super::dial::{Context, dial};
use super::error::{Error as Problem, chain};
use super::files::{Changed, Files};
use super::hear::{Event, answer};
use super::keys::Keys;
use super::status::Status;
use super::store::{Action, Store};
use super::told::Own;
use super::view::View;
use crate::error::Error;
use crate::link_state::Which;
use crate::source::Snapshot;
use crate::watch::Watch;

/// What connections may leave for the keeper before they have to wait.
const QUEUE: usize = 256;

/// The keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Store,
    files: Files,
    watch: Watch,
    changed: Arc<Changed>,
    context: Context,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    view: watch::Sender<Arc<View>>,
    keys: watch::Sender<Option<Arc<Keys>>>,
    own: watch::Sender<Arc<Own>>,
    /// Ends the connection on which a peer is heard.
    ends: BTreeMap<String, oneshot::Sender<Problem>>,
    dialled: BTreeMap<String, (JoinHandle<()>, Arc<Notify>)>,
    /// Something was left undone.
    is_behind: bool,
}

impl Keeper {
    /// Begins with what a daemon before this one left.
    ///
    /// # Errors
    /// When the directory of the reports cannot be used.
    pub(super) fn open(
        settings: Settings,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        status: Arc<Status>,
    ) -> Result<Keeper, Error> {
        let mut files = Files::open(&settings.directory)?;
        let changed = Arc::new(Changed::default());
        let told = Arc::clone(&changed);
        let tell = move |change| told.tell(change);
        // First watched, then read: nothing falls between.
        let watch = Watch::start(vec![settings.directory.clone()], tell)?;
        let store = Store::new(&settings.node, files.read_all());
        let (view, view_seen) = watch::channel(Arc::default());
        let (keys, keys_seen) = watch::channel(None);
        let (own, own_seen) = watch::channel(Arc::default());
        let context = Context {
            settings: Arc::new(settings),
            instance: format!("{:016x}", random()),
            keys: keys_seen,
            view: view_seen,
            own: own_seen,
            status,
        };
        Ok(Keeper {
            store,
            files,
            watch,
            changed,
            context,
            snapshots,
            view,
            keys,
            own,
            ends: BTreeMap::new(),
            dialled: BTreeMap::new(),
            is_behind: false,
        })
    }

    /// Keeps for ever.
    pub(super) async fn run(mut self) {
        // First of all: who comes without a key being there is sent away.
        self.read_keys();
        let (events, mut heard) = mpsc::channel(QUEUE);
        tokio::spawn(answer(self.context.clone(), events));
        let mut look = interval(self.context.timing().look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.snapshots.mark_changed();
        loop {
            let changed = Arc::clone(&self.changed);
            let actions = tokio::select! {
                seen = self.snapshots.changed() => {
                    if seen.is_err() {
                        // The engine is gone, and so is the daemon.
                        return;
                    }
                    self.snapshots.mark_changed();
                    self.follow()
                }
                which = changed.take() => self.see(&which),
                Some(event) = heard.recv() => {
                    let is_view_new = self.snapshots.has_changed().unwrap_or(false);
                    let mut actions = self.follow();
                    actions.extend(self.hear(event));
                    if !is_view_new {
                        self.apply(&actions);
                        // What others say changes nothing of what we have to tell.
                        continue;
                    }
                    actions
                }
                _ = look.tick() => self.look(),
            };
            self.apply(&actions);
            let own = self.store.own();
            self.own.send_if_modified(|known| {
                let is_new = **known != own;
                if is_new {
                    *known = Arc::new(own);
                }
                is_new
            });
        }
    }

    fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            if let Err(error) = self.files.apply(action) {
                self.is_behind = true;
                self.context
                    .status
                    .set_problem("files", Some(chain(&error)));
            }
        }
    }

    fn see(&mut self, which: &Which) -> Vec<Action> {
        let Which::Some(names) = which else {
            return self.see_all();
        };
        let read = |name: &String| (name.clone(), self.files.read(name));
        let files: Vec<_> = names.iter().map(read).collect();
        let mut actions = self.follow();
        for (name, report) in files {
            actions.extend(self.store.see(&name, report));
        }
        actions
    }

    fn see_all(&mut self) -> Vec<Action> {
        let files = self.files.read_all();
        let mut actions = self.follow();
        actions.extend(self.store.see_all(files));
        actions
    }

    fn hear(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Opened { peer, id, end } => {
                tracing::info!(peer, "hearing link states");
                self.store.open(&peer, id);
                let status = &self.context.status;
                status.set_peer(&peer, |peer| peer.is_heard = true);
                if let Some((_, wake)) = self.dialled.get(&peer) {
                    // It is there: no need to wait out a pause.
                    wake.notify_one();
                }
                if let Some(former) = self.ends.insert(peer, end) {
                    // It may have ended by itself.
                    let _ = former.send(Problem::Replaced);
                }
                Vec::new()
            }
            Event::Heard { peer, id, message } => match self.store.hear(&peer, id, message) {
                Ok(actions) => actions,
                Err(error) => {
                    if let Some(end) = self.ends.remove(&peer) {
                        // As above.
                        let _ = end.send(error);
                    }
                    Vec::new()
                }
            },
            Event::Closed { peer, id } => {
                if self.store.close(&peer, id) {
                    self.ends.remove(&peer);
                    let status = &self.context.status;
                    status.set_peer(&peer, |peer| peer.is_heard = false);
                }
                Vec::new()
            }
        }
    }

    /// Takes the desired state if it is new: other peers, other addresses, other owners.
    ///
    /// The engine tells it before it reports on what is new in it. So it is taken after files are
    /// read and before they are judged: no report of ours is taken for one that is over.
    fn follow(&mut self) -> Vec<Action> {
        if !self.snapshots.has_changed().unwrap_or(false) {
            return Vec::new();
        }
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let view = View::new(&self.context.settings.node, &snapshot);
        if view == **self.view.borrow() {
            return Vec::new();
        }
        let view = Arc::new(view);
        self.view.send_replace(Arc::clone(&view));
        self.context.status.set_peers(view.peers.keys());
        for peer in self.ends.keys() {
            // It may have come before it was known to be a peer.
            let status = &self.context.status;
            status.set_peer(peer, |peer| peer.is_heard = true);
        }
        self.dialled.retain(|peer, (task, wake)| {
            let is_peer = view.peers.contains_key(peer);
            if is_peer {
                wake.notify_one();
            } else {
                task.abort();
            }
            is_peer
        });
        self.dial(&view);
        self.store.set_view(view)
    }

    /// Makes sure that every peer is dialled.
    fn dial(&mut self, view: &View) {
        for peer in view.peers.keys() {
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

    /// Looks, now and again, at what nobody tells of.
    fn look(&mut self) -> Vec<Action> {
        self.read_keys();
        let view = Arc::clone(&self.view.borrow());
        self.dial(&view);
        self.watch.renew();
        if !self.is_behind && !self.files.is_replaced() {
            return Vec::new();
        }
        self.is_behind = false;
        let actions = self.see_all();
        self.apply(&actions);
        if !self.is_behind {
            self.context.status.set_problem("files", None);
        }
        Vec::new()
    }

    fn read_keys(&mut self) {
        let path = &self.context.settings.key_file;
        let read = std::fs::read(path).map_err(|error| error.to_string());
        match read.and_then(|file| Keys::parse(&file)) {
            Ok(keys) => {
                let is_new = |known: &Option<Arc<Keys>>| known.as_deref() != Some(&keys);
                if is_new(&self.keys.borrow()) {
                    tracing::info!(keys = keys.accepted().count(), "key of the mesh");
                    self.keys.send_replace(Some(Arc::new(keys)));
                }
                self.context.status.set_problem("key", None);
            }
            // What was read before goes on being used.
            Err(problem) => {
                let problem = format!("{}: {problem}", path.display());
                self.context.status.set_problem("key", Some(problem));
            }
        }
    }
}
