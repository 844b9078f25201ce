//! Several exchanges in one process, each on a loopback address of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use crds::{Forwarder, Instances, Node, NodeObject};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::channel::Channel;
use super::error::Error as Problem;
use super::keys::Keys;
use super::message::{Message, VERSION};
use super::*;
use crate::link_state::directory::{Directory, file_of};
use crate::link_state::{LinkStates, Report};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "a key of the mesh, thirty-two bytes or more";
const OTHER: &str = "another key of it, thirty-two bytes or more";

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Nodes `n1`, `n2`, ... with a Forwarder each, `t.f1`, `t.f2`, ..., all in one topology.
struct Mesh {
    directory: TempDir,
    snapshot: Snapshot,
    subnet: [u8; 2],
    timing: Timing,
    nodes: BTreeMap<u8, (Flood, watch::Sender<Arc<Snapshot>>)>,
}

impl Mesh {
    fn new(nodes: u8) -> Mesh {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = u8::try_from(std::process::id() % 250).unwrap();
        let mut mesh = Mesh {
            directory: tempfile::tempdir().unwrap(),
            snapshot: Snapshot {
                is_complete: true,
                ..Snapshot::default()
            },
            subnet: [process + 1, count],
            timing: Timing {
                look: Duration::from_millis(20),
                redial: Duration::from_millis(400),
                ..Timing::default()
            },
            nodes: BTreeMap::new(),
        };
        let numbers = 1..=nodes;
        for forwarder in forwarders(nodes) {
            let name = forwarder.metadata.name.clone();
            mesh.snapshot.forwarders.insert(name, Arc::new(forwarder));
        }
        for number in numbers.clone() {
            let name = format!("n{number}");
            let object = NodeObject::new(&name, &[mesh.address(number).into()]);
            mesh.snapshot.nodes.insert(name, Arc::new(object));
            mesh.set_key(number, KEY);
        }
        numbers.for_each(|number| mesh.start(number));
        mesh
    }

    fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b] = self.subnet;
        Ipv4Addr::new(127, a, b, number)
    }

    fn reports(&self, number: u8) -> PathBuf {
        self.directory.path().join(format!("n{number}"))
    }

    fn key_file(&self, number: u8) -> PathBuf {
        self.directory.path().join(format!("key{number}"))
    }

    fn set_key(&self, number: u8, text: &str) {
        fs::write(self.key_file(number), text).unwrap();
    }

    fn start(&mut self, number: u8) {
        let (views, seen) = watch::channel(Arc::new(self.snapshot.clone()));
        let name = format!("n{number}");
        let (directory, key_file) = (self.reports(number), self.key_file(number));
        let settings = Settings {
            listen: (self.address(number), DEFAULT_PORT).into(),
            timing: self.timing,
            ..Settings::new(name, directory, key_file, DEFAULT_PORT)
        };
        let flood = Flood::start(settings, seen).unwrap();
        self.nodes.insert(number, (flood, views));
    }

    fn stop(&mut self, number: u8) {
        self.nodes.remove(&number).expect("it runs");
    }

    fn tell(&self, number: u8, snapshot: &Snapshot) {
        self.nodes[&number]
            .1
            .send_replace(Arc::new(snapshot.clone()));
    }

    /// As the engine of a node reports on its Forwarder.
    fn report(&self, number: u8, is_up: bool) {
        let directory = Directory::open(&self.reports(number), &format!("n{number}"));
        let links = [("f1/f2".to_owned(), is_up)].into();
        let forwarder = format!("t.f{number}");
        directory.unwrap().publish(&forwarder, &links).unwrap();
    }

    /// What a node knows of another one's Forwarder.
    fn known(&self, at: u8, of: u8) -> Option<Report> {
        let bytes = fs::read(file_of(&self.reports(at), &format!("t.f{of}"))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn is_up(&self, at: u8, of: u8) -> Option<bool> {
        self.known(at, of)?.links.values().next().copied()
    }

    fn overview(&self, number: u8) -> Overview {
        self.nodes[&number].0.status().now()
    }

    fn wait_until_connected(&self) {
        for number in self.nodes.keys() {
            wait_for(&format!("n{number} is connected"), || {
                let overview = self.overview(*number);
                overview.connected_count() == overview.total_count()
                    && overview.total_count() == self.snapshot.nodes.len() - 1
            });
        }
    }

    fn wait_until_known(&self, of: u8, is_up: bool) {
        for at in self.nodes.keys() {
            wait_for(&format!("f{of} is {is_up} at n{at}"), || {
                self.is_up(*at, of) == Some(is_up)
            });
        }
    }

    /// As a peer that says that it is `node`; what it is answered.
    async fn visit(
        &self,
        number: u8,
        node: &str,
        version: u32,
    ) -> (Channel<tokio::net::TcpStream>, Result<Message, Problem>) {
        let address = (self.address(number), DEFAULT_PORT);
        wait_for("it answers", || TcpStream::connect(address).is_ok());
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let keys = Keys::parse(KEY.as_bytes()).unwrap();
        let mut channel = Channel::dial(stream, keys.first()).await.unwrap();
        channel.send(&[hello(node, version)]).await.unwrap();
        let answer = channel.receive().await;
        (channel, answer)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn hello(node: &str, version: u32) -> Message {
    Message::Hello {
        version,
        node: node.to_owned(),
        instance: String::new(),
    }
}

fn forwarders(nodes: u8) -> Vec<Forwarder> {
    let declared = |number| format!("{{name: f{number}, node: n{number}}}");
    let declared: Vec<String> = (1..=nodes).map(declared).collect();
    let text = format!(
        "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\nmetadata: {{name: t}}\n\
         spec:\n  forwarders: [{}]\n  links: [{{a: f1, b: f2}}]\n",
        declared.join(", ")
    );
    let topology = crds::read("test", text.as_bytes()).unwrap();
    let names = (1..=nodes).map(|number| format!("n{number}"));
    let nodes: Vec<Node> = names.map(|name| Node::from(name.as_str())).collect();
    crds::expand(&topology[0], &nodes, &[], &Instances::new()).unwrap()
}

#[test]
fn each_change_reaches_every_peer() {
    let mut mesh = Mesh::new(3);
    mesh.report(1, true);
    mesh.wait_until_known(1, true);
    assert_eq!(mesh.known(3, 1).unwrap().origin, "n1");
    mesh.wait_until_connected();
    for is_up in [false, true, false] {
        mesh.report(1, is_up);
        mesh.wait_until_known(1, is_up);
    }
    mesh.report(2, true);
    mesh.wait_until_known(2, true);

    // It is declared no more, first at its own node.
    let gone = mesh.snapshot.forwarders.remove("t.f1").unwrap();
    for number in [1, 2, 3] {
        mesh.tell(number, &mesh.snapshot);
    }
    for at in [1, 2, 3] {
        wait_for("the report is gone", || mesh.known(at, 1).is_none());
    }
    assert_eq!(mesh.is_up(3, 2), Some(true));
    assert_eq!(gone.spec.node, "n1");
}

#[test]
fn a_daemon_that_ends_and_comes_back_changes_nothing() {
    let mut mesh = Mesh::new(3);
    for number in [1, 2, 3] {
        mesh.report(number, true);
        mesh.wait_until_known(number, true);
    }
    mesh.wait_until_connected();
    let identity = |mesh: &Mesh| {
        let pairs = [1, 2, 3].map(|at| [1, 2, 3].map(|of| (at, of)));
        pairs
            .as_flattened()
            .iter()
            .map(|(at, of)| {
                let metadata =
                    fs::metadata(file_of(&mesh.reports(*at), &format!("t.f{of}"))).unwrap();
                (metadata.ino(), metadata.mtime_nsec())
            })
            .collect::<Vec<_>>()
    };
    let before = identity(&mesh);
    mesh.stop(1);
    for number in [2, 3] {
        wait_for("the loss is noticed", || {
            !mesh.overview(number).peers["n1"].is_connected()
        });
    }
    mesh.start(1);
    mesh.wait_until_connected();
    assert_eq!(identity(&mesh), before, "no file was written");
    // And what changes while a peer is away comes with it.
    mesh.stop(1);
    mesh.report(1, false);
    mesh.report(2, false);
    mesh.start(1);
    mesh.wait_until_known(1, false);
    mesh.wait_until_known(2, false);
}

#[test]
fn a_node_that_lost_its_reports_is_believed_and_told_anew() {
    let mut mesh = Mesh::new(3);
    for is_up in [true, false, true] {
        mesh.report(1, is_up);
        mesh.wait_until_known(1, is_up);
    }
    mesh.report(2, true);
    mesh.wait_until_known(2, true);
    mesh.stop(1);
    fs::remove_dir_all(mesh.reports(1)).unwrap();
    mesh.start(1);
    wait_for("it is told anew", || mesh.is_up(1, 2) == Some(true));
    mesh.wait_until_connected();
    // Its engine has yet to look: until then the last word stands.
    assert_eq!(mesh.known(2, 1).map(|report| report.seq), Some(3));
    mesh.report(1, false);
    mesh.wait_until_known(1, false);
    assert_eq!(mesh.known(2, 1).map(|report| report.seq), Some(1));
}

#[test]
fn reports_that_a_foreign_hand_removes_come_back() {
    let mesh = Mesh::new(2);
    mesh.report(2, true);
    mesh.wait_until_known(2, true);
    fs::remove_file(file_of(&mesh.reports(1), "t.f2")).unwrap();
    mesh.wait_until_known(2, true);
    fs::write(file_of(&mesh.reports(1), "t.f2"), "{").unwrap();
    mesh.wait_until_known(2, true);
    fs::rename(mesh.reports(1), mesh.directory.path().join("gone")).unwrap();
    mesh.wait_until_known(2, true);
    mesh.report(2, false);
    mesh.wait_until_known(2, false);
}

#[test]
fn a_daemon_without_the_key_is_refused_until_it_has_it() {
    let mut mesh = Mesh::new(3);
    mesh.stop(3);
    mesh.set_key(3, OTHER);
    mesh.start(3);
    mesh.report(3, true);
    let problem = |at, of| mesh.overview(at).peers.get(of)?.problem.clone();
    wait_for("its key is refused", || {
        problem(3, "n1").is_some_and(|problem| problem.contains("another"))
    });
    assert!(mesh.overview(1).problems.is_empty());
    assert_eq!(mesh.known(1, 3), None);
    fs::remove_file(mesh.key_file(2)).unwrap();
    wait_for("a key that went is told", || {
        mesh.overview(2).problems.contains_key("key")
    });
    mesh.set_key(2, KEY);
    mesh.set_key(3, KEY);
    mesh.wait_until_known(3, true);
    mesh.wait_until_connected();
    assert!(mesh.overview(2).problems.is_empty());
}

#[test]
fn keys_are_changed_in_three_steps() {
    let mesh = Mesh::new(2);
    let mut is_up = true;
    for (one, two) in [
        (KEY.to_owned(), format!("{KEY}\n{OTHER}\n")),
        (format!("{KEY}\n{OTHER}"), format!("{OTHER}\n{KEY}\n")),
        (OTHER.to_owned(), format!("{OTHER}\n{KEY}")),
        (OTHER.to_owned(), OTHER.to_owned()),
    ] {
        mesh.set_key(1, &one);
        mesh.set_key(2, &two);
        for number in [1, 2] {
            mesh.report(number, is_up);
            mesh.wait_until_known(number, is_up);
        }
        is_up = !is_up;
    }
    mesh.wait_until_connected();
    // The old key is out of use.
    let keys = Keys::parse(KEY.as_bytes()).unwrap();
    let is_refused = async || {
        let stream = tokio::net::TcpStream::connect((mesh.address(1), DEFAULT_PORT)).await;
        let dialled = Channel::dial(stream.unwrap(), keys.first()).await;
        matches!(dialled, Err(Problem::Refused))
    };
    wait_for("the old key is refused", || {
        runtime().block_on(is_refused())
    });
}

#[test]
fn the_newest_connection_of_a_peer_ends_the_one_before() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    runtime().block_on(async {
        let (mut first, answer) = mesh.visit(1, "n2", VERSION).await;
        assert!(matches!(answer, Ok(Message::Hello { node, .. }) if node == "n1"));
        let (mut second, _) = mesh.visit(1, "n2", VERSION).await;
        assert!(matches!(
            first.receive().await,
            Err(Problem::Closed | Problem::Io(_))
        ));
        second.send(&[Message::Ping]).await.unwrap();
        assert_eq!(second.receive().await.unwrap(), Message::Pong);
    });
}

#[test]
fn who_is_not_of_this_version_or_says_what_it_may_not_is_sent_away() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    runtime().block_on(async {
        #[rustfmt::skip]
        let visitors = [
            ("n2",     VERSION + 1, Message::Ping),
            ("n1",     VERSION,     Message::Ping),
            ("../etc", VERSION,     Message::Ping),
            ("n2",     VERSION,     hello("n2", VERSION)),
            ("n2",     VERSION,     Message::Report { forwarder: "../f".into(), seq: 1, links: [].into() }),
        ];
        for (node, version, message) in visitors {
            let (mut channel, _) = mesh.visit(1, node, version).await;
            // It may be closed by now.
            let _ = channel.send(&[message]).await;
            let end = channel.receive().await;
            assert!(matches!(end, Err(Problem::Closed | Problem::Io(_))), "{node}: {end:?}");
        }
    });
    assert!(!mesh.reports(1).join("../f.json").exists());
}

#[test]
fn who_says_nothing_is_given_up_on_both_sides() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    mesh.stop(1);
    mesh.timing = Timing {
        keep_alive: Duration::from_millis(50),
        silence: Duration::from_millis(400),
        handshake: Duration::from_millis(400),
        ..mesh.timing
    };
    let listener = TcpListener::bind((mesh.address(2), DEFAULT_PORT)).unwrap();
    listener.set_nonblocking(true).unwrap();
    mesh.start(1);
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let keys = Keys::parse(KEY.as_bytes()).unwrap();
        // One that never greets, one that greets and is silent; both are dialled anew.
        let mut kept = vec![listener.accept().await.unwrap().0];
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut channel, _) = Channel::answer(stream, &keys).await.unwrap();
            channel.send(&[hello("n2", VERSION)]).await.unwrap();
            while !matches!(
                channel.receive().await,
                Err(Problem::Closed | Problem::Io(_))
            ) {}
        }
        kept.clear();
        let (mut channel, _) = mesh.visit(1, "n2", VERSION).await;
        assert!(matches!(
            channel.receive().await,
            Err(Problem::Closed | Problem::Io(_))
        ));
    });
    let problem = mesh.overview(1).peers["n2"].problem.clone();
    assert!(problem.is_some_and(|problem| problem.contains("heard") || problem.contains("answer")));
}

#[test]
fn idle_strangers_do_not_keep_peers_out() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    let address = (mesh.address(1), DEFAULT_PORT);
    wait_for("it answers", || TcpStream::connect(address).is_ok());
    let strangers: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    mesh.start(2);
    mesh.wait_until_connected();
    drop(strangers);
}
