//! Telling one peer what this node reports: dialled for ever.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::backoff::{Backoff, random};
use super::channel::Channel;
use super::error::{Error, chain};
use super::keys::Keys;
use super::message::{Message, VERSION};
use super::status::Status;
use super::told::{Own, Told};
use super::view::View;
use super::{Settings, Timing};

/// What every connection needs.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) settings: Arc<Settings>,
    /// Differs from start to start.
    pub(super) instance: String,
    pub(super) keys: watch::Receiver<Option<Arc<Keys>>>,
    pub(super) view: watch::Receiver<Arc<View>>,
    pub(super) own: watch::Receiver<Arc<Own>>,
    pub(super) status: Arc<Status>,
}

impl Context {
    pub(super) fn timing(&self) -> Timing {
        self.settings.timing
    }

    pub(super) fn hello(&self) -> Message {
        Message::Hello {
            version: VERSION,
            node: self.settings.node.clone(),
            instance: self.instance.clone(),
        }
    }

    fn addresses(&self, peer: &str) -> Vec<SocketAddr> {
        let view = self.view.borrow();
        let addresses = view.peers.get(peer).into_iter().flatten();
        let port = self.settings.peer_port;
        addresses.map(|ip| SocketAddr::new(*ip, port)).collect()
    }
}

/// Keeps `peer` told, for ever. `wake` ends a pause: the peer is there, or has other addresses.
pub(super) async fn dial(peer: String, mut context: Context, wake: Arc<Notify>) {
    let mut backoff = Backoff::new(context.timing().redial);
    loop {
        // The keys' channel closes only when all of this ends.
        let Ok(keys) = context
            .keys
            .wait_for(Option::is_some)
            .await
            .map(|keys| keys.clone())
        else {
            return;
        };
        let Some(keys) = keys else { continue };
        let started = Instant::now();
        let error = match connect(&peer, &context, &keys).await {
            Ok((channel, address)) => {
                tracing::info!(peer, %address, "telling link states");
                context.status.set_peer(&peer, |peer| peer.is_told = true);
                let Err(error) = tell(channel, &mut context, &keys).await;
                context.status.set_peer(&peer, |peer| peer.is_told = false);
                error
            }
            Err(error) => error,
        };
        if started.elapsed() > context.timing().silence {
            backoff.reset();
        }
        let error = chain(&error);
        if context.status.is_news(&peer, &error) {
            tracing::warn!(peer, error, "link states are not told");
        }
        tokio::select! {
            () = sleep(backoff.next(random())) => {}
            () = wake.notified() => {}
            _ = context.keys.changed() => {}
        }
    }
}

/// Tries the addresses one after the other.
async fn connect(
    peer: &str,
    context: &Context,
    keys: &Keys,
) -> Result<(Channel<TcpStream>, SocketAddr), Error> {
    let mut problem = Error::NoAddress;
    for address in context.addresses(peer) {
        match greet(peer, address, context, keys).await {
            Ok(channel) => return Ok((channel, address)),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

async fn greet(
    peer: &str,
    address: SocketAddr,
    context: &Context,
    keys: &Keys,
) -> Result<Channel<TcpStream>, Error> {
    let Timing {
        connect, handshake, ..
    } = context.timing();
    let silent = |after| move |_| Error::NoAnswer { after };
    let stream = timeout(connect, TcpStream::connect(address));
    let stream = stream.await.map_err(silent(connect))??;
    // Every message is waited for.
    stream.set_nodelay(true)?;
    let greeted = timeout(handshake, async {
        let mut channel = Channel::dial(stream, keys.first()).await?;
        channel.send(&[context.hello()]).await?;
        let node = hello(channel.receive().await?)?;
        if node != peer {
            return Err(Error::Stranger { found: node });
        }
        Ok(channel)
    });
    greeted.await.map_err(silent(handshake))?
}

/// The node that says hello.
///
/// # Errors
/// When it is not that, or not of our version.
pub(super) fn hello(message: Message) -> Result<String, Error> {
    match message {
        Message::Hello {
            version: VERSION,
            node,
            ..
        } => Ok(node),
        Message::Hello { version, .. } => Err(Error::Version {
            theirs: version,
            ours: VERSION,
        }),
        other => Err(Error::Unexpected {
            message: other.kind(),
        }),
    }
}

/// Tells everything, then each change, until the connection is of no more use.
async fn tell(
    mut channel: Channel<TcpStream>,
    context: &mut Context,
    keys: &Keys,
) -> Result<Infallible, Error> {
    let Timing {
        keep_alive,
        silence,
        ..
    } = context.timing();
    let mut told = Told::default();
    let mut heard = Instant::now();
    let mut tick = interval(keep_alive);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let own = Arc::clone(&context.own.borrow_and_update());
        let mut messages = told.catch_up(&own);
        tokio::select! {
            biased;
            () = std::future::ready(()), if !messages.is_empty() => {}
            message = channel.receive() => {
                message?;
                heard = Instant::now();
            }
            _ = context.own.changed() => {}
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
