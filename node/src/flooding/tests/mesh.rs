//! Several exchanges in one process, each on a loopback address of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crds::{Forwarder, Instances, Node, NodeObject};
use linkstate::{End, Reason, Report, Sequence, State, Versions};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::flooding::channel::Channel;
use crate::flooding::error::Error as Problem;
use crate::flooding::keys::Keys;
use crate::flooding::message::Message;
use crate::flooding::{DEFAULT_PORT, Flooding, Overview, Presence, Reports, Settings, Timing};
use crate::objects::Snapshot;
use crate::routing::link_state::{Accepted, Follower, LinkStates, Owners};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const KEY: &str = "a key of the mesh, thirty-two bytes or more";
pub(super) const OTHER: &str = "another key of it, thirty-two bytes or more";

pub(super) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Follows no report.
struct Nobody;

impl Follower for Nobody {
    fn report_changed(&self, _: &Accepted) {}
}

impl Presence for Nobody {
    fn peer_stopped(&self, _: &str) {}
    fn peer_back(&self, _: &str) {}
    fn peer_lost(&self, _: &str) {}
}

fn owners(snapshot: &Snapshot) -> Owners {
    let nodes = snapshot.forwarders.iter();
    Owners {
        node_by_forwarder: nodes
            .map(|(key, forwarder)| (key.clone(), forwarder.spec.node.clone()))
            .collect(),
        is_complete: snapshot.is_complete,
    }
}

/// Nodes `n1`, `n2`, ... with a Forwarder each, `t.f1`, `t.f2`, ..., all in one topology.
pub(super) struct Mesh {
    pub(super) directory: TempDir,
    pub(super) snapshot: Snapshot,
    subnet: [u8; 2],
    _held: TcpListener,
    pub(super) timing: Timing,
    pub(super) nodes: BTreeMap<u8, (Flooding, watch::Sender<Arc<Snapshot>>)>,
    /// The databases, which outlive their daemons unless they are forgotten.
    databases: BTreeMap<u8, Arc<LinkStates>>,
}

impl Mesh {
    pub(super) fn new(nodes: u8) -> Mesh {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (first, held) = hold(count);
        let mut mesh = Mesh {
            directory: tempfile::tempdir().unwrap(),
            snapshot: Snapshot {
                is_complete: true,
                ..Snapshot::default()
            },
            subnet: [first, count],
            _held: held,
            timing: Timing {
                look: Duration::from_millis(20),
                redial: Duration::from_millis(400),
                ..Timing::default()
            },
            nodes: BTreeMap::new(),
            databases: BTreeMap::new(),
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

    pub(super) fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b] = self.subnet;
        Ipv4Addr::new(127, a, b, number)
    }

    pub(super) fn key_file(&self, number: u8) -> PathBuf {
        self.directory.path().join(format!("key{number}"))
    }

    pub(super) fn set_key(&self, number: u8, text: &str) {
        let whole = self.directory.path().join("key");
        fs::write(&whole, text).unwrap();
        fs::rename(whole, self.key_file(number)).unwrap();
    }

    pub(super) fn start(&mut self, number: u8) {
        let (views, seen) = watch::channel(Arc::new(self.snapshot.clone()));
        let name = format!("n{number}");
        let settings = Settings {
            listen: (self.address(number), DEFAULT_PORT).into(),
            timing: self.timing,
            ..Settings::new(name.clone(), self.key_file(number), DEFAULT_PORT)
        };
        let database = self.databases.entry(number);
        let database = database.or_insert_with(|| Arc::new(LinkStates::new(&name, Vec::new(), 1)));
        database.set_owners(owners(&self.snapshot));
        let reports = Reports {
            link_states: Arc::clone(database),
            follower: Arc::new(Nobody),
            presence: Arc::new(Nobody),
        };
        let flooding = Flooding::start(settings, reports, seen).unwrap();
        self.nodes.insert(number, (flooding, views));
    }

    pub(super) fn stop(&mut self, number: u8) {
        self.nodes.remove(&number).expect("it runs");
    }

    /// Loses a node's database, and sets its clock back.
    pub(super) fn forget(&mut self, number: u8) {
        self.databases.remove(&number).expect("it ran");
    }

    pub(super) fn tell(&self, number: u8, snapshot: &Snapshot) {
        self.databases[&number].set_owners(owners(snapshot));
        self.nodes[&number]
            .1
            .send_replace(Arc::new(snapshot.clone()));
    }

    /// As the engine of a node reports on its Forwarder.
    pub(super) fn report(&self, number: u8, is_up: bool) {
        let state = if is_up { State::Up } else { State::Down };
        let ends = [("f1/f2".to_owned(), (state, Reason::None))].into();
        let forwarder = format!("t.f{number}");
        self.databases[&number]
            .publish(&forwarder, &ends, 0, 0)
            .unwrap();
    }

    /// Report that a node has of another node's Forwarder.
    pub(super) fn known(&self, at: u8, of: u8) -> Option<Arc<Report>> {
        self.databases[&at].valid(&format!("t.f{of}"))
    }

    pub(super) fn is_up(&self, at: u8, of: u8) -> Option<bool> {
        let report = self.known(at, of)?;
        report.ends.values().next().map(End::passes)
    }

    pub(super) fn overview(&self, number: u8) -> Overview {
        self.nodes[&number].0.status().now()
    }

    pub(super) fn wait_until_connected(&self) {
        for number in self.nodes.keys() {
            wait_for(&format!("n{number} is connected"), || {
                let overview = self.overview(*number);
                overview.connected_count() == overview.total_count()
                    && overview.total_count() == self.snapshot.nodes.len() - 1
            });
        }
    }

    pub(super) fn wait_until_known(&self, of: u8, is_up: bool) {
        for at in self.nodes.keys() {
            wait_for(&format!("f{of} is {is_up} at n{at}"), || {
                self.is_up(*at, of) == Some(is_up)
            });
        }
    }

    /// As a peer that says that it is `node`; what it is answered.
    pub(super) async fn visit(
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

/// First octets of loopback addresses that are reserved for this run of the tests while this is
/// held.
fn hold(count: u8) -> (u8, TcpListener) {
    let process = u8::try_from(std::process::id() % 250).unwrap();
    let held = (1..=u8::MAX).find_map(|turn| {
        let first = process.wrapping_add(turn).max(1);
        let address = Ipv4Addr::new(127, first, count, u8::MAX);
        let held = TcpListener::bind((address, DEFAULT_PORT)).ok()?;
        Some((first, held))
    });
    held.expect("addresses")
}

pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(super) fn hello(node: &str, version: u32) -> Message {
    Message::Hello {
        speaks: Some(Versions {
            lowest: version,
            highest: version,
        }),
        node: node.to_owned(),
        instance: String::new(),
        known: Sequence::default(),
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
