//! Certificate and key, read again when their files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Handshake, Stream};

/// Paths of certificate and key, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, then those that vouch for it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Error of the TLS setup.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or may not be read.
    #[error("failed to read {file}")]
    Read {
        /// Path of the file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("expected {what} in PEM in {file}")]
    Pem {
        /// A certificate or a key.
        what: &'static str,
        /// Path of the file.
        file: PathBuf,
        /// Error of the parser.
        source: rustls::pki_types::pem::Error,
    },
    /// They do not fit.
    #[error("failed to use the certificate with the key")]
    Pair(#[from] rustls::Error),
}

/// TLS configuration in use.
pub struct Tls {
    files: TlsFiles,
    seen: Option<[Stamp; 2]>,
    acceptor: TlsAcceptor,
}

/// Version of a file: inode, length, time in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl Tls {
    /// The certificate and key of these files.
    ///
    /// # Errors
    /// They cannot be read, or are no pair.
    pub fn new(files: TlsFiles) -> Result<Tls, TlsError> {
        Ok(Tls {
            seen: stamps(&files),
            acceptor: load(&files)?,
            files,
        })
    }

    /// Handshake of each connection, for [`super::Server::serve_with`].
    pub fn handshake(mut self) -> impl FnMut(TcpStream) -> Handshake {
        move |stream| {
            let acceptor = self.acceptor();
            Box::pin(async move {
                let stream = acceptor.accept(stream).await?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            })
        }
    }

    /// For the next connection: with the new certificate once it is there whole.
    fn acceptor(&mut self) -> TlsAcceptor {
        let stamps = stamps(&self.files);
        if stamps != self.seen {
            match load(&self.files) {
                Ok(acceptor) => {
                    tracing::info!(file = %self.files.certificate.display(), "certificate reloaded");
                    self.acceptor = acceptor;
                }
                Err(error) => {
                    tracing::warn!(%error, "certificate not reloaded, the old one stays in use")
                }
            }
            // Half-written files change once more.
            self.seen = stamps;
        }
        self.acceptor.clone()
    }
}

fn stamps(files: &TlsFiles) -> Option<[Stamp; 2]> {
    let stamp = |file: &Path| {
        let metadata = fs::metadata(file).ok()?;
        let times = (metadata.mtime(), metadata.mtime_nsec());
        Some((metadata.ino(), metadata.len(), times.0, times.1))
    };
    Some([stamp(&files.certificate)?, stamp(&files.key)?])
}

fn load(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let text = read(&files.certificate)?;
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(pem("a certificate", &files.certificate))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?);
    let key = key.map_err(pem("a key", &files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read {
        file: file.to_owned(),
        source,
    })
}

fn pem(what: &'static str, file: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> TlsError {
    let file = file.to_owned();
    move |source| TlsError::Pem { what, file, source }
}
