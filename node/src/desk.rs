//! Answers the plugin: who gets which addresses, and when they are free again.
//!
//! Every step on one key waits for the one before it, so that a late release never takes away what
//! a new claim has just been given. Steps on different keys run side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni::agent::{Attachment, Claim, Key, Reply, Request};
use tokio::sync::watch;

use crate::book::Book;
use crate::catalog::Catalog;
use crate::error::Error;
use crate::inbox::Inbox;
use crate::leases::{Lease, Network, Phase, Record};
use crate::pods::Pods;
use crate::wires::Wires;

mod claim;
mod house;
mod leave;
mod tell;
#[cfg(test)]
mod tests;
mod turn;

pub(crate) use claim::runtime_uid;

/// Where the plugin's questions are answered.
pub struct Desk<W> {
    state: Mutex<State>,
    busy: Mutex<HashSet<Key>>,
    idle: Condvar,
    wires: W,
    inbox: Arc<Inbox>,
    claim_timeout: Duration,
    /// None where pods are what the plugin says they are.
    pods: Option<Arc<dyn Pods>>,
    /// What was told last of pods that could not be attached, by uid.
    failures: Mutex<HashMap<String, String>>,
    tally: Mutex<Tally>,
    /// Claims for which the API server is being asked.
    asking: AtomicUsize,
    /// Counts changes of the pods, the catalog and the leases.
    news: watch::Sender<u64>,
}

/// Pods of this node that should be attached and are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that will be.
    pub waiting: usize,
    /// Those that cannot be.
    pub refused: usize,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This.
    Now(Reply),
    /// It depends on a pod that is not known yet, in words: worth asking again when there is news.
    Awaited(String),
}

impl<W> fmt::Debug for Desk<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Desk").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    book: Book,
    /// None before the first desired state.
    catalog: Option<Arc<Catalog>>,
    /// Pods with a lease whose interface somebody else deleted.
    lost: BTreeSet<Key>,
}

impl<W: Wires> Desk<W> {
    /// A desk with the leases of `book`. Unconfirmed claims without a plugin are collected after
    /// `claim_timeout`.
    pub fn new(book: Book, wires: W, inbox: Arc<Inbox>, claim_timeout: Duration) -> Desk<W> {
        let state = Mutex::new(State {
            book,
            catalog: None,
            lost: BTreeSet::new(),
        });
        Desk {
            state,
            busy: Mutex::default(),
            idle: Condvar::new(),
            wires,
            inbox,
            claim_timeout,
            pods: None,
            failures: Mutex::default(),
            tally: Mutex::default(),
            asking: AtomicUsize::new(0),
            news: watch::Sender::new(0),
        }
    }

    /// Lets Kubernetes say what pods are.
    #[must_use]
    pub fn with_pods(self, pods: Arc<dyn Pods>) -> Desk<W> {
        Desk {
            pods: Some(pods),
            ..self
        }
    }

    /// Replaces what pods can be attached to.
    pub fn open(&self, catalog: Arc<Catalog>) {
        self.state().catalog = Some(catalog);
        self.hear();
    }

    /// Takes that pods came, changed or went.
    pub fn hear(&self) {
        self.news
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever something may be answered otherwise than before.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What pods can be attached to; none before the first desired state.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.state().catalog.clone()
    }

    /// Replaces how many pods should be attached and are not.
    pub fn tally(&self, tally: Tally) {
        *lock(&self.tally) = tally;
    }

    /// How many pods should be attached and are not.
    pub fn missing(&self) -> Tally {
        *lock(&self.tally)
    }

    /// Every lease.
    pub fn leases(&self) -> Vec<Lease> {
        self.state().book.leases().iter().cloned().collect()
    }

    /// Keeps back addresses that the kernel has and no lease.
    pub fn hold(&self, held: BTreeSet<(Network, std::net::IpAddr)>) {
        self.state().book.leases_mut().hold(held);
    }

    /// Replaces which pods were seen to be without their interface. Their leases stay until the
    /// runtime gives them up, or the daemon attaches them anew.
    pub fn miss(&self, lost: BTreeSet<Key>) {
        let before = std::mem::replace(&mut self.state().lost, lost.clone());
        if before != lost {
            self.hear();
        }
    }

    /// Which pods are without their interface in which topology.
    pub fn lost(&self) -> BTreeSet<(Key, Network)> {
        let lost: Vec<Lease> = {
            let state = self.state();
            let leases = state
                .lost
                .iter()
                .filter_map(|key| state.book.leases().get(key));
            leases.cloned().collect()
        };
        let confirmed = lost
            .into_iter()
            .filter(|lease| lease.phase == Phase::Confirmed);
        let mut of = BTreeSet::new();
        for lease in confirmed {
            for share in &lease.shares {
                // What cannot be told is not lost.
                if !self.wires.is_wired(&share.attachment).unwrap_or(true) {
                    of.insert((lease.key.clone(), share.network()));
                }
            }
        }
        of
    }

