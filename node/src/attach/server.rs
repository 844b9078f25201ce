//! Server of the plugin's unix socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cni::node_protocol::{self, MAX_LINE_BYTES, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use crate::attach::pod_links::PodWiring;
use crate::attach::service::{Answer, AttachService};
use crate::error::Error;
use crate::telemetry::{Metrics, word_of};

#[cfg(test)]
mod tests;

/// Largest number of connections at one time; others wait in the socket's backlog.
const CONNECTIONS: usize = 256;
/// Time limit of a connection; a plugin ends well before it.
const LIMIT: Duration = Duration::from_secs(15);

/// Interval between two checks that the socket file exists.
const LOOK: Duration = Duration::from_secs(2);

/// Longest wait of a claim for its pod's object: the plugin gives up after 10 s.
const PATIENCE: Duration = Duration::from_secs(8);

/// Unix socket, removed when dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    bound: Bound,
    /// True once the missing socket was logged.
    is_told: bool,
}

/// Identity of the socket file; the same for all clones.
#[derive(Clone, Debug)]
pub struct Bound {
    path: Arc<Path>,
    file: Arc<Mutex<Option<FileId>>>,
}

/// Device and inode of a file.
type FileId = (u64, u64);

impl Bound {
    /// True when the socket file is this daemon's: it was neither removed nor replaced.
    pub fn is_there(&self) -> bool {
        let bound = *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        bound.is_some() && id(&self.path) == bound
    }

    fn renew(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = id(&self.path);
    }
}

fn id(path: &Path) -> Option<FileId> {
    let found = path.symlink_metadata().ok()?;
    Some((found.dev(), found.ino()))
}

impl Server {
    /// Listens on `path`, for root only. A socket without a listener is replaced.
    ///
    /// # Errors
    /// [`Error::SocketInUse`] when another process answers, [`Error::File`] when it cannot be
    /// created.
    pub fn bind(path: &Path) -> Result<Server, Error> {
        let listener = adopt(listen(path)?, path)?;
        let bound = Bound {
            path: Arc::from(path),
            file: Arc::default(),
        };
        bound.renew();
        Ok(Server {
            listener,
            bound,
            is_told: false,
        })
    }

    /// Identity of the socket file.
    pub fn bound(&self) -> Bound {
        self.bound.clone()
    }

    /// Listens again after the socket was removed or replaced by one without a listener.
    async fn renew(&mut self) {
        if self.bound.is_there() {
            return;
        }
        let path = Arc::clone(&self.bound.path);
        // The process that holds it now may be slow to answer.
        let listened = tokio::task::spawn_blocking(move || listen(&path)).await;
        let Ok(listened) = listened else { return };
        match listened.and_then(|listener| adopt(listener, &self.bound.path)) {
            Ok(listener) => {
                self.listener = listener;
                self.bound.renew();
                self.is_told = false;
                tracing::warn!("plugin socket was removed, created again");
            }
            Err(error) if !std::mem::replace(&mut self.is_told, true) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "plugin socket not created, plugins cannot connect"
            ),
            Err(_) => {}
        }
    }

    /// Serves plugins for ever, and measures the time of each answer.
    pub async fn serve<W: PodWiring + 'static>(
        &mut self,
        service: Arc<AttachService<W>>,
        metrics: Metrics,
    ) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = look.tick() => {
                    self.renew().await;
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) => {
                    let (service, metrics) = (Arc::clone(&service), metrics.clone());
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, service, metrics).await {
                            tracing::debug!(%error, "plugin connection ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Too many open files, most likely: a pause lets others close some.
                    tracing::warn!(%error, "plugin connection not accepted, retried");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Listens on `path`, with the guarantees of [`Server::bind`].
fn listen(path: &Path) -> Result<StdListener, Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    }
    if StdStream::connect(path).is_ok() {
        return Err(Error::SocketInUse {
            path: path.to_owned(),
        });
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::file("remove", path)(error));
        }
        _ => {}
    }
    let listener = StdListener::bind(path).map_err(Error::file("listen on", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(Error::file("protect", path))?;
    Ok(listener)
}

/// Registers a listener with the current runtime.
fn adopt(listener: StdListener, path: &Path) -> Result<UnixListener, Error> {
    let adopted = listener
        .set_nonblocking(true)
        .and_then(|()| UnixListener::from_std(listener));
    adopted.map_err(Error::file("listen on", path))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Another daemon's socket stays; an absent one needs no removal.
        if self.bound.is_there() {
            let _ = fs::remove_file(&self.bound.path);
        }
    }
}

/// Serves one connection: requests of a plugin, one after another.
async fn converse<W: PodWiring + 'static>(
    stream: UnixStream,
    service: Arc<AttachService<W>>,
    metrics: Metrics,
) -> io::Result<()> {
    let plugin = stream.peer_cred()?.pid();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(MAX_LINE_BYTES as u64);
        let read = timeout(LIMIT, bounded.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let (reply, is_last) = match node_protocol::decode::<Request>(&line) {
            Ok(request) => {
                let (word, asked) = (word_of(&request), Instant::now());
                let reply = answer(request, plugin, &service).await?;
                metrics.answered(word, &reply, asked.elapsed());
                (reply, false)
            }
            Err(error) => {
                let message = error.to_string();
                // After a line that was too long or truncated, the stream has no known line start.
                (
                    Reply::Refused {
                        code: DECODE,
                        message,
                    },
                    true,
                )
            }
        };
        timeout(LIMIT, writer.write_all(&node_protocol::encode(&reply))).await??;
        if is_last {
            return Ok(());
        }
    }
}

/// CNI error code "failed to decode content".
const DECODE: u32 = 6;

/// Answers a request on threads that may wait for disk and kernel, but not for other requests: an
/// answer that depends on an unknown pod is retried when pods, catalog or leases change.
async fn answer<W: PodWiring + 'static>(
    request: Request,
    plugin: Option<i32>,
    service: &Arc<AttachService<W>>,
) -> io::Result<Reply> {
    let end = Instant::now() + PATIENCE;
    let request = Arc::new(request);
    let mut news = service.news();
    // The first answer is the most specific: only then was the API server asked.
    let mut awaited: Option<String> = None;
    loop {
        let (asked, of) = (Arc::clone(&request), Arc::clone(service));
        let is_first = awaited.is_none();
        let answered = tokio::task::spawn_blocking(move || of.ask(&asked, plugin, is_first));
        match answered.await.map_err(io::Error::other)? {
            Answer::Now(reply) => return Ok(reply),
            Answer::Awaited(reason) => drop(awaited.get_or_insert(reason)),
        }
        if !matches!(timeout_at(end, news.changed()).await, Ok(Ok(()))) {
            let (of, reason) = (Arc::clone(service), awaited.unwrap_or_default());
            let given_up = tokio::task::spawn_blocking(move || of.give_up(&request, reason));
            return given_up.await.map_err(io::Error::other);
        }
    }
}
