//! Link states, failover and their threads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dataplane::monitor::Monitor;
use dataplane::{Fib, LinuxKernel};

use super::monitor::{self, MonitorThread};
use ::liveness::Detector;

use crate::config::Config;
use crate::error::Error;
use crate::flooding::Reports;
use crate::mailbox::Mailbox;
use crate::routing::failover::{Failover, FailoverThread};
use crate::routing::link_state::{LinkStates, snapshot};

/// Parts of the failure path outside the engine. Their threads end when this is dropped.
pub(super) struct Links {
    pub(super) link_states: Arc<LinkStates>,
    pub(super) failover: Arc<Failover>,
    /// Liveness detector, ended before failover: peers are notified of a planned stop.
    pub(super) liveness: Arc<Detector>,
    monitor: Option<MonitorThread>,
    _failover: FailoverThread,
    _snapshot: snapshot::Writer,
}

impl Links {
    /// Starts with the snapshot of an earlier daemon process.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn start(
        config: &Config,
        kernel: &Arc<LinuxKernel>,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Links, Error> {
        let directory = config.link_states();
        let reports = snapshot::read(&directory);
        let link_states = LinkStates::new(&config.name, reports, incarnation());
        let link_states = Arc::new(link_states);
        let fib: Arc<dyn Fib> = kernel.clone();
        let failover = Failover::new(fib, Arc::clone(&link_states), Arc::clone(mailbox));
        let failover = Arc::new(failover);
        let most =
            usize::try_from(dataplane::descriptors::for_liveness() / 2).unwrap_or(usize::MAX);
        let liveness = Detector::start(failover.clone(), most).map_err(|source| Error::Start {
            what: "the liveness detector",
            source: std::io::Error::other(source),
        })?;
        Ok(Links {
            liveness: Arc::new(liveness),
            monitor: monitor::start(mailbox, &failover)?,
            _failover: FailoverThread::start(Arc::clone(&failover))?,
            _snapshot: snapshot::Writer::start(Arc::clone(&link_states), directory, problems())?,
            link_states,
            failover,
        })
    }

    /// Kernel event monitor; `None` where events cannot be received.
    pub(super) fn monitor(&self) -> Option<Arc<Monitor>> {
        let thread = self.monitor.as_ref();
        thread.map(|thread| Arc::clone(&thread.monitor))
    }

    /// Database and follower for flooding.
    pub(super) fn reports(&self) -> Reports {
        Reports {
            link_states: Arc::clone(&self.link_states),
            follower: self.failover.clone(),
            presence: self.liveness.clone(),
        }
    }
}

/// Number that increases from start to start unless the clock is set back; then peers report the
/// one that they know.
fn incarnation() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Logs each problem of the snapshot once.
fn problems() -> snapshot::OnProblem {
    let last: Mutex<Option<String>> = Mutex::default();
    Box::new(move |problem| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match &problem {
            Some(error) if last.as_ref() != Some(error) => {
                tracing::warn!(error, "snapshot of link states not written, tried again");
            }
            None => tracing::info!("snapshot of link states written again"),
            Some(_) => {}
        }
        *last = problem;
    })
}
