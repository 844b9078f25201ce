//! Hearing what peers report: whoever has a key is answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crds::names;
use nix::sys::socket::{setsockopt, sockopt::Ipv6V6Only};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::Timing;
use super::channel::Channel;
use super::dial::{Context, hello};
use super::error::{Error, chain};
use super::keys::Key;
use super::message::Message;

/// Most connections at one time that have not shown a key yet.
const MAX_HANDSHAKES: usize = 64;
/// Most connections at one time: one from each node that shares a topology with this one.
const MAX_CONNECTIONS: usize = crds::lint::MAX_NODES;
/// Most addresses whose last complaint is remembered.
const MAX_COMPLAINTS: usize = 256;
/// Most connections that wait to be answered.
const BACKLOG: u32 = 1024;

/// What happens on connections that were answered.
#[derive(Debug)]
pub(super) enum Event {
    /// A peer is there; dropping `end` ends the connection.
    Opened {
        peer: String,
        id: u64,
        end: oneshot::Sender<Error>,
    },
    /// It says something.
    Heard {
        peer: String,
        id: u64,
        message: Message,
    },
    /// It is gone.
    Closed { peer: String, id: u64 },
}

/// What the connections have in common.
#[derive(Debug)]
struct Hall {
    context: Context,
    events: mpsc::Sender<Event>,
    handshakes: Semaphore,
    connections: Semaphore,
    complaints: Mutex<BTreeMap<IpAddr, String>>,
}

/// Answers for ever.
pub(super) async fn answer(context: Context, events: mpsc::Sender<Event>) {
    let pause = context.timing().look;
    let hall = Arc::new(Hall {
        context,
        events,
        handshakes: Semaphore::new(MAX_HANDSHAKES),
        connections: Semaphore::new(MAX_CONNECTIONS),
        complaints: Mutex::default(),
    });
    let mut ids = 0..;
    loop {
        let problem = match listen(hall.context.settings.listen) {
            Ok(listener) => {
                hall.context.status.set_problem("port", None);
                accept(&hall, &listener, &mut ids).await
            }
            Err(error) => error,
        };
        let address = hall.context.settings.listen;
        let problem = format!("failed to answer at {address}: {problem}");
        hall.context.status.set_problem("port", Some(problem));
        sleep(pause).await;
    }
}

/// Where there is no IPv6, every address means every IPv4 address.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
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
            // Every address means every IPv4 address too, whatever the node's sysctl says.
            setsockopt(&socket, Ipv6V6Only, &false)?;
            socket
        }
    };
    // A daemon before this one may have left connections behind.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(
    hall: &Arc<Hall>,
    listener: &TcpListener,
    ids: &mut (impl Iterator<Item = u64> + Send),
) -> io::Error {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => return error,
        };
        let id = ids.next().unwrap_or_default();
        let hall = Arc::clone(hall);
        tokio::spawn(async move {
            let Err(error) = serve(&hall, stream, id).await;
            hall.complain(from.ip().to_canonical(), &error);
        });
    }
}

async fn serve(hall: &Hall, stream: TcpStream, id: u64) -> Result<Infallible, Error> {
    let many = |what, limit| move |_| Error::TooMany { what, limit };
    let handshake = hall.handshakes.try_acquire();
    let handshake = handshake.map_err(many("handshakes", MAX_HANDSHAKES))?;
    let after = hall.context.timing().handshake;
    let greeted = timeout(after, greet(hall, stream)).await;
    let (channel, key, peer) = greeted.map_err(|_| Error::NoAnswer { after })??;
    drop(handshake);
    let connection = hall.connections.try_acquire();
    let _connection = connection.map_err(many("connections", MAX_CONNECTIONS))?;
    let (end, ended) = oneshot::channel();
    let opened = Event::Opened {
        peer: peer.clone(),
        id,
        end,
    };
    hall.send(opened).await?;
    let Err(error) = hear(hall, channel, &key, (&peer, id), ended).await;
    hall.send(Event::Closed {
        peer: peer.clone(),
        id,
    })
    .await?;
    let text = chain(&error);
    if !matches!(error, Error::Replaced) && hall.context.status.is_news(&peer, &text) {
        tracing::warn!(peer, error = text, "link states are not heard");
    }
    Err(error)
}

async fn greet(hall: &Hall, stream: TcpStream) -> Result<(Channel<TcpStream>, Key, String), Error> {
    stream.set_nodelay(true)?;
    let keys = hall.context.keys.borrow().clone();
    let keys = keys.ok_or(Error::Key)?;
    let (mut channel, key) = Channel::answer(stream, &keys).await?;
    let theirs = channel.receive().await?;
    // Also where theirs is of another version: the other side shall be able to say so.
    channel.send(&[hall.context.hello()]).await?;
    let node = hello(theirs)?;
    if node == hall.context.settings.node {
        return Err(Error::Stranger { found: node });
    }
    if !names::is_dns_subdomain(&node) {
        return Err(Error::Name { name: node });
    }
    Ok((channel, key, node))
}

/// Passes on what a peer says, until the connection is of no more use.
async fn hear(
    hall: &Hall,
    mut channel: Channel<TcpStream>,
    key: &Key,
    (peer, id): (&str, u64),
    mut ended: oneshot::Receiver<Error>,
) -> Result<Infallible, Error> {
    let Timing { silence, .. } = hall.context.timing();
    let mut keys = hall.context.keys.clone();
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
        hall.send(Event::Heard {
            peer: peer.to_owned(),
            id,
            message,
        })
        .await?;
    }
}

impl Hall {
    async fn send(&self, event: Event) -> Result<(), Error> {
        self.events.send(event).await.map_err(|_| Error::Closed)
    }

    /// Logs why somebody was not listened to; aloud once for each address and reason.
    fn complain(&self, from: IpAddr, error: &Error) {
        let text = chain(error);
        let mut complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complaints.get(&from) == Some(&text) {
            return;
        }
        if complaints.len() >= MAX_COMPLAINTS {
            complaints.pop_first();
        }
        match error {
            // Peers that end are told of by name.
            Error::Closed | Error::Replaced | Error::Silent { .. } | Error::Io(_) => {
                tracing::debug!(%from, error = text, "a connection ended");
            }
            _ => tracing::warn!(%from, error = text, "a connection was not taken"),
        }
        complaints.insert(from, text);
    }
}
