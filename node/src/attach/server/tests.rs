use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};

use cni::node_protocol::{Claim, Key, NetnsId};
use crds::{Forwarder, ForwarderSpec};

use super::*;
use crate::attach::admission::Catalog;
use crate::attach::lease_store::LeaseStore;
use crate::attach::pod_links::KernelPodWiring;
use crate::objects::pods::{Lookup, NodePod, Pods, Told};

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Serves a service that knows no desired state, and runs `client` beside it.
fn serve(client: impl FnOnce(&Path) + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/cni.sock");
    let (book, _) = LeaseStore::open(directory.path(), "boot").unwrap();
    let service = Arc::new(AttachService::new(
        book,
        KernelPodWiring,
        Arc::default(),
        LIMIT,
    ));
    runtime().block_on(async {
        let mut server = Server::bind(&path).unwrap();
        let client_path = path.clone();
        let client = tokio::task::spawn_blocking(move || client(&client_path));
        tokio::select! {
            () = server.serve(service, Metrics::default()) => {}
            done = client => done.unwrap(),
        }
    });
    assert!(!path.exists(), "the socket goes with the server");
}

/// Waits until a daemon answers at `path`.
fn wait_for_answer(path: &Path) {
    let deadline = std::time::Instant::now() + LIMIT;
    let asks = || {
        let stream = StdStream::connect(path)?;
        (&stream).write_all(&node_protocol::encode(&Request::Status))?;
        node_protocol::read::<Reply>(&mut BufReader::new(&stream))
    };
    while !matches!(asks(), Ok(Some(Reply::Status { .. }))) {
        assert!(std::time::Instant::now() < deadline, "nobody answers");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_socket_that_is_removed_or_replaced_is_made_anew() {
    serve(|path| {
        let before = StdStream::connect(path).unwrap();
        // It is taken before the socket goes.
        ask(&before, &node_protocol::encode(&Request::Status));
        fs::remove_file(path).unwrap();
        wait_for_answer(path);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        wait_for_answer(path);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What nobody answers on.
        let beside = path.with_file_name("beside.sock");
        drop(StdListener::bind(&beside).unwrap());
        fs::rename(beside, path).unwrap();
        wait_for_answer(path);
        let status = ask(&before, &node_protocol::encode(&Request::Status));
        assert!(matches!(status, Reply::Status { .. }), "talks go on");
    });
}

#[test]
fn a_socket_on_which_somebody_else_answers_is_left_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cni.sock");
    runtime().block_on(async {
        let mut server = Server::bind(&path).unwrap();
        let bound = server.bound();
        assert!(bound.is_there());
        fs::remove_file(&path).unwrap();
        let other = StdListener::bind(&path).unwrap();
        server.renew().await;
        assert!(!bound.is_there());
        assert!(StdStream::connect(&path).is_ok() && other.accept().is_ok());
        drop(other);
        server.renew().await;
        assert!(bound.is_there());
    });
}

fn ask(stream: &StdStream, line: &[u8]) -> Reply {
    (&*stream).write_all(line).unwrap();
    node_protocol::read(&mut BufReader::new(stream))
        .unwrap()
        .unwrap()
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
                ask(&stream, &node_protocol::encode(&release)),
                Reply::Released(vec![])
            );
            let status = ask(&stream, &node_protocol::encode(&Request::Status));
            assert!(matches!(status, Reply::Status { ready: false, .. }));
        }
    });
}

/// Pods that come one day.
#[derive(Default)]
struct Coming(Mutex<Vec<Arc<NodePod>>>);

impl Pods for Coming {
    fn find(&self, _: &str, _: &str, _: Option<&str>) -> Lookup {
        Lookup::Unknown
    }

    fn here(&self) -> Vec<Arc<NodePod>> {
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
        pod: Some(node_protocol::Pod {
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
    let (book, _) = LeaseStore::open(directory.path(), "boot").unwrap();
    let pods = Arc::new(Coming::default());
    let service = AttachService::new(book, KernelPodWiring, Arc::default(), LIMIT);
    let service = Arc::new(service.with_pods(Arc::<Coming>::clone(&pods)));
    let forwarder = Forwarder::new("default", ForwarderSpec::default());
    service.open(Arc::new(Catalog::new("n1", [&forwarder], [], vec![], true)));
    let begun = Instant::now();
    let stir = {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE / 2).await;
            service.hear();
        })
    };
    let reply = answer(claim(), None, &service).await.unwrap();
    let reason = "pod default/p is not known yet: the API server does not answer".to_owned();
    assert_eq!(reply, Reply::TryLater { reason });
    assert_eq!(begun.elapsed(), PATIENCE);
    stir.await.unwrap();

    let asked = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { answer(claim(), None, &service).await.unwrap() })
    };
    tokio::time::sleep(PATIENCE / 2).await;
    let mut here = NodePod::default();
    (here.pod.namespace, here.pod.name) = ("default".into(), "p".into());
    pods.0.lock().unwrap().push(Arc::new(here));
    service.hear();
    assert_eq!(asked.await.unwrap(), Reply::NotOurs);
    assert!(begun.elapsed() < PATIENCE * 2);

    pods.0.lock().unwrap().clear();
    let known = r#"{"namespaces":[],"notOurs":[]}"#;
    fs::write(cni::known::path(directory.path()), known).unwrap();
    let begun = Instant::now();
    let reply = answer(claim(), None, &service).await.unwrap();
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
        let status = ask(&good, &node_protocol::encode(&Request::Status));
        assert!(matches!(status, Reply::Status { .. }));
    });
}

#[test]
fn a_socket_that_is_served_is_not_taken_and_a_stale_one_is() {
    serve(|path| {
        let runtime = runtime();
        let _entered = runtime.enter();
        assert!(matches!(Server::bind(path), Err(Error::SocketInUse { .. })));
        let stale = path.with_file_name("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert!(stale.exists());
        drop(Server::bind(&stale).unwrap());
    });
}