    /// What is attached, by the path of the Forwarder's namespace.
    pub fn attached(&self) -> BTreeMap<String, Vec<(Key, String, Attachment)>> {
        let state = self.state();
        let mut attached: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for lease in state
            .book
            .leases()
            .iter()
            .filter(|lease| lease.phase == Phase::Confirmed)
        {
            for attachment in lease.attachments() {
                let entry = (lease.key.clone(), lease.pod.clone(), attachment.clone());
                attached
                    .entry(attachment.forwarder_netns)
                    .or_default()
                    .push(entry);
            }
        }
        attached
    }

    /// How many attachments there are, also such as are only claimed yet, if `counts` the lease.
    pub fn attachment_count(&self, counts: impl Fn(&Key) -> bool) -> usize {
        let state = self.state();
        let leases = state
            .book
            .leases()
            .iter()
            .filter(|lease| counts(&lease.key));
        leases.map(|lease| lease.shares.len()).sum()
    }

    /// True when nothing is leased.
    pub fn is_unused(&self) -> bool {
        self.state().book.leases().iter().next().is_none()
    }

    /// Answers one request. `plugin` is the process that asks.
    pub fn answer(&self, request: &Request, plugin: Option<i32>) -> Reply {
        match self.ask(request, plugin, true) {
            Answer::Now(reply) => reply,
            Answer::Awaited(reason) => Reply::TryLater { reason },
        }
    }

    /// Answers one request, or says what that waits for. Asked again, it is quick to say so.
    pub fn ask(&self, request: &Request, plugin: Option<i32>, is_first: bool) -> Answer {
        let answered = match request {
            Request::Claim(claim) => return self.ask_claim(claim, plugin, is_first),
            Request::Confirm { key } => self.confirm(key),
            Request::Abort { key } => self.abort(key),
            Request::Release { key, netns, pod } => self.release(key).and_then(|mut released| {
                released.extend(self.release_live(netns.as_deref(), pod.as_ref())?);
                Ok(Reply::Released(released))
            }),
            Request::Check { key } => Ok(self.check(key)),
            Request::Collect { network, valid } => self.collect(network, valid),
            Request::Status => Ok(self.status()),
        };
        Answer::Now(answered.unwrap_or_else(|error| later(&error)))
    }

    fn ask_claim(&self, claim: &Claim, plugin: Option<i32>, is_first: bool) -> Answer {
        let answered = self.claim(claim, plugin, is_first);
        answered.unwrap_or_else(|error| Answer::Now(later(&error)))
    }

    fn confirm(&self, key: &Key) -> Result<Reply, Error> {
        let _turn = self.wait_for(key);
        let lease = self.state().book.leases().get(key).cloned();
        match lease.as_ref().map(|lease| (lease.phase, lease)) {
            Some((Phase::Pending, lease)) => {
                self.state()
                    .book
                    .record(Record::Confirmed { key: key.clone() })?;
                self.changed();
                self.tell_attached(lease);
                Ok(Reply::Done)
            }
            Some((Phase::Confirmed, _)) => Ok(Reply::Done),
            Some((Phase::Releasing, _)) | None => Ok(Reply::TryLater {
                reason: "the claim was given up meanwhile".to_owned(),
            }),
        }
    }

    /// The plugin has undone what it did: as good as a DEL, but only of what it never confirmed.
    fn abort(&self, key: &Key) -> Result<Reply, Error> {
        let _turn = self.wait_for(key);
        let lease = self.state().book.leases().get(key).cloned();
        if let Some(lease) = lease.filter(|lease| lease.phase != Phase::Confirmed) {
            self.free(&lease)?;
        }
        Ok(Reply::Done)
    }

    /// Gives up a lease at the runtime's word. An absent one is success.
    ///
    /// # Errors
    /// [`Error`] when it could not be written down; what the kernel still has is freed later.
    pub fn release(&self, key: &Key) -> Result<Vec<Attachment>, Error> {
        let _turn = self.wait_for(key);
        self.release_in_turn(key)
    }

    /// As [`Desk::release`], if `is_wanted` still holds when the key's turn comes; `done` is called
    /// before the next one's turn.
    ///
    /// # Errors
    /// As [`Desk::release`]; `done` is not called then.
    pub fn release_once(
        &self,
        key: &Key,
        is_wanted: impl FnOnce() -> bool,
        done: impl FnOnce(),
    ) -> Result<(), Error> {
        let _turn = self.wait_for(key);
        if is_wanted() {
            self.release_in_turn(key)?;
            done();
        }
        Ok(())
    }

