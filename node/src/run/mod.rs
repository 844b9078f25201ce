//! Start, supervision and shutdown of the daemon's parts.

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

use crate::attach::lease_store::LeaseStore;
use crate::attach::pod_links::KernelPodWiring;
use crate::attach::server::Server;
use crate::attach::service::AttachService;
use crate::config::{Config, Origin};
use crate::error::Error;
use crate::flooding::Flooding;
use crate::host::labs::Labs;
use crate::host::netns_registry::NetnsRegistry;
use crate::install::{Installer, node_lifecycle};
use crate::mailbox::Mailbox;
use crate::objects::Snapshot;
use crate::objects::own_pod::OwnPod;
use crate::routing::desired::Site;
use crate::routing::{Engine, Parts};
use crate::telemetry::{Heartbeat, Metrics};
use store::lock::Lock;

mod files;
mod leave;
mod links;
mod mesh_key;
mod monitor;
mod objects;
mod probes;
mod start;
mod tasks;

use links::Links;
use objects::Ports;
use probes::Observations;
use tasks::Tasks;

/// Longest wait for an earlier daemon to end.
const HANDOVER: Duration = Duration::from_secs(5);
/// Longest wait for plugins' pending answers before uninstallation.
const ANSWERS: Duration = Duration::from_secs(10);
/// Number of blocking threads for plugins' requests.
const BLOCKING_THREADS: usize = 16;

/// Runs the node until SIGTERM or SIGINT, and leaves the kernel state in place.
///
/// Blocks the calling thread; starts its own threads and runtime. The calling thread's network
/// namespace is the node's: it holds the underlay and the sockets of tunnels.
///
/// # Errors
/// Only errors that prevent a start: the directory, the state directory or the socket cannot be
/// used. Later failures are logged, reported in status and retried.
pub fn run(config: Config) -> Result<(), Error> {
    match dataplane::descriptors::raise_limit() {
        Ok(limit) => tracing::debug!(limit, "limit of open files raised"),
        // Usually enough for a few hundred peers.
        Err(error) => tracing::warn!(%error, "limit of open files not raised"),
    }
    let lock = Arc::new(Lock::take(&config.state_dir, HANDOVER)?);
    // Under the lock no other daemon writes there.
    store::atomic::sweep_directory(&config.state_dir)?;
    store::atomic::sweep_directory(&config.link_states())?;
    let own = match config.origin {
        Origin::Kubernetes { .. } => OwnPod::from_environment(),
        Origin::Directory(_) => None,
    };
    let end = serve(config.clone(), own.as_ref(), Arc::clone(&lock))?;
    match (end, own) {
        // All servers have ended.
        (End::Leave, Some(own)) => leave::leave(&config, &own),
        _ => Ok(()),
    }
}

/// Reason why the daemon stops serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// SIGTERM or SIGINT.
    Told,
    /// Uninstall request.
    Leave,
}

fn serve(config: Config, own: Option<&OwnPod>, lock: Arc<Lock>) -> Result<End, Error> {
    let started = |what| move |source| Error::Start { what, source };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(started("the runtime"))?;
    let mailbox = Arc::new(Mailbox::default());
    let Ports {
        source,
        pods,
        health,
    } = objects::open(&config, own, &mailbox)?;
    let (book, damage) = LeaseStore::open(&config.state_dir, &read_boot_id(&config.boot_id)?)?;
    let book = book.under(lock);
    if !damage.is_empty() {
        tracing::warn!(places = damage.len(), "lease journal damaged, leases lost");
    }
    let service = AttachService::new(
        book,
        KernelPodWiring,
        Arc::clone(&mailbox),
        config.claim_timeout,
    );
    let service = Arc::new(match config.origin {
        Origin::Kubernetes { .. } => service.with_pods(Arc::clone(&pods)),
        Origin::Directory(_) => service,
    });
    let mut server = bind(&runtime, &config.socket)?;
    let replay_due = Arc::new(Notify::new());
    let files = files::watch(&config, &mailbox, &replay_due)?;
    let kernel = Arc::new(LinuxKernel::new().map_err(no_kernel)?);
    let links = Links::start(&config, &kernel, &mailbox)?;
    let heartbeat = Heartbeat::default();
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
        liveness: links.liveness.clone(),
        fib: kernel.clone(),
        structure: kernel,
        mailbox: Arc::clone(&mailbox),
        service: Arc::clone(&service),
        monitor: links.monitor(),
        owned: NetnsRegistry::open(&config.state_dir).beside(Labs::beside(config.directory())),
        resync: config.resync,
        heartbeat: heartbeat.clone(),
    };
    let flood = config.flood();
    let flood = flood.map(|settings| Flooding::start(settings, links.reports(), seen.clone()));
    let flood = flood.transpose()?;
    if flood.is_none() && health.is_some() {
        tracing::info!("{}", probes::KEYLESS);
    }
    let config = Arc::new(config);
    let installer = Arc::new(Installer::of(&config));
    let metrics = Metrics::new(&heartbeat);
    let readiness = heartbeat.readiness();
    let observations = Observations {
        config: Arc::clone(&config),
        heartbeat,
        metrics: metrics.clone(),
        installer: Arc::clone(&installer),
        service: Arc::clone(&service),
        bound: server.bound(),
        health,
        peers: flood.as_ref().map(Flooding::status),
        liveness: links.liveness.statistics(),
    };
    let (ended, end) = oneshot::channel::<()>();
    // A pool of its own: threads inherit the network namespace of their creator.
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
    tracing::info!(node = config.name, socket = %config.socket.display(), "daemon started");
    let result = runtime.block_on(async {
        let (permit, is_permitted) = watch::channel(false);
        let tasks = Tasks {
            config: Arc::clone(&config),
            mailbox: Arc::clone(&mailbox),
            service: Arc::clone(&service),
            pods: Arc::clone(&pods),
            installer: Arc::clone(&installer),
            files,
            replay_due,
            permit: is_permitted,
            observations,
            views: seen,
        };
        tasks.spawn();
        if let Some(own) = own {
            tokio::spawn(mesh_key::ask_for_it(Arc::clone(&config), own.clone()));
        }
        let mut terminate = signal(SignalKind::terminate()).map_err(started("signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(started("signals"))?;
        tokio::select! {
            () = server.serve(Arc::clone(&service), metrics) => {}
            _ = end => return Err(started("the engine again")(io::Error::other("it ended"))),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = node_lifecycle::stand(own, &*pods, readiness, permit) => return Ok(End::Leave),
        }
        Ok(End::Told)
    });
    if let Ok(End::Leave) = result {
        tracing::info!("uninstallation requested");
        // First of all, so that no new pod is attached; a failure is retried.
        let _ = installer.withdraw();
    }
    // Before connections and the engine end: AdminDown reaches peers, which then report no failure.
    links.liveness.stop();
    mailbox.tell(|pending| pending.stop = true);
    drop(flood);
    let is_sound = engine.join().is_ok();
    // After all writers: the snapshot holds the last reports.
    drop(links);
    tracing::info!(is_sound, "daemon stopped, kernel state left in place");
    // A pending answer to a plugin is not waited for: the plugin retries with the next daemon.
    // After an uninstall request there is none.
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
