//! The port that probes and metrics are asked on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Most connections at once: the kubelet's, a scraper's or two, and somebody who looks.
const CONNECTIONS: usize = 16;
/// Longest time for the head of a request, and between two requests.
const SILENCE: Duration = Duration::from_secs(10);
/// Longest life of a connection: who keeps one for ever keeps others out.
const LIFE: Duration = Duration::from_secs(300);
/// Rest after the port could not be had, or a connection not be accepted.
const PAUSE: Duration = Duration::from_secs(1);

/// A port that is listened on.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        Ok(Server { listener })
    }

    /// Listens as soon as the daemon before this one lets go.
    pub async fn bind_in_time(address: SocketAddr) -> Server {
        let mut is_told = false;
        loop {
            match Server::bind(address).await {
                Ok(server) => return server,
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%address, %error, "failed to serve probes and metrics");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Where it listens: the port that was found where 0 was asked for.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for ever.
    pub async fn serve(self, router: Router) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let router = router.clone();
                    tokio::spawn(async move {
                        // Over time or hung up: nobody is left to tell.
                        let _ = timeout(LIFE, requests(stream, router)).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn requests(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc::unbounded_channel;

    use ::telemetry::{Check, router};

    use super::super::{Metrics, Vitals, probes};
    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it takes requests");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("it answers");
        answer
    }

    #[tokio::test]
    async fn probes_and_metrics_are_answered() {
        let vitals = Vitals::default();
        let probes = probes(&vitals);
        probes.ready_when("peers", || Check::Warning("1 of 2 answers".to_owned()));
        let server = Server::bind(([127, 0, 0, 1], 0).into())
            .await
            .expect("a port");
        let address = server.address().expect("bound");
        let metrics = Metrics::new(&vitals);
        metrics.observe(Default::default);
        tokio::spawn(server.serve(router(move || metrics.text(), probes)));
        assert!(get(address, "/livez").await.ends_with("\r\n\r\nok"));
        let unready = get(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 500 "), "{unready}");
        assert!(unready.contains("[-]desired-state failed: the desired state was not read yet\n"));
        vitals.set_ready(true);
        assert!(get(address, "/readyz").await.ends_with("\r\n\r\nok"));
        let verbose = get(address, "/readyz?verbose").await;
        assert!(verbose.starts_with("HTTP/1.1 200 "), "{verbose}");
        assert!(
            verbose.contains("[!]peers warning: 1 of 2 answers\n"),
            "{verbose}"
        );
        assert!(verbose.ends_with("readyz check passed\n"), "{verbose}");
        let metrics = get(address, "/metrics").await;
        assert!(
            metrics.contains("\r\ncontent-type: text/plain; version=0.0.4"),
            "{metrics}"
        );
        assert!(
            metrics.contains("\nbeemesh_node_forwarders 0\n"),
            "{metrics}"
        );
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    }
    #[tokio::test]
    async fn a_scrape_that_waits_keeps_nobody_else_waiting() {
        let (begin, mut begun) = unbounded_channel();
        let (release, released) = mpsc::channel();
        let released = Arc::new(Mutex::new(released));
        let scrape = move || {
            begin.send(()).expect("somebody waits for it");
            let released = released.lock().expect("one scrape");
            let is_released = released.recv_timeout(Duration::from_secs(60)).is_ok();
            format!("released {is_released}\n")
        };
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await;
        let server = server.expect("a port");
        let address = server.address().expect("bound");
        tokio::spawn(server.serve(router(scrape, probes(&Vitals::default()))));
        let metrics = tokio::spawn(get(address, "/metrics"));
        begun.recv().await.expect("the scrape begins");
        assert!(get(address, "/livez").await.ends_with("\r\n\r\nok"));
        release.send(()).expect("the scrape waits");
        let metrics = metrics.await.expect("no panic");
        assert!(metrics.ends_with("released true\n"), "{metrics}");
    }
}