    fn release_in_turn(&self, key: &Key) -> Result<Vec<Attachment>, Error> {
        let lease = self.state().book.leases().get(key).cloned();
        let Some(lease) = lease else {
            return Ok(Vec::new());
        };
        match self.free(&lease) {
            // Given up for good; the housekeeping goes on asking the kernel.
            Err(Error::Kernel { source, .. }) => tracing::warn!(%source, "release is not done yet"),
            result => result?,
        }
        Ok(lease.attachments())
    }

    fn check(&self, key: &Key) -> Reply {
        match self.state().book.leases().get(key) {
            Some(lease) if lease.phase == Phase::Confirmed => Reply::Lease(lease.attachments()),
            _ => Reply::NoLease,
        }
    }

    /// Frees what the runtime does not have any more, and goes on after an error.
    fn collect(&self, network: &str, valid: &[Key]) -> Result<Reply, Error> {
        let valid: HashSet<&Key> = valid.iter().collect();
        let is_stale = |lease: &&Lease| {
            let is_under_way = lease.phase == Phase::Pending && !self.is_abandoned(lease);
            lease.key.network == network && !valid.contains(&lease.key) && !is_under_way
        };
        let stale: Vec<Key> = self
            .state()
            .book
            .leases()
            .iter()
            .filter(is_stale)
            .map(|l| l.key.clone())
            .collect();
        let mut released = Vec::new();
        let mut failed = None;
        for key in stale {
            match self.release(&key) {
                Ok(attachments) => released.extend(attachments),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(Reply::Released(released)), Err)
    }

    fn status(&self) -> Reply {
        let state = self.state();
        let Some(catalog) = state.catalog.as_ref().filter(|catalog| catalog.is_complete) else {
            let degraded = Some("the desired state was not read yet".to_owned());
            return Reply::Status {
                ready: false,
                degraded,
            };
        };
        let leases = state.book.leases();
        let is_full = |place: &&crate::catalog::Place| {
            let network = crate::catalog::network_of(&place.forwarder);
            let blocks = &place.forwarder.spec.blocks;
            blocks
                .iter()
                .any(|block| !leases.has_free(&network, *block))
        };
        let full: Vec<&str> = catalog
            .places()
            .iter()
            .filter(|place| !place.forwarder.spec.apps.is_empty())
            .filter(is_full)
            .map(|place| place.forwarder.metadata.name.as_str())
            .collect();
        let is_attached = |key: &&Key| {
            let lease = leases.get(key);
            lease.is_some_and(|lease| lease.phase == Phase::Confirmed)
        };
        let lost = state.lost.iter().filter(is_attached);
        let lost: Vec<&str> = lost.map(|key| key.container_id.as_str()).collect();
        let problems = [("no free address", full), ("lost their interface", lost)];
        let told = problems.iter().filter(|(_, whose)| !whose.is_empty());
        let told: Vec<String> = told
            .map(|(what, whose)| format!("{what}: {}", enumerate(whose)))
            .collect();
        Reply::Status {
            ready: true,
            degraded: (!told.is_empty()).then(|| told.join("; ")),
        }
    }

    /// Both proofs, each written down: the runtime's, then the kernel's.
    fn free(&self, lease: &Lease) -> Result<(), Error> {
        let key = &lease.key;
        if lease.phase != Phase::Releasing {
            self.state()
                .book
                .record(Record::Releasing { key: key.clone() })?;
        }
        for share in &lease.shares {
            self.wires.cut(&share.attachment)?;
        }
        self.state()
            .book
            .record(Record::Freed { key: key.clone() })?;
        self.changed();
        tracing::info!(container = key.container_id, "freed");
        Ok(())
    }

    fn changed(&self) {
        self.inbox.tell(|pending| pending.leases = true);
        self.hear();
    }

    fn is_wired(&self, lease: &Lease) -> Result<bool, Error> {
        for share in &lease.shares {
            if self.wires.is_wired(&share.attachment)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn later(error: &Error) -> Reply {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "failed to answer the plugin"
    );
    Reply::TryLater {
        reason: error.to_string(),
    }
}

/// A record is written before the state changes, so a panic elsewhere leaves the state whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the lease is of the same namespace that the claim is for.
fn is_same(lease: &Lease, claim: &Claim) -> bool {
    lease.netns_id == claim.netns_id && !lease.is_past_boot
}

/// The first few by name, the rest by number.
pub(crate) fn enumerate(names: &[&str]) -> String {
    const FEW: usize = 5;
    let told = names[..names.len().min(FEW)].join(", ");
    match names.len().saturating_sub(FEW) {
        0 => told,
        rest => format!("{told} and {rest} more"),
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
