//! Sending side of flooding: one connection to each peer, redialled for ever, that carries this
//! node's reports.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use linkstate::{Sequence, Versions};

use super::backoff::{Backoff, random};
use super::channel::Channel;
use super::error::{Error, chain};
use super::keys::Keys;
use super::membership::Membership;
use super::message::Message;
use super::peer_sync::PeerState;
use super::status::Status;
use super::{Reports, Settings, Timing};

/// State shared by all connections.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) settings: Arc<Settings>,
    /// Random id of this process.
    pub(super) instance: String,
    pub(super) keys: watch::Receiver<Option<Arc<Keys>>>,
    pub(super) members: watch::Receiver<Arc<Membership>>,
    pub(super) reports: Reports,
    pub(super) status: Arc<Status>,
    /// Room for peers that are dialled.
    pub(super) room: Arc<Semaphore>,
}

impl Context {
    pub(super) fn timing(&self) -> Timing {
        self.settings.timing
    }

    /// Hello to a node whose reports are known up to the sequence `known`.
    pub(super) fn hello(&self, known: Sequence) -> Message {
        Message::Hello {
            speaks: Some(Versions::OURS),
            node: self.settings.node.clone(),
            instance: self.instance.clone(),
            known,
        }
    }

    /// Addresses of a peer, each with the own source address.
    fn addresses(&self, peer: &str) -> Vec<(SocketAddr, Option<IpAddr>)> {
        let members = self.members.borrow();
        let addresses = members.peers.get(peer).into_iter().flatten();
        let port = self.settings.peer_port;
        let with_own = |ip: &IpAddr| {
            let mut own = members
                .own
                .iter()
                .filter(|own| own.is_ipv4() == ip.is_ipv4());
            (SocketAddr::new(*ip, port), own.next().copied())
        };
        addresses.map(with_own).collect()
    }
}

/// Keeps `peer` synchronised, for ever. `wake` ends a pause: the peer is reachable, or has other
/// addresses.
pub(super) async fn dial(peer: String, mut context: Context, wake: Arc<Notify>) {
    let mut backoff = Backoff::new(context.timing().redial);
    loop {
        // The channel of keys closes only when flooding ends.
        let Ok(keys) = context
            .keys
            .wait_for(Option::is_some)
            .await
            .map(|keys| keys.clone())
        else {
            return;
        };
        let Some(keys) = keys else { continue };
        // Others wait in turn; nobody closes it.
        let room = context.room.clone().acquire_owned().await;
        let started = Instant::now();
        let error = match connect(&peer, &context, &keys).await {
            Ok((channel, address)) => {
                tracing::info!(peer, %address, "connected to peer, sends link states");
                context.status.set_peer(&peer, |peer| peer.is_told = true);
                let Err(error) = send(channel, &mut context, &keys).await;
                context.status.set_peer(&peer, |peer| peer.is_told = false);
                error
            }
            Err(error) => {
                if error.is_silence() {
                    context.reports.presence.peer_lost(&peer);
                }
                error
            }
        };
        drop(room);
        if started.elapsed() > context.timing().silence {
            backoff.reset();
        }
        let error = chain(&error);
        if context.status.is_news(&peer, &error) {
            tracing::warn!(peer, error, "link states not sent to peer");
        }
        tokio::select! {
            () = sleep(backoff.next(random())) => {}
            () = wake.notified() => {}
            _ = context.keys.changed() => {}
        }
    }
}

/// Tries the addresses one after another.
async fn connect(
    peer: &str,
    context: &Context,
    keys: &Keys,
) -> Result<(Channel<TcpStream>, SocketAddr), Error> {
    let mut problem = Error::NoAddress;
    for (address, own) in context.addresses(peer) {
        match greet(peer, address, own, context, keys).await {
            Ok(channel) => return Ok((channel, address)),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

async fn greet(
    peer: &str,
    address: SocketAddr,
    own: Option<IpAddr>,
    context: &Context,
    keys: &Keys,
) -> Result<Channel<TcpStream>, Error> {
    let Timing {
        connect, handshake, ..
    } = context.timing();
    let silent = |after| move |_| Error::NoAnswer { after };
    let stream = timeout(connect, open(address, own));
    let stream = stream.await.map_err(silent(connect))??;
    // No delay: each message is awaited by the peer.
    stream.set_nodelay(true)?;
    let greeted = timeout(handshake, async {
        let mut channel = Channel::dial(stream, keys.first()).await?;
        channel.send(&[context.hello(Sequence::default())]).await?;
        let (node, known) = hello(channel.receive().await?)?;
        if node != peer {
            return Err(Error::Stranger { found: node });
        }
        context.reports.link_states.raise(known);
        Ok(channel)
    });
    greeted.await.map_err(silent(handshake))?
}

/// Connects from the source address that the peer knows; from any where the kernel does not have
/// it.
async fn open(address: SocketAddr, own: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(own) = own {
        // Any source address will do.
        let _ = socket.bind(SocketAddr::new(own, 0));
    }
    socket.connect(address).await
}

/// Node name in a hello, and the highest sequence of our reports that it knows.
///
/// # Errors
/// Another message, or no common version.
pub(super) fn hello(message: Message) -> Result<(String, Sequence), Error> {
    let ours = Versions::OURS;
    match message {
        Message::Hello {
            speaks,
            node,
            known,
            ..
        } => match speaks.filter(|theirs| ours.common(*theirs).is_some()) {
            Some(_) => Ok((node, known)),
            None => Err(Error::Version {
                theirs: speaks.map_or((1, 1), |it| (it.lowest, it.highest)),
                ours: (ours.lowest, ours.highest),
            }),
        },
        other => Err(Error::Unexpected {
            message: other.kind(),
        }),
    }
}

/// Sends all reports, then each change, until the connection breaks.
async fn send(
    mut channel: Channel<TcpStream>,
    context: &mut Context,
    keys: &Keys,
) -> Result<Infallible, Error> {
    let Timing {
        keep_alive,
        silence,
        ..
    } = context.timing();
    let link_states = Arc::clone(&context.reports.link_states);
    let mut generations = link_states.generations();
    let mut state = PeerState::default();
    let mut heard = Instant::now();
    let mut tick = interval(keep_alive);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        generations.mark_unchanged();
        let mut messages = state.catch_up(&link_states);
        tokio::select! {
            biased;
            () = std::future::ready(()), if !messages.is_empty() => {}
            message = channel.receive() => {
                message?;
                heard = Instant::now();
            }
            _ = generations.changed() => {}
            _ = context.keys.changed() => {
                let is_kept = |now: &Arc<Keys>| now.first() == keys.first();
                if !context.keys.borrow_and_update().as_ref().is_some_and(is_kept) {
                    return Err(Error::KeyGone);
                }
            }
            _ = tick.tick() => {
                if heard.elapsed() > silence {
                    return Err(Error::Silent { after: silence });
                }
                messages.push(Message::Ping);
            }
        }
        timeout(silence, channel.send(&messages))
            .await
            .map_err(|_| Error::Silent { after: silence })??;
    }
}
