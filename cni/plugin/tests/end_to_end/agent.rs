//! A node in miniature: speaks the real protocol, gives addresses, and fails on demand.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use cni::node_protocol::{self, Attachment, Claim, Key, Reply, Request, code};
use dataplane::netns::{self, Netns};
use socket2::SockRef;

/// Behaviour of the agent towards the next requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As the protocol asks.
    Serve,
    /// This answer to every request of this name.
    Answer(&'static str, Reply),
    /// No answer to requests of this name; `after` acting on them, or before.
    Stall { on: &'static str, after: bool },
    /// Bytes that are no message.
    Garble,
    /// The connection is closed on requests of this name.
    HangUp(&'static str),
}

pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
    shared: Arc<Shared>,
    pub(crate) events: mpsc::Receiver<String>,
}

struct Shared {
    state: Mutex<State>,
    events: mpsc::Sender<String>,
    forwarder: String,
}

pub(crate) struct State {
    pub(crate) mode: Mode,
    pub(crate) leases: BTreeMap<Key, Lease>,
    /// Topologies that take each pod: one attachment each.
    pub(crate) topologies: Vec<&'static str>,
    /// Gives each lease this address in place of the next.
    pub(crate) address: Option<&'static str>,
    pub(crate) requests: Vec<Request>,
    /// Releases that were done when nobody waited for the answer any more.
    pub(crate) unheard: Vec<Key>,
    given: u8,
    connections: u64,
}

pub(crate) struct Lease {
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) is_confirmed: bool,
    connection: u64,
}

