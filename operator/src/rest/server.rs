//! Listener of the REST API: where it is bound, plain or with TLS.

use std::{future::Future, io, net::SocketAddr};

use ::telemetry::{Limits, Tls, TlsError};
use axum::Router;

use super::Options;

/// A listener that is bound and not served yet.
pub struct Server {
    listener: ::telemetry::Server,
    tls: Option<Tls>,
}

/// Error of a listener that cannot be served.
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
        /// The address.
        address: SocketAddr,
        /// The cause.
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
        let bind = ::telemetry::Server::bind(address, Limits::API).await;
        let listener = bind.map_err(|source| ListenError::Bind { address, source })?;
        Ok(Server { listener, tls })
    }

    /// The address that is bound: the port that was found where 0 was asked for.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.address()
    }

    /// Serves `router` until `stop`, then lets requests that are under way end.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        match self.tls {
            Some(tls) => {
                let handshake = tls.handshake();
                self.listener.serve_with(handshake, router, stop).await;
            }
            None => self.listener.serve(router, stop).await,
        }
    }
}
