//! Connections: how many, how long, plain or TLS, and their end.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Options,
    tls::{Tls, TlsError},
};

/// Most connections at once; further ones wait.
const CONNECTIONS: usize = 512;

/// Longest time for a TLS handshake, for the head of a request, and between two requests.
const SILENCE: Duration = Duration::from_secs(10);

/// Longest time from the wish to end to the end.
const GRACE: Duration = Duration::from_secs(10);

/// Longest time in which a reader takes nothing of what was written, or the kernel ends the connection.
const DEAF: Duration = Duration::from_secs(30);

/// Rest after a connection could not be accepted, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that is bound and not served yet.
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Tokens would go over the network for all to read.
    #[error(
        "refused to serve the REST API without TLS on {0}: tokens could be read on the way; \
         give --tls-cert and --tls-key, listen on 127.0.0.1, or insist with --insecure-api"
    )]
    Plain(SocketAddr),
    /// The address is taken, or not ours.
    #[error("failed to listen on {address}")]
    Bind {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificate or key are not there or do not fit.
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound, may not be served plain, or its certificate is no good.
    pub async fn bind(options: &Options) -> Result<Server, ListenError> {
        let address = options.address;
        let tls = options.tls.clone().map(Tls::new).transpose()?;
        if tls.is_none() && !address.ip().is_loopback() && !options.insecure {
            return Err(ListenError::Plain(address));
        }
        let bind = TcpListener::bind(address).await;
        let listener = bind.map_err(|source| ListenError::Bind { address, source })?;
        Ok(Server { listener, tls })
    }

    /// Where it listens: the port that was found where 0 was asked for.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `router` until `stop`, then lets requests that are under way end.
    pub async fn serve(mut self, router: Router, stop: impl Future<Output = ()>) {
        let connections = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut stop = pin!(stop);
        loop {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = &mut stop => break,
                next = next => next,
            };
            let stream = match accepted.and_then(|(stream, _)| heard(stream, DEAF)) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let acceptor = self.tls.as_mut().map(Tls::acceptor);
            let connection = connection(stream, acceptor, router.clone(), connections.watcher());
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        drop(self.listener);
        if timeout(GRACE, connections.shutdown()).await.is_err() {
            tracing::warn!("ended with requests under way");
        }
    }
}

/// A connection that ends when its reader has taken nothing for so long.
fn heard(stream: TcpStream, longest: Duration) -> io::Result<TcpStream> {
    SockRef::from(&stream).set_tcp_user_timeout(Some(longest))?;
    Ok(stream)
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) {
    let Some(acceptor) = acceptor else {
        return requests(stream, router, watcher).await;
    };
    match timeout(SILENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, router, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    watcher: Watcher,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn who_reads_nothing_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has one");
        let _deaf = TcpStream::connect(address).await.expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = heard(stream, Duration::from_millis(100)).expect("TCP");
        let write = async {
            loop {
                if let Err(error) = stream.write_all(&[0; 1 << 16]).await {
                    return error.kind();
                }
            }
        };
        let ended = timeout(Duration::from_secs(60), write).await;
        assert_eq!(ended, Ok(io::ErrorKind::TimedOut));
    }
}
