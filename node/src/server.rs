//! The socket on which the plugin asks.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cni::agent::{self, MAX_LINE_BYTES, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::desk::{Answer, Desk};
use crate::error::Error;
use crate::telemetry::{Metrics, word_of};
use crate::wires::Wires;

/// Connections at one time; more wait in the socket's backlog.
const CONNECTIONS: usize = 256;
/// A plugin is done, or dead, well before this.
const LIMIT: Duration = Duration::from_secs(15);

/// How long a claim waits for its pod to be known: the plugin gives up after 10 s.
const PATIENCE: Duration = Duration::from_secs(8);

/// The socket, removed when dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens on `path`, for root only. A socket that nobody answers on any more is replaced.
    ///
    /// # Errors
    /// [`Error::SocketInUse`] when somebody answers, [`Error::File`] when it cannot be made.
    pub fn bind(path: &Path) -> Result<Server, Error> {
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
        let listener = UnixListener::bind(path).map_err(Error::file("listen on", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(Error::file("protect", path))?;
        Ok(Server {
            listener,
            path: path.to_owned(),
        })
    }

    /// Answers for ever, and counts how long that takes.
    pub async fn serve<W: Wires + 'static>(&self, desk: Arc<Desk<W>>, metrics: Metrics) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (desk, metrics) = (Arc::clone(&desk), metrics.clone());
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, desk, metrics).await {
                            tracing::debug!(%error, "a plugin hung up");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Too many open files, most likely: give others time to close some.
                    tracing::warn!(%error, "failed to accept a plugin");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Absent is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers one plugin's questions, one after another.
async fn converse<W: Wires + 'static>(
    stream: UnixStream,
    desk: Arc<Desk<W>>,
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
        let (reply, is_last) = match agent::decode::<Request>(&line) {
            Ok(request) => {
                let (word, asked) = (word_of(&request), Instant::now());
                let reply = answer(request, plugin, &desk).await?;
                metrics.answered(word, &reply, asked.elapsed());
                (reply, false)
            }
            Err(error) => {
                let message = error.to_string();
                // What follows a line that was too long or torn is not the start of one.
                (
                    Reply::Refused {
                        code: DECODE,
                        message,
                    },
                    true,
                )
            }
        };
        timeout(LIMIT, writer.write_all(&agent::encode(&reply))).await??;
        if is_last {
            return Ok(());
        }
    }
}

/// CNI error "failed to decode content".
const DECODE: u32 = 6;