impl Agent {
    /// Listens at `socket` for pods of the Forwarder namespace called `forwarder`.
    pub(crate) fn start(socket: &Path, forwarder: &str) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (sender, events) = mpsc::channel();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mode: Mode::Serve,
                leases: BTreeMap::new(),
                topologies: vec!["iot"],
                address: None,
                requests: Vec::new(),
                unheard: Vec::new(),
                given: 1,
                connections: 0,
            }),
            events: sender,
            forwarder: forwarder.to_owned(),
        });
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(shared) = weak.upgrade() else { return };
                thread::spawn(move || shared.serve(stream.unwrap()));
            }
        });
        Self {
            socket: socket.to_owned(),
            shared,
            events,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// Waits until something of this name has happened.
    pub(crate) fn wait_for(&self, event: &str) {
        loop {
            let seen = self.events.recv_timeout(Duration::from_secs(10));
            match seen {
                Ok(seen) if seen == event => return,
                Ok(_) => {}
                Err(error) => panic!("waiting for {event}: {error}"),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // New connections are refused from here on; the listener ends with the next one.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Shared {
    fn serve(&self, stream: UnixStream) {
        let connection = {
            let mut state = self.state.lock().unwrap();
            state.connections += 1;
            state.connections
        };
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = node_protocol::read::<Request>(&mut reader) {
            let name = name(&request);
            let released = match &request {
                Request::Release { key, .. } => Some(key.clone()),
                _ => None,
            };
            let mode = {
                let mut state = self.state.lock().unwrap();
                state.requests.push(request.clone());
                state.mode.clone()
            };
            let line = match mode {
                Mode::HangUp(on) if on == name => break,
                Mode::Garble => b"\xff{]\n".to_vec(),
                Mode::Answer(on, reply) if on == name => node_protocol::encode(&reply),
                Mode::Stall { on, after } if on == name => {
                    if after {
                        self.answer(request, connection, reader.get_ref());
                    }
                    let _ = self.events.send("stalled".into());
                    let _ = reader.read_to_end(&mut Vec::new());
                    break;
                }
                _ => node_protocol::encode(&self.answer(request, connection, reader.get_ref())),
            };
            if reader.get_mut().write_all(&line).is_err() {
                self.state.lock().unwrap().unheard.extend(released);
                break;
            }
        }
        self.hang_up(connection);
    }

    /// The plugin is gone: what it claimed on this connection and did not confirm is undone.
    fn hang_up(&self, connection: u64) {
        let mut state = self.state.lock().unwrap();
        let orphans: Vec<_> = state
            .leases
            .iter()
            .filter(|(_, lease)| lease.connection == connection && !lease.is_confirmed)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &orphans {
            self.free(&mut state, key);
        }
        drop(state);
        let _ = self.events.send("hung up".into());
    }

    fn answer(&self, request: Request, connection: u64, plugin: &UnixStream) -> Reply {
        let mut state = self.state.lock().unwrap();
        match request {
            // Read late, after the plugin was killed and perhaps after its retry.
            Request::Claim(_) if has_hung_up(plugin) => Reply::NotOurs,
            Request::Claim(claim) => self.claim(&mut state, &claim, connection),
            Request::Confirm { key } => match state.leases.get_mut(&key) {
                Some(lease) => {
                    lease.is_confirmed = true;
                    Reply::Done
                }
                None => Reply::Refused {
                    code: 106,
                    message: "nothing claimed".into(),
                },
            },
            Request::Abort { key } => {
                self.free(&mut state, &key);
                Reply::Done
            }
            Request::Release { key, .. } => Reply::Released(self.free(&mut state, &key)),
            Request::Check { key } => match state.leases.get(&key) {
                Some(lease) => Reply::Lease(lease.attachments.clone()),
                None => Reply::NoLease,
            },
            Request::Collect { network, valid } => {
                let is_stale = |key: &&Key| key.network == network && !valid.contains(key);
                let stale: Vec<_> = state.leases.keys().filter(is_stale).cloned().collect();
                let freed = stale.iter().flat_map(|key| self.free(&mut state, key));
                Reply::Released(freed.collect())
            }
            Request::Status => Reply::Status {
                ready: true,
                degraded: None,
            },
        }
    }

    fn claim(&self, state: &mut State, claim: &Claim, connection: u64) -> Reply {
        if let Some(lease) = state.leases.get_mut(&claim.key) {
            if lease.is_confirmed {
                let message = "attached already".into();
                return Reply::Refused {
                    code: code::ALREADY_ATTACHED,
                    message,
                };
            }
            lease.connection = connection;
            return Reply::Claimed(lease.attachments.clone());
        }
        if state.topologies.is_empty() {
            return Reply::NotOurs;
        }
        let topologies = state.topologies.clone();
        let attachments: Vec<_> = topologies
            .iter()
            .map(|topology| {
                state.given = state.given.wrapping_add(1).max(2);
                self.attachment(claim, topology, state.given, state.address)
            })
            .collect();
        let lease = Lease {
            attachments: attachments.clone(),
            is_confirmed: false,
            connection,
        };
        state.leases.insert(claim.key.clone(), lease);
        Reply::Claimed(attachments)
    }

    fn attachment(
        &self,
        claim: &Claim,
        topology: &str,
        number: u8,
        address: Option<&str>,
    ) -> Attachment {
        let address = address.map_or_else(|| format!("10.80.1.{number}/32"), str::to_owned);
        let pod_interface = match claim.chained {
            true => format!("bm-{topology}"),
            false => claim.key.ifname.clone(),
        };
        Attachment {
            topology: topology.into(),
            app: "sensors".into(),
            forwarder: "edge-a".into(),
            forwarder_netns: netns::path(&self.forwarder).display().to_string(),
            forwarder_interface: format!("app{number:012x}"),
            pod_interface,
            pod_mac: format!("02:00:00:00:01:{number:02x}"),
            forwarder_mac: format!("02:00:00:00:02:{number:02x}"),
            addresses: vec![
                address.parse().unwrap(),
                format!("fd00:80:0:1::{number:x}/128").parse().unwrap(),
            ],
            gateways: vec![
                "169.254.1.1".parse::<IpAddr>().unwrap(),
                "fe80::1".parse().unwrap(),
            ],
            routes: vec![
                "10.80.0.0/16".parse().unwrap(),
                "fd00:80::/48".parse().unwrap(),
            ],
            mtu: 1400,
            alias: format!("beemesh:{topology}/sensors/{}", claim.key.container_id),
        }
    }

    fn free(&self, state: &mut State, key: &Key) -> Vec<Attachment> {
        let attachments = state.leases.remove(key).map(|lease| lease.attachments);
        let attachments = attachments.unwrap_or_default();
        if let Ok(forwarder) = Netns::open(&self.forwarder) {
            for attachment in &attachments {
                // What is not ours is in the way of nobody here.
                let (name, alias) = (&attachment.forwarder_interface, &attachment.alias);
                let _ = dataplane::attachment::unwire(&forwarder, name, alias);
            }
        }
        attachments
    }
}

/// True when the other end is closed and everything it sent was read.
fn has_hung_up(stream: &UnixStream) -> bool {
    const PEEK_WITHOUT_WAITING: i32 = 0x2 | 0x40;
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(stream)
        .recv_with_flags(&mut byte, PEEK_WITHOUT_WAITING)
        .is_ok_and(|n| n == 0)
}

pub(crate) fn name(request: &Request) -> &'static str {
    match request {
        Request::Claim(_) => "claim",
        Request::Confirm { .. } => "confirm",
        Request::Abort { .. } => "abort",
        Request::Release { .. } => "release",
        Request::Check { .. } => "check",
        Request::Collect { .. } => "collect",
        Request::Status => "status",
    }
}
