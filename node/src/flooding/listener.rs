//! Receiving side of flooding: incoming connections, which carry the peers' reports.

use std::convert::Infallible;
use std::io;
use std::mem::{Discriminant, discriminant};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::telemetry::{LogQuota, network};
use crds::names;
use linkstate::Sequence;
use nix::sys::socket::{setsockopt, sockopt::Ipv6V6Only};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::Timing;
use super::channel::Channel;
use super::dialer::{Context, hello};
use super::error::{Error, chain};
use super::keys::Key;
use super::message::Message;
use super::slots::Slots;
use crate::routing::link_state::Accepted;

/// Largest number of connections: the number of nodes of a topology.
pub(super) const MAX_CONNECTIONS: usize = crds::lint::MAX_NODES;
/// Backlog of the listening socket.
const BACKLOG: u32 = 1024;
/// Timeout of the handshake for addresses that are no peer's.
const STRANGER: Duration = Duration::from_secs(1);
/// Pause after a failed accept: file descriptors may be exhausted.
const PAUSE: Duration = Duration::from_millis(100);

/// Start and end of accepted connections.
#[derive(Debug)]
pub(super) enum Event {
    /// A peer has connected; dropping `end` ends the connection.
    Opened {
        peer: String,
        id: u64,
        end: oneshot::Sender<Error>,
    },
    /// The connection has ended.
    Closed { peer: String, id: u64 },
}

/// State shared by all connections.
#[derive(Debug)]
struct Common {
    context: Context,
    events: mpsc::Sender<Event>,
    slots: Mutex<Slots>,
    connections: Semaphore,
    complaints: Mutex<LogQuota<(IpAddr, Discriminant<Error>)>>,
}

/// Listens for ever.
pub(super) async fn listen(context: Context, events: mpsc::Sender<Event>) {
    let pause = context.timing().look;
    let common = Arc::new(Common {
        connections: Semaphore::new(context.settings.most_peers()),
        context,
        events,
        slots: Mutex::default(),
        complaints: Mutex::default(),
    });
    let address = common.context.settings.listen;
    let status = Arc::clone(&common.context.status);
    loop {
        match open(address) {
            Ok(listener) => {
                status.set_problem("port", None);
                accept(&common, &listener).await;
            }
            Err(error) => {
                let problem = format!("failed to answer at {address}: {error}");
                status.set_problem("port", Some(problem));
            }
        }
        sleep(pause).await;
    }
}

/// Opens the socket. Without IPv6, the wildcard address means every IPv4 address.
fn open(address: SocketAddr) -> io::Result<TcpListener> {
    match bind(address) {
        Err(error) if address.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // Dual stack: the wildcard address accepts IPv4 too, whatever the node's sysctl.
            setsockopt(&socket, Ipv6V6Only, &false)?;
            socket
        }
    };
    // An earlier daemon may have left connections in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts for ever. A failure mostly concerns one connection, or exhausted descriptors: the
/// backlog of the listener is kept.
async fn accept(common: &Arc<Common>, listener: &TcpListener) {
    let status = &common.context.status;
    let mut ids = 0..;
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                status.set_problem("accept", Some(format!("failed to accept a peer: {error}")));
                sleep(PAUSE).await;
                continue;
            }
        };
        status.set_problem("accept", None);
        let id = ids.next().unwrap_or_default();
        let common = Arc::clone(common);
        tokio::spawn(async move {
            let from = from.ip().to_canonical();
            let Err(error) = serve(&common, stream, from, id).await;
            common.complain(from, &error);
        });
    }
}

/// Slot that is freed when this is dropped.
struct Slot<'a> {
    common: &'a Common,
    from: IpAddr,
    is_peer: bool,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let slots = &self.common.slots;
        let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free(self.from, self.is_peer);
    }
}

async fn serve(
    common: &Common,
    stream: TcpStream,
    from: IpAddr,
    id: u64,
) -> Result<Infallible, Error> {
    let slot = common.slot(from)?;
    // Peers are as many as the cluster has nodes: there is room for one before it has greeted. Strangers have few slots.
    let mut room = match slot.is_peer {
        true => Some(common.room()?),
        false => None,
    };
    let after = match slot.is_peer {
        true => common.context.timing().handshake,
        false => common.context.timing().handshake.min(STRANGER),
    };
    let greeted = timeout(after, greet(common, stream)).await;
    let (channel, key, peer) = greeted.map_err(|_| Error::NoAnswer { after })??;
    drop(slot);
    if room.is_none() {
        room = Some(common.room()?);
    }
    let _room = room;
    let (end, ended) = oneshot::channel();
    common.context.reports.link_states.open(&peer, id);
    let opened = Event::Opened {
        peer: peer.clone(),
        id,
        end,
    };
    common.send(opened).await?;
    let presence = &common.context.reports.presence;
    presence.peer_back(&peer);
    let Err(error) = hear(common, channel, &key, (&peer, id), ended).await;
    if error.is_of_peers_kernel() {
        presence.peer_stopped(&peer);
    }
    common.context.reports.link_states.close(&peer, id);
    common
        .send(Event::Closed {
            peer: peer.clone(),
            id,
        })
        .await?;
    let text = chain(&error);
    if !matches!(error, Error::Replaced) && common.context.status.is_news(&peer, &text) {
        tracing::warn!(peer, error = text, "link states not received from peer");
    }
    Err(error)
}

