//! Checks of liveness and readiness that every daemon has.

use std::time::Instant;

use ::telemetry::{Check, Probes};

use super::Heartbeat;

/// Probes of a daemon: live while the engine is, ready while the engine is and every further check
/// passes.
pub fn probes(heartbeat: &Heartbeat) -> Probes {
    let engine = heartbeat.clone();
    let probes = Probes::new("engine", move || {
        let silence = engine.silence(Instant::now());
        Check::failed(silence.map(|late| format!("the engine is late by {} s", late.as_secs())))
    });
    let engine = heartbeat.clone();
    probes.ready_when("desired-state", move || {
        let is_ready = engine.is_ready();
        Check::failed((!is_ready).then(|| "the desired state was not read yet".to_owned()))
    });
    probes
}

#[cfg(test)]
mod tests {
    use std::future;
    use std::net::SocketAddr;
    use std::time::Duration;

    use ::telemetry::{Limits, Server, router};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::super::Metrics;
    use super::*;

    /// Longest time that a test waits for an answer.
    const LIMIT: Duration = Duration::from_secs(60);

    /// Serves probes and metrics as the daemon does.
    async fn serve(heartbeat: &Heartbeat, probes: Probes) -> SocketAddr {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), Limits::PROBES).await;
        let server = server.expect("a free port");
        let address = server.address().expect("bound");
        let metrics = Metrics::new(heartbeat);
        metrics.observe(Default::default);
        let routes = router(move || metrics.text(), probes);
        tokio::spawn(server.serve(routes, future::pending()));
        address
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let ask = async {
            let mut stream = TcpStream::connect(address).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = timeout(LIMIT, ask).await.expect("an answer in time");
        answer.expect("an answer")
    }

    #[tokio::test]
    async fn probes_and_metrics_are_answered() {
        let heartbeat = Heartbeat::default();
        let probes = probes(&heartbeat);
        probes.ready_when("peers", || Check::Warning("1 of 2 answers".to_owned()));
        let address = serve(&heartbeat, probes).await;
        assert!(get(address, "/livez").await.ends_with("\r\n\r\nok"));
        let unready = get(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 500 "), "{unready}");
        assert!(unready.contains("[-]desired-state failed: the desired state was not read yet\n"));
        heartbeat.set_ready(true);
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
    async fn strangers_that_hold_idle_connections_keep_no_probe_from_its_answer() {
        let heartbeat = Heartbeat::default();
        let address = serve(&heartbeat, probes(&heartbeat)).await;
        let (opened, mut open) = mpsc::unbounded_channel();
        let hold = |opened: mpsc::UnboundedSender<()>| async move {
            loop {
                let mut stream = TcpStream::connect(address).await.expect("it listens");
                let _ = opened.send(());
                // Opened again whenever it is closed.
                let _ = stream.read(&mut [0]).await;
            }
        };
        for _ in 0..600 {
            tokio::spawn(hold(opened.clone()));
        }
        for _ in 0..600 {
            open.recv().await.expect("strangers hold connections");
        }
        assert!(get(address, "/livez").await.ends_with("\r\n\r\nok"));
    }
}
