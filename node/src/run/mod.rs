//! Putting the parts together, and taking them apart at the end.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dataplane::LinuxKernel;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot, watch};

use crate::book::Book;
use crate::config::{Config, Origin};
use crate::desired::Site;
use crate::desk::Desk;
use crate::engine::{Engine, Parts};
use crate::error::Error;
use crate::flood::Flooding;
use crate::inbox::Inbox;
use crate::install::Installer;
use crate::owned::Owned;
use crate::server::Server;
use crate::source::Snapshot;
use crate::telemetry::{Metrics, Vitals};
use crate::uninstall::Own;
use crate::wires::KernelWires;
use store::lock::Lock;

mod files;
mod key;
mod leave;
mod links;
mod monitor;
mod origin;
mod standing;
mod tasks;
mod told;

use links::Links;
use origin::Ports;
pub use tasks::Shared;

/// How long a daemon before this one may take to be gone.
const HANDOVER: Duration = Duration::from_secs(5);
/// How long plugins may still be answered when the node is to be clean.
const ANSWERS: Duration = Duration::from_secs(10);
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
    match dataplane::descriptors::raise_limit() {
        Ok(limit) => tracing::debug!(limit, "limit of open files raised"),
        // Enough for a few hundred peers, mostly.
        Err(error) => tracing::warn!(%error, "limit of open files not raised"),
    }
    let lock = Arc::new(Lock::take(&config.state_dir, HANDOVER)?);
    // Under the lock nobody else writes there.
    store::atomic::sweep_directory(&config.state_dir)?;
    let own = match config.origin {
        Origin::Kubernetes { .. } => Own::from_environment(),
        Origin::Directory(_) => None,
    };
    let end = serve(config.clone(), own.as_ref(), Arc::clone(&lock))?;
    match (end, own) {
        // Nothing of what served is there any more.
        (End::Leave, Some(own)) => leave::leave(&config, &own),
        _ => Ok(()),
    }
}

/// Why the daemon does not serve any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was told to end.
    Told,
    /// The node is to be clean.
    Leave,
}

fn serve(config: Config, own: Option<&Own>, lock: Arc<Lock>) -> Result<End, Error> {
    let started = |what| move |source| Error::Start { what, source };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(started("the runtime"))?;
    let inbox = Arc::new(Inbox::default());
    let Ports {
        source,
        pods,
        health,
    } = origin::open(&config, own, &inbox)?;
    let (book, damage) = Book::open(&config.state_dir, &read_boot_id(&config.boot_id)?)?;
    let book = book.under(lock);
    if !damage.is_empty() {
        tracing::warn!(
            places = damage.len(),
            "leases were lost with a damaged journal"
        );
    }
    let desk = Desk::new(book, KernelWires, Arc::clone(&inbox), config.claim_timeout);
    let desk = Arc::new(match config.origin {
        Origin::Kubernetes { .. } => desk.with_pods(Arc::clone(&pods)),
        Origin::Directory(_) => desk,
    });
    let mut server = bind(&runtime, &config.socket)?;
    let replay_due = Arc::new(Notify::new());
    let files = files::watch(&config, &inbox, &replay_due)?;
    let kernel = Arc::new(LinuxKernel::new().map_err(no_kernel)?);
    let links = Links::start(&config, &kernel, &inbox)?;
    let vitals = Vitals::default();
    let (views, seen) = watch::channel(Arc::new(Snapshot::default()));
    let parts = Parts {
        site: Site {
            node: config.name.clone(),
            vxlan_port: config.vxlan_port,
            ..Site::default()
        },
        source,
        pods: Arc::clone(&pods),
        views,
        link_states: Arc::clone(&links.link_states),
        failover: Arc::clone(&links.failover),
        fib: kernel.clone(),
        structure: kernel,
        inbox: Arc::clone(&inbox),
        desk: Arc::clone(&desk),
        monitor: links.monitor(),
        owned: Owned::open(&config.state_dir),
        resync: config.resync,
        vitals: vitals.clone(),
    };
    let flood = config.flood();
    let flood = flood.map(|settings| Flooding::start(settings, links.reports(), seen.clone()));
    let flood = flood.transpose()?;
    if flood.is_none() && health.is_some() {
        tracing::info!("{}", told::KEYLESS);
    }
    let shared = Shared {
        installer: Arc::new(Installer::of(&config)),
        metrics: Metrics::new(&vitals),
        vitals,
        config: Arc::new(config),
        inbox: Arc::clone(&inbox),
        desk: Arc::clone(&desk),
        pods,
        health,
        views: seen,
        bound: server.bound(),
        peers: flood.as_ref().map(Flooding::status),
    };
    let config = &shared.config;
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
        let (permit, is_permitted) = watch::channel(false);
        tasks::spawn(&shared, files, replay_due, is_permitted);
        if let Some(own) = own {
            tokio::spawn(key::ask_for_it(shared.clone(), own.clone()));
        }
        let mut terminate = signal(SignalKind::terminate()).map_err(started("signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(started("signals"))?;
        tokio::select! {
            () = server.serve(Arc::clone(&desk), shared.metrics.clone()) => {}
            _ = end => return Err(started("the engine again")(io::Error::other("it ended"))),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = standing::stand(own, &shared, permit) => return Ok(End::Leave),
        }
        Ok(End::Told)
    });
    if let Ok(End::Leave) = result {
        tracing::info!("the node is to be clean");
        // First of all, so that no new pod comes; what fails is tried again.
        let _ = shared.installer.withdraw();
    }
    inbox.tell(|pending| pending.stop = true);
    drop(flood);
    let is_sound = engine.join().is_ok();
    // After everybody who reports: the snapshot holds what was reported last.
    drop(links);
    tracing::info!(is_sound, "stopped; the kernel stays as it is");
    // A plugin that is being answered is not waited for: it asks the next daemon. There is none
    // where the node is to be clean.
    let patience = match result {
        Ok(End::Leave) => ANSWERS,
        _ => Duration::from_millis(500),
    };
    runtime.shutdown_timeout(patience);
    result
}

fn bind(runtime: &Runtime, path: &Path) -> Result<Server, Error> {
    let _entered = runtime.enter();
    Server::bind(path)
}

fn read_boot_id(path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(text.trim().to_owned())
}

fn no_kernel(source: dataplane::Error) -> Error {
    Error::Kernel {
        object: "the node's network namespace".to_owned(),
        source: Box::new(source),
    }
}
