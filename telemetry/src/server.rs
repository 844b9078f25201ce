//! HTTP/1 server: accept loop, limits of connections, graceful end.
//!
//! ```text
//! listener --> admit (evicts where it is full) --> handshake --> requests --> router
//! ```
//! A connection is always accepted. Beyond the limit, the connection with the fewest requests is closed, so that idle
//! connections do not block probes.

mod connections;
mod rate;
mod tls;

use std::{
    convert::Infallible,
    future::{self, Future},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::yield_now,
    time::{sleep, timeout},
};

use self::connections::{Connections, Id, Peer, State};
pub use self::{
    rate::Rate,
    tls::{Tls, TlsError, TlsFiles},
};

/// Longest time from the connection to the head of the first request, TLS handshake included.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// Longest time for the head of a request, and between two requests.
const SILENCE: Duration = Duration::from_secs(10);

/// Longest time without progress of a write, after which the kernel ends the connection.
const UNREAD: Duration = Duration::from_secs(30);

/// Longest time from the wish to end to the end.
const GRACE: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Pause after the address could not be bound.
const BIND_PAUSE: Duration = Duration::from_secs(1);

/// Limits of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all remote peers together.
    pub connections: usize,
    /// Of one peer: an IPv4 address, an IPv6 network of 64 bits, or this host.
    pub connections_of_peer: usize,
}

impl Limits {
    /// For probes and metrics: the kubelet, one or two scrapers, a user.
    pub const PROBES: Limits = Limits {
        connections: 64,
        connections_of_peer: 8,
    };

    /// For an API: behind a proxy all callers are one peer.
    pub const API: Limits = Limits {
        connections: 512,
        connections_of_peer: 128,
    };
}

/// A byte stream that requests come on.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The stream of a connection once it is ready for requests.
pub type Handshake = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// A listener that is bound and not served yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: Limits,
}

impl Server {
    /// Binds the address; port 0 is any free one.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(address: SocketAddr, limits: Limits) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        Ok(Server { listener, limits })
    }

    /// Binds the address as soon as the process before this one lets go of it.
    pub async fn bind_in_time(address: SocketAddr, limits: Limits) -> Server {
        let mut is_logged = false;
        loop {
            match Server::bind(address, limits).await {
                Ok(server) => return server,
                Err(error) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        tracing::warn!(%address, %error, "failed to listen, will try again");
                    }
                    sleep(BIND_PAUSE).await;
                }
            }
        }
    }

    /// The address that is bound.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `router` until `stop`, then lets requests that are under way end.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let plain = |stream: TcpStream| -> Handshake {
            Box::pin(future::ready(Ok(Box::new(stream) as Box<dyn Stream>)))
        };
        self.serve_with(plain, router, stop).await;
    }

    /// As [`Server::serve`], over what `handshake` makes of each connection.
    pub async fn serve_with(
        self,
        mut handshake: impl FnMut(TcpStream) -> Handshake,
        router: Router,
        stop: impl Future<Output = ()>,
    ) {
        let graceful = GracefulShutdown::new();
        let table = Table::new(self.limits);
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => accepted,
            };
            let limited = accepted.and_then(|(stream, remote)| {
                limit_unread(&stream, UNREAD)?;
                Ok((stream, remote))
            });
            let (stream, remote) = match limited {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let peer = Peer::of(remote, stream.local_addr().ok());
            let connection = Connection {
                slot: table.admit(peer),
                router: router.clone(),
                watcher: graceful.watcher(),
            };
            tokio::spawn(connection.run(handshake(stream)));
            // Under any load, an admitted connection is polled before it can be the oldest.
            yield_now().await;
        }
        drop(self.listener);
        if timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("ended with requests under way");
        }
    }
}

/// Has the kernel end a connection whose reader has taken nothing for so long.
fn limit_unread(stream: &TcpStream, longest: Duration) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(Some(longest))
}

/// The connections of a server. Clones share them.
#[derive(Clone)]
struct Table(Arc<Mutex<Connections>>);

impl Table {
    fn new(limits: Limits) -> Table {
        let connections = Connections::new(limits.connections, limits.connections_of_peer);
        Table(Arc::new(Mutex::new(connections)))
    }

    fn admit(&self, peer: Peer) -> (Slot, oneshot::Receiver<()>) {
        let (id, evicted) = self.lock().admit(peer, Instant::now());
        let table = self.clone();
        (Slot { id, table }, evicted)
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // Every change leaves the value whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection in the table, until it is dropped.
struct Slot {
    id: Id,
    table: Table,
}

impl Slot {
    fn set(&self, state: State) {
        self.table.lock().set(self.id, state, Instant::now());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.table.lock().remove(self.id);
    }
}

struct Connection {
    slot: (Slot, oneshot::Receiver<()>),
    router: Router,
    watcher: Watcher,
}

impl Connection {
    /// Serves requests until the peer hangs up, is silent for too long, or the connection is evicted.
    async fn run(self, handshake: Handshake) {
        let (slot, evicted) = self.slot;
        let (asked, first_request) = oneshot::channel();
        let served = requests(handshake, slot, asked, self.router, self.watcher);
        let is_silent = async {
            if timeout(FIRST_REQUEST, first_request).await.is_ok() {
                future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = served => {}
            _ = evicted => tracing::debug!("evicted a connection: there are too many"),
            () = is_silent => tracing::debug!("ended a connection without a request"),
        }
    }
}

async fn requests(
    handshake: Handshake,
    slot: Slot,
    asked: oneshot::Sender<()>,
    router: Router,
    watcher: Watcher,
) {
    let stream = match handshake.await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
    };
    let (slot, routes) = (Arc::new(slot), TowerToHyperService::new(router));
    let asked = Mutex::new(Some(asked));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let first = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Dropped by the receiver when the connection ends first.
        let _ = first.map(|asked| asked.send(()));
        let busy = Busy::begin(&slot);
        let answer = routes.call(request);
        async move {
            let answer: Response = answer.await?;
            Ok::<_, Infallible>(answer.map(|body| Counted { body, _busy: busy }))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A request that is being answered, until it is dropped.
struct Busy(Arc<Slot>);

impl Busy {
    fn begin(slot: &Arc<Slot>) -> Busy {
        slot.set(State::Busy);
        Busy(Arc::clone(slot))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set(State::Idle);
    }
}

/// A body whose request is under way until its end.
struct Counted {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
