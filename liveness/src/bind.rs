//! Thread "liveness-bind": opens sockets in Forwarders' namespaces, and finds the indexes of interfaces there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataplane::netns::{self, Netns};

use crate::inbox::{Command, Inbox};
use crate::link::{Family, Link, Namespace};
use crate::sockets::{Sockets, index_of};

/// Pause between two looks at bound namespaces, and before one that could not be bound is tried again.
const LOOK: Duration = Duration::from_millis(500);

/// Links of all namespaces, as the engine wants them.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    namespaces: BTreeMap<String, Arc<Namespace>>,
    is_news: bool,
    is_over: bool,
}

impl Desired {
    pub(crate) fn set(&self, netns: &str, namespace: Namespace) {
        let mut state = self.lock();
        let known = state.namespaces.get(netns);
        if known.is_some_and(|known| known.is_same(&namespace)) {
            return;
        }
        state
            .namespaces
            .insert(netns.to_owned(), Arc::new(namespace));
        self.announce(state);
    }

    pub(crate) fn retain(&self, stands: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        let before = state.namespaces.len();
        state.namespaces.retain(|netns, _| stands(netns));
        if state.namespaces.len() != before {
            self.announce(state);
        }
    }

    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        self.announce(state);
    }

    fn announce(&self, mut state: MutexGuard<'_, State>) {
        state.is_news = true;
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the value whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespaces, when they changed or after a pause; none at the end.
    fn next(&self, pause: Option<Duration>) -> Option<BTreeMap<String, Arc<Namespace>>> {
        let mut state = self.lock();
        let waits = |state: &mut State| !state.is_news && !state.is_over;
        state = match pause {
            None => self
                .changed
                .wait_while(state, waits)
                .unwrap_or_else(PoisonError::into_inner),
            Some(pause) => {
                let waited = self.changed.wait_timeout_while(state, pause, waits);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.is_news = false;
        (!state.is_over).then(|| state.namespaces.clone())
    }
}

/// A namespace with sockets.
#[derive(Debug)]
struct Bound {
    number: u32,
    identity: (u64, u64),
    family: Family,
    namespace: Arc<Namespace>,
    /// True while an interface was not found, or a socket refused.
    is_partial: bool,
}

/// The binder.
pub(crate) struct Binder {
    desired: Arc<Desired>,
    inbox: Arc<Inbox>,
    bound: BTreeMap<String, Bound>,
    last: u32,
    /// Most namespaces that are bound: each takes two descriptors.
    most: usize,
    failed: BTreeSet<String>,
    /// The namespace of the daemon.
    home: Netns,
}

impl Binder {
    /// Binder that starts in the namespace of the calling thread.
    pub(crate) fn new(
        desired: Arc<Desired>,
        inbox: Arc<Inbox>,
        most: usize,
    ) -> Result<Binder, dataplane::Error> {
        Ok(Binder {
            desired,
            inbox,
            bound: BTreeMap::new(),
            last: 0,
            most,
            failed: BTreeSet::new(),
            home: Netns::current()?,
        })
    }

    /// Binds what is desired, until the end.
    pub(crate) fn run(mut self) {
        let mut pause = None;
        while let Some(namespaces) = self.desired.next(pause) {
            self.release(&namespaces);
            self.release_deleted();
            for (netns, namespace) in &namespaces {
                self.follow(netns, namespace);
            }
            let is_idle = self.bound.is_empty() && self.failed.is_empty();
            pause = (!is_idle).then_some(LOOK);
        }
    }

    fn release(&mut self, namespaces: &BTreeMap<String, Arc<Namespace>>) {
        self.failed.retain(|netns| namespaces.contains_key(netns));
        let gone = self
            .bound
            .extract_if(.., |netns, _| !namespaces.contains_key(netns));
        for (_, bound) in gone {
            self.inbox.send(Command::Release(bound.number));
        }
    }

    /// Lets go of namespaces whose name is gone, or another one's: sockets would keep them, and their links, for ever.
    fn release_deleted(&mut self) {
        let is_deleted = |netns: &str, bound: &Bound| {
            let found = std::fs::metadata(netns::path(netns));
            found.map(|it| (it.dev(), it.ino())).ok() != Some(bound.identity)
        };
        let gone = self
            .bound
            .extract_if(.., |netns, bound| is_deleted(netns, bound));
        for (_, bound) in gone {
            self.inbox.send(Command::Release(bound.number));
        }
    }

    fn follow(&mut self, netns: &str, namespace: &Arc<Namespace>) {
        let known = self.bound.get(netns);
        let is_done = |bound: &Bound| !bound.is_partial && Arc::ptr_eq(&bound.namespace, namespace);
        if known.is_some_and(is_done) || known.is_none() && namespace.links.is_empty() {
            return;
        }
        let outcome = self.bind(netns, namespace);
        // A thread keeps the namespace that it is in.
        let outcome = outcome.and(self.home.enter().map_err(|error| error.to_string()));
        match outcome {
            Ok(()) => {
                self.failed.remove(netns);
            }
            Err(error) => {
                if self.failed.insert(netns.to_owned()) {
                    tracing::warn!(netns, %error, "liveness of links not watched, tried again");
                }
            }
        }
    }

    fn bind(&mut self, netns: &str, namespace: &Arc<Namespace>) -> Result<(), String> {
        let text = |error: dataplane::Error| error.to_string();
        let file = Netns::open(netns).map_err(text)?;
        let identity = file.identity().map_err(text)?;
        file.enter().map_err(text)?;
        let is_v6 = |link: &Link| matches!(link.path.own, IpAddr::V6(_));
        let family = match namespace.links.iter().any(is_v6) {
            true => Family::V6,
            false => Family::V4,
        };
        let known = self.bound.get(netns);
        let known = known.filter(|it| (it.identity, it.family) == (identity, family));
        let (number, sockets) = match known {
            Some(bound) => (bound.number, None),
            None if self.bound.len() >= self.most => {
                return Err(format!(
                    "more than {} Forwarders: too few open files are allowed",
                    self.most
                ));
            }
            None => {
                let sockets = Sockets::open(family);
                let sockets = sockets.map_err(|error| format!("sockets for BFD: {error}"))?;
                self.last += 1;
                (self.last, Some(sockets))
            }
        };
        let mut links = Vec::new();
        for link in &namespace.links {
            let index = index_of(&link.path.interface);
            links.extend(index.map(|index| (index, link.clone())));
        }
        let bound = Bound {
            number,
            identity,
            family,
            namespace: Arc::clone(namespace),
            is_partial: links.len() < namespace.links.len(),
        };
        let before = self.bound.insert(netns.to_owned(), bound);
        if let Some(before) = before.filter(|before| before.number != number) {
            self.inbox.send(Command::Release(before.number));
        }
        self.inbox.send(Command::Bind {
            number,
            netns: netns.into(),
            sockets,
            links,
        });
        Ok(())
    }
}