/// Asks the desk on threads that may wait for disk and kernel, but not for others: an answer that
/// depends on a pod that is not known yet is asked for again when there is news.
async fn answer<W: Wires + 'static>(
    request: Request,
    plugin: Option<i32>,
    desk: &Arc<Desk<W>>,
) -> io::Result<Reply> {
    let end = Instant::now() + PATIENCE;
    let request = Arc::new(request);
    let mut news = desk.news();
    // The first answer says most: only then was the API server asked.
    let mut awaited: Option<String> = None;
    loop {
        let (asked, of) = (Arc::clone(&request), Arc::clone(desk));
        let is_first = awaited.is_none();
        let answered = tokio::task::spawn_blocking(move || of.ask(&asked, plugin, is_first));
        match answered.await.map_err(io::Error::other)? {
            Answer::Now(reply) => return Ok(reply),
            Answer::Awaited(reason) => drop(awaited.get_or_insert(reason)),
        }
        if !matches!(timeout_at(end, news.changed()).await, Ok(Ok(()))) {
            let (of, reason) = (Arc::clone(desk), awaited.unwrap_or_default());
            let given_up = tokio::task::spawn_blocking(move || of.give_up(&request, reason));
            return given_up.await.map_err(io::Error::other);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::sync::Mutex;

    use cni::agent::{Claim, Key, NetnsId};
    use crds::{Forwarder, ForwarderSpec};

    use super::*;
    use crate::book::Book;
    use crate::catalog::Catalog;
    use crate::pods::{Lookup, PodHere, Pods, Told};
    use crate::wires::KernelWires;

    /// Serves a desk that knows no desired state, and runs `client` beside it.
    fn serve(client: impl FnOnce(&Path) + Send + 'static) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/cni.sock");
        let (book, _) = Book::open(directory.path(), "boot").unwrap();
        let desk = Arc::new(Desk::new(book, KernelWires, Arc::default(), LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Server::bind(&path).unwrap();
            let client_path = path.clone();
            let client = tokio::task::spawn_blocking(move || client(&client_path));
            tokio::select! {
                () = server.serve(desk, Metrics::default()) => {}
                done = client => done.unwrap(),
            }
        });
        assert!(!path.exists(), "the socket goes with the server");
    }

    fn ask(stream: &StdStream, line: &[u8]) -> Reply {
        (&*stream).write_all(line).unwrap();
        agent::read(&mut BufReader::new(stream)).unwrap().unwrap()
    }

    #[test]
    fn answers_question_after_question() {
        serve(|path| {
            let stream = StdStream::connect(path).unwrap();
            let key = Key {
                container_id: "c".into(),
                ifname: "e".into(),
                network: "n".into(),
            };
            let release = Request::Release {
                key,
                netns: None,
                pod: None,
            };
            for _ in 0..3 {
                assert_eq!(
                    ask(&stream, &agent::encode(&release)),
                    Reply::Released(vec![])
                );
                let status = ask(&stream, &agent::encode(&Request::Status));
                assert!(matches!(status, Reply::Status { ready: false, .. }));
            }
        });
    }

    /// Pods that come one day.
    #[derive(Default)]
    struct Coming(Mutex<Vec<Arc<PodHere>>>);

    impl Pods for Coming {
        fn find(&self, _: &str, _: &str, _: Option<&str>) -> Lookup {
            Lookup::Unknown
        }

        fn here(&self) -> Vec<Arc<PodHere>> {
            self.0.lock().unwrap().clone()
        }

        fn tell(&self, _: Told) {}
    }

    /// A claim of the pod `default/p`.
    fn claim() -> Request {
        Request::Claim(Claim {
            key: Key {
                container_id: "c".into(),
                ifname: "e".into(),
                network: "n".into(),
            },
            netns: String::new(),
            netns_id: NetnsId {
                device: 0,
                inode: 0,
            },
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            pod: Some(agent::Pod {
                namespace: "default".into(),
                name: "p".into(),
                uid: None,
            }),
            chained: true,
            topology: None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_waits_for_its_pod_and_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let (book, _) = Book::open(directory.path(), "boot").unwrap();
        let pods = Arc::new(Coming::default());
        let desk = Desk::new(book, KernelWires, Arc::default(), LIMIT);
        let desk = Arc::new(desk.with_pods(Arc::<Coming>::clone(&pods)));
        let forwarder = Forwarder::new("default", ForwarderSpec::default());
        desk.open(Arc::new(Catalog::new("n1", [&forwarder], [], vec![], true)));
        let begun = Instant::now();
        let stir = {
            let desk = Arc::clone(&desk);
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE / 2).await;
                desk.hear();
            })
        };
        let reply = answer(claim(), None, &desk).await.unwrap();
        let reason = "pod default/p is not known yet: the API server is away".to_owned();
        assert_eq!(reply, Reply::TryLater { reason });
        assert_eq!(begun.elapsed(), PATIENCE);
        stir.await.unwrap();

        let asked = {
            let desk = Arc::clone(&desk);
            tokio::spawn(async move { answer(claim(), None, &desk).await.unwrap() })
        };
        tokio::time::sleep(PATIENCE / 2).await;
        let mut here = PodHere::default();
        (here.pod.namespace, here.pod.name) = ("default".into(), "p".into());
        pods.0.lock().unwrap().push(Arc::new(here));
        desk.hear();
        assert_eq!(asked.await.unwrap(), Reply::NotOurs);
        assert!(begun.elapsed() < PATIENCE * 2);

        pods.0.lock().unwrap().clear();
        let known = r#"{"namespaces":[],"notOurs":[]}"#;
        fs::write(cni::known::path(directory.path()), known).unwrap();
        let begun = Instant::now();
        let reply = answer(claim(), None, &desk).await.unwrap();
        assert_eq!((reply, begun.elapsed()), (Reply::NotOurs, PATIENCE));
    }

    #[test]
    fn garbage_is_refused_and_ends_its_own_connection_only() {
        serve(|path| {
            let good = StdStream::connect(path).unwrap();
            for garbage in [
                &b"\n"[..],
                b"{\n",
                b"\xff\xfe\n",
                b"{\"version\":9,\"body\":0}\n",
            ] {
                let bad = StdStream::connect(path).unwrap();
                assert!(matches!(
                    ask(&bad, garbage),
                    Reply::Refused { code: DECODE, .. }
                ));
                assert_eq!(
                    BufReader::new(&bad)
                        .read_until(b'\n', &mut Vec::new())
                        .unwrap(),
                    0
                );
            }
            let status = ask(&good, &agent::encode(&Request::Status));
            assert!(matches!(status, Reply::Status { .. }));
        });
    }

    #[test]
    fn a_socket_that_is_served_is_not_taken_and_a_stale_one_is() {
        serve(|path| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.unwrap();
            let _entered = runtime.enter();
            assert!(matches!(Server::bind(path), Err(Error::SocketInUse { .. })));
            let stale = path.with_file_name("stale.sock");
            drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
            assert!(stale.exists());
            drop(Server::bind(&stale).unwrap());
        });
    }
}
