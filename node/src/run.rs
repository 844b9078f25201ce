//! Putting the parts together, and taking them apart at the end.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::monitor::{Event, Monitor};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

use crate::book::Book;
use crate::config::Config;
use crate::desired::Site;
use crate::desk::Desk;
use crate::engine::{Engine, Parts};
use crate::error::Error;
use crate::inbox::{Inbox, LinkNews};
use crate::link_state::{self, Which};
use crate::owned::Owned;
use crate::replay::replay;
use crate::server::Server;
use crate::source;
use crate::underlay;
use crate::watch::{Change, Watch};
use crate::wires::KernelWires;

/// Time between two looks for leases that nobody will release.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How long the monitor's thread waits before it looks whether it should end.
const MONITOR_PAUSE: Duration = Duration::from_millis(200);
/// How long a daemon before this one may take to be gone.
const HANDOVER: Duration = Duration::from_secs(5);
/// Steps for plugins at one time.
const BLOCKING_THREADS: usize = 16;

/// Runs the node until SIGTERM or SIGINT, then leaves the kernel as it is.
///
/// Blocks the calling thread; starts its own threads and runtime. The calling thread's network
/// namespace is the node's: there the underlay is, and there tunnels have their sockets.
///
/// # Errors
/// Only what makes a start impossible: the directory, the state directory or the socket cannot be
/// used. Whatever goes wrong later is logged, reported in status and tried again.
pub fn run(config: Config) -> Result<(), Error> {
    let started = |what| move |source| Error::Start { what, source };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(started("the runtime"))?;
    let _lock = lock(&config.state_dir, HANDOVER)?;
    let inbox = Arc::new(Inbox::default());
    let source = source::directory::Directory::open(&config.directory)?;
    let reports = config.directory.join("link-states");
    let link_states = link_state::directory::Directory::open(&reports, &config.name)?;
    let (book, damage) = Book::open(&config.state_dir, &read_boot_id(&config.boot_id)?)?;
    if !damage.is_empty() {
        tracing::warn!(
            places = damage.len(),
            "leases were lost with a damaged journal"
        );
    }
    let desk = Arc::new(Desk::new(
        book,
        KernelWires,
        Arc::clone(&inbox),
        config.claim_timeout,
    ));
    let server = bind(&runtime, &config.socket)?;
    let replay_due = Arc::new(Notify::new());
    let watch = watch(&config, &inbox, &replay_due)?;
    let monitor = start_monitor(&inbox)?;
    let parts = Parts {
        site: Site {
            node: config.name.clone(),
            vxlan_port: config.vxlan_port,
            ..Site::default()
        },
        source: Box::new(source),
        link_states: Box::new(link_states),
        inbox: Arc::clone(&inbox),
        desk: Arc::clone(&desk),
        monitor: monitor.as_ref().map(|monitor| Arc::clone(&monitor.monitor)),
        owned: Owned::open(&config.state_dir),
        resync: config.resync,
    };
    let (ended, end) = oneshot::channel::<()>();
    // A pool of its own: threads inherit the network namespace of whoever starts them.
    let pool = rayon::ThreadPoolBuilder::new().thread_name(|number| format!("engine-{number}"));
    let pool = pool
        .build()
        .map_err(io::Error::other)
        .map_err(started("the engine's pool"))?;
    let engine = thread::Builder::new()
        .name("engine".into())
        .spawn(move || {
            // Dropped when the engine ends, also by a panic.
            let _ended = ended;
            pool.install(|| Engine::new(parts).run());
        })
        .map_err(started("the engine"))?;
    tracing::info!(node = config.name, socket = %config.socket.display(), "started");
    let result = runtime.block_on(async {
        tokio::spawn(underlay::watch(Arc::clone(&inbox)));
        tokio::spawn(keep_house(Arc::clone(&desk)));
        tokio::spawn(renew(watch, config.resync));
        tokio::spawn(replay_when_due(
            config.state_dir.clone(),
            Arc::clone(&desk),
            replay_due,
        ));
        let mut terminate = signal(SignalKind::terminate()).map_err(started("signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(started("signals"))?;
        tokio::select! {
            () = server.serve(Arc::clone(&desk)) => {}
            _ = end => return Err(started("the engine again")(io::Error::other("it ended"))),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    });
    inbox.tell(|pending| pending.stop = true);
    drop(monitor);
    let is_sound = engine.join().is_ok();
    tracing::info!(is_sound, "stopped; the kernel stays as it is");
    // A plugin that is being answered is not waited for: it asks the next daemon.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

/// Makes sure that nobody else writes the journal. The kernel frees the lock when the last thread
/// of its holder is gone, a moment after the holder was killed: that is waited for, up to `patience`.
fn lock(state_dir: &Path, patience: Duration) -> Result<File, Error> {
    fs::create_dir_all(state_dir).map_err(Error::file("create", state_dir))?;
    let path = state_dir.join("lock");
    let file = File::create(&path).map_err(Error::file("create", &path))?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::StateInUse {
                    path: state_dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", path)(error)),
        }
    }
}

fn bind(runtime: &Runtime, path: &Path) -> Result<Server, Error> {
    let _entered = runtime.enter();
    Server::bind(path)
}

fn read_boot_id(path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(text.trim().to_owned())
}

/// Watches the desired state, the other nodes' reports and the DEL queue.
fn watch(config: &Config, inbox: &Arc<Inbox>, replay_due: &Arc<Notify>) -> Result<Watch, Error> {
    let queue = cni::queue::directory(&config.state_dir);
    fs::create_dir_all(&queue).map_err(Error::file("create", &queue))?;
    let reports = config.directory.join("link-states");
    let objects = [
        config.directory.join("forwarders"),
        config.directory.join("nodes"),
    ];
    let directories = objects.iter().chain([&reports, &queue]).cloned().collect();
    let (inbox, replay_due) = (Arc::clone(inbox), Arc::clone(replay_due));
    Watch::start(directories, move |change| match change {
        Change::Anything => {
            replay_due.notify_one();
            inbox.tell(|pending| {
                pending.source = true;
                pending.reports = Some(Which::All);
            });
        }
        Change::Files(paths) => {
            if paths.iter().any(|path| path.starts_with(&queue)) {
                replay_due.notify_one();
            }
            if paths
                .iter()
                .any(|path| objects.iter().any(|object| path.starts_with(object)))
            {
                inbox.tell(|pending| pending.source = true);
            }
            let reported = paths.iter().filter(|path| path.starts_with(&reports));
            for forwarder in reported.filter_map(|path| link_state::directory::forwarder_of(path)) {
                inbox.tell(|pending| pending.add_report(forwarder));
            }
        }
    })
}

/// The thread that hears of kernel events; it ends when this is dropped.
struct MonitorThread {
    monitor: Arc<Monitor>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for MonitorThread {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic in it was logged.
            let _ = thread.join();
        }
    }
}

/// Starts to hear of kernel events. Where that is not possible the resync timer has to do.
fn start_monitor(inbox: &Arc<Inbox>) -> Result<Option<MonitorThread>, Error> {
    let monitor = match Monitor::new() {
        Ok(monitor) => Arc::new(monitor),
        Err(error) => {
            tracing::warn!(%error, "kernel events are not heard; links are looked at by timer");
            return Ok(None);
        }
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let (heard, over, inbox) = (
        Arc::clone(&monitor),
        Arc::clone(&is_over),
        Arc::clone(inbox),
    );
    let thread = thread::Builder::new()
        .name("monitor".into())
        .spawn(move || {
            while !over.load(Ordering::Relaxed) {
                hear(&heard, &inbox);
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

fn hear(monitor: &Monitor, inbox: &Inbox) {
    match monitor.next(MONITOR_PAUSE) {
        Ok(None) => {}
        Ok(Some(Event::Link {
            netns,
            link,
            is_up,
            exists,
        })) => inbox.tell(|pending| {
            let news = LinkNews { is_up, exists };
            pending.links.insert((netns.to_string(), link), news);
        }),
        Ok(Some(Event::Routing { netns })) => inbox.tell(|pending| {
            pending.routing.insert(netns.to_string());
        }),
        Ok(Some(Event::Resync)) => inbox.tell(|pending| pending.kernel_lost = true),
        Err(error) => {
            tracing::warn!(%error, "failed to hear of kernel events");
            inbox.tell(|pending| pending.kernel_lost = true);
            thread::sleep(MONITOR_PAUSE);
        }
    }
}

/// Collects leases that nobody will release: at once, then now and again.
async fn keep_house(desk: Arc<Desk<KernelWires>>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let desk = Arc::clone(&desk);
        // A panic in it is logged by the runtime's hook; the next tick tries again.
        let _ = tokio::task::spawn_blocking(move || desk.keep_house()).await;
    }
}

/// Watches anew, now and again, what may have been removed and made again.
async fn renew(mut watch: Watch, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        watch.renew();
    }
}

/// Replays the DEL queue: at once, then whenever a plugin adds to it.
async fn replay_when_due(
    state_dir: PathBuf,
    desk: Arc<Desk<KernelWires>>,
    replay_due: Arc<Notify>,
) {
    loop {
        let (state_dir, desk) = (state_dir.clone(), Arc::clone(&desk));
        // As above.
        let _ = tokio::task::spawn_blocking(move || replay(&state_dir, &desk)).await;
        replay_due.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_has_one_daemon_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let lock = |patience| lock(directory.path(), patience);
        let held = lock(Duration::ZERO).unwrap();
        let refused = lock(Duration::from_millis(20));
        assert!(matches!(refused, Err(Error::StateInUse { .. })));
        drop(held);
        lock(Duration::ZERO).unwrap();
    }
}
