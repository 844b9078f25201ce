//! Kernel event monitor thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dataplane::monitor::{Event, Monitor};

use crate::error::Error;
use crate::mailbox::{LinkEvent, Mailbox};
use crate::routing::failover::Failover;

/// Interval at which the thread checks for a stop request.
const PAUSE: Duration = Duration::from_millis(200);

/// Kernel event monitor thread; it ends when this is dropped.
pub(super) struct MonitorThread {
    pub(super) monitor: Arc<Monitor>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for MonitorThread {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic was logged.
            let _ = thread.join();
        }
    }
}

/// Starts the monitor. Where events cannot be received, the resync timer is the fallback.
pub(super) fn start(
    mailbox: &Arc<Mailbox>,
    failover: &Arc<Failover>,
) -> Result<Option<MonitorThread>, Error> {
    let monitor = match Monitor::new() {
        Ok(monitor) => Arc::new(monitor),
        Err(error) => {
            tracing::warn!(%error, "kernel events not received, links are observed by the resync timer");
            return Ok(None);
        }
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let (heard, over) = (Arc::clone(&monitor), Arc::clone(&is_over));
    let (mailbox, failover) = (Arc::clone(mailbox), Arc::clone(failover));
    let thread = thread::Builder::new()
        .name("monitor".into())
        .spawn(move || {
            while !over.load(Ordering::Relaxed) {
                hear(&heard, &mailbox, &failover);
            }
        })
        .map_err(|source| Error::Start {
            what: "the monitor",
            source,
        })?;
    Ok(Some(MonitorThread {
        monitor,
        is_over,
        thread: Some(thread),
    }))
}

fn hear(monitor: &Monitor, mailbox: &Mailbox, failover: &Failover) {
    match monitor.next(PAUSE) {
        Ok(None) => {}
        Ok(Some(Event::Link {
            netns,
            link,
            is_up,
            exists,
        })) => failover.link_changed((netns.to_string(), link), LinkEvent { is_up, exists }),
        Ok(Some(Event::Routing { netns })) => mailbox.tell(|pending| {
            pending.routing.insert(netns.to_string());
        }),
        Ok(Some(Event::Resync)) => mailbox.tell(|pending| pending.kernel_lost = true),
        Err(error) => {
            tracing::warn!(%error, "kernel events not received");
            mailbox.tell(|pending| pending.kernel_lost = true);
            thread::sleep(PAUSE);
        }
    }
}