async fn greet(
    common: &Common,
    stream: TcpStream,
) -> Result<(Channel<TcpStream>, Key, String), Error> {
    stream.set_nodelay(true)?;
    let keys = common.context.keys.borrow().clone();
    let keys = keys.ok_or(Error::Key)?;
    let (mut channel, key) = Channel::answer(stream, &keys).await?;
    let theirs = channel.receive().await?;
    let known = match &theirs {
        Message::Hello { node, .. } => common.context.reports.link_states.highest_of(node),
        _ => Sequence::default(),
    };
    // Sent also to another version, so that the other side can report it.
    channel.send(&[common.context.hello(known)]).await?;
    let (node, _) = hello(theirs)?;
    if node == common.context.settings.node {
        return Err(Error::Stranger { found: node });
    }
    if !names::is_dns_subdomain(&node) {
        return Err(Error::Name { name: node });
    }
    Ok((channel, key, node))
}

/// Receives a peer's reports until the connection breaks.
async fn hear(
    common: &Common,
    mut channel: Channel<TcpStream>,
    key: &Key,
    (peer, id): (&str, u64),
    mut ended: oneshot::Receiver<Error>,
) -> Result<Infallible, Error> {
    let Timing { silence, .. } = common.context.timing();
    let mut keys = common.context.keys.clone();
    loop {
        let message = tokio::select! {
            biased;
            end = &mut ended => return Err(end.unwrap_or(Error::Replaced)),
            _ = keys.changed() => {
                let now = keys.borrow_and_update();
                let is_accepted = now.iter().any(|keys| keys.accepted().any(|known| known == key));
                if !is_accepted {
                    return Err(Error::KeyGone);
                }
                continue;
            }
            message = timeout(silence, channel.receive()) => {
                message.map_err(|_| Error::Silent { after: silence })??
            }
        };
        if message == Message::Ping {
            let pong = timeout(silence, channel.send(&[Message::Pong]));
            pong.await.map_err(|_| Error::Silent { after: silence })??;
            continue;
        }
        for accepted in take(common, peer, id, message)? {
            common.context.reports.follower.report_changed(&accepted);
        }
    }
}

/// Merges one message into the database; returns the reports that became valid by it.
fn take(common: &Common, peer: &str, id: u64, message: Message) -> Result<Vec<Accepted>, Error> {
    let link_states = &common.context.reports.link_states;
    let accepted = match message {
        Message::Report(report) => {
            report.check()?;
            if report.origin != peer {
                return Err(Error::Stranger {
                    found: report.origin,
                });
            }
            link_states.hear(peer, id, report)?
        }
        Message::Withdrawn {
            forwarder,
            sequence,
        } => {
            if !linkstate::is_key(&forwarder) {
                return Err(Error::Name { name: forwarder });
            }
            link_states.hear_withdrawn(peer, id, &forwarder, sequence)
        }
        Message::Whole { pending } => return Ok(link_states.hear_whole(peer, id, &pending)),
        Message::Unknown => None,
        Message::Hello { .. } | Message::Ping | Message::Pong => {
            let message = message.kind();
            return Err(Error::Unexpected { message });
        }
    };
    Ok(accepted.into_iter().collect())
}

impl Common {
    async fn send(&self, event: Event) -> Result<(), Error> {
        self.events.send(event).await.map_err(|_| Error::Closed)
    }

    fn room(&self) -> Result<SemaphorePermit<'_>, Error> {
        let room = self.connections.try_acquire();
        room.map_err(|_| Error::TooMany {
            what: "connections",
            limit: self.context.settings.most_peers(),
        })
    }

    fn slot(&self, from: IpAddr) -> Result<Slot<'_>, Error> {
        let is_peer = self.context.members.borrow().has_address(from);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.take(from, is_peer) {
            true => Ok(Slot {
                common: self,
                from,
                is_peer,
            }),
            false => Err(Error::Handshakes),
        }
    }

    /// Logs a refused connection; as a warning for each network and kind of error once, within the quota.
    fn complain(&self, from: IpAddr, error: &Error) {
        if matches!(
            error,
            Error::Closed | Error::Replaced | Error::Silent { .. } | Error::Io(_)
        ) {
            // Ended connections of peers are reported by node name.
            return tracing::debug!(%from, error = chain(error), "connection ended");
        }
        let reason = (network(from), discriminant(error));
        let quota = self.complaints.lock();
        let mut quota = quota.unwrap_or_else(PoisonError::into_inner);
        if let Some(withheld) = quota.admit(reason, Instant::now()) {
            tracing::warn!(%from, error = chain(error), withheld, "connection refused");
        }
    }
}
