//! Listeners of the REST API and of probes, without an API server.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, routing::get};
use libtest_mimic::Trial;
use operator::rest::{ListenError, Options, Server};
use rcgen::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use telemetry::TlsFiles;
use tokio::{io::AsyncReadExt, runtime::Runtime, sync::oneshot};

use crate::client::{self, Answer, Asked};

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, crate::Test); 7] = [
        (
            "listener::idle_connections_keep_no_probe_from_its_answer",
            idle_connections_keep_no_probe_from_its_answer,
        ),
        (
            "listener::refuses_to_serve_plain_to_the_network",
            refuses_to_serve_plain_to_the_network,
        ),
        (
            "listener::a_new_certificate_is_served_once_it_is_whole",
            a_new_certificate_is_served_once_it_is_whole,
        ),
        (
            "listener::check_asks_where_the_system_trusts_nobody",
            check_asks_where_the_system_trusts_nobody,
        ),
        (
            "listener::a_certificate_that_is_none_is_told",
            a_certificate_that_is_none_is_told,
        ),
        (
            "listener::requests_under_way_end_before_the_listener_does",
            requests_under_way_end_before_the_listener_does,
        ),
        (
            "listener::the_program_says_why_it_does_not_start",
            the_program_says_why_it_does_not_start,
        ),
    ];
    tests
        .into_iter()
        .map(|(name, test)| e2e::trial(name, None, test))
        .collect()
}

fn refuses_to_serve_plain_to_the_network() -> Result<()> {
    let runtime = Runtime::new()?;
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let bind = |insecure| {
        let options = options(anywhere, None);
        runtime.block_on(Server::bind(&Options {
            insecure,
            ..options
        }))
    };
    let error = bind(false).err().context("it was served")?;
    ensure!(matches!(error, ListenError::Plain(_)), "{error}");
    ensure!(error.to_string().contains("--insecure-api"), "{error}");
    ensure!(bind(true).is_ok(), "it was insisted on");
    Ok(())
}

fn the_program_says_why_it_does_not_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = kubeconfig_of_nowhere(folder.path())?;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_beemesh-operator"))
        .args(["--listen-metrics=127.0.0.1:0", "--listen-api=0.0.0.0:0"])
        .env("KUBECONFIG", kubeconfig)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "{said}");
    ensure!(
        said.contains("--tls-cert") && said.contains("--insecure-api"),
        "{said}"
    );
    Ok(())
}

/// A kubeconfig of an API server that is away.
fn kubeconfig_of_nowhere(folder: &Path) -> Result<PathBuf> {
    let kubeconfig = folder.join("kubeconfig");
    let nowhere = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "none", "user": {}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    });
    fs::write(&kubeconfig, nowhere.to_string())?;
    Ok(kubeconfig)
}

/// Strangers that open idle connections again whenever they are closed; the probes that the kubelet makes meanwhile.
fn idle_connections_keep_no_probe_from_its_answer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = kubeconfig_of_nowhere(folder.path())?;
    let port = e2e::free_port()?;
    let metrics = format!("--listen-metrics=127.0.0.1:{port}");
    let arguments = [metrics.as_str(), "--listen-api=127.0.0.1:0"];
    let program = env!("CARGO_BIN_EXE_beemesh-operator");
    let mut operator =
        e2e::Process::start(program, "probed", &arguments, &kubeconfig, folder.path())?;
    e2e::eventually("it listens", crate::world::DEADLINE, || {
        e2e::http_get(port, "/livez").map(drop)
    })?;
    let runtime = Runtime::new()?;
    let (opened, open) = std::sync::mpsc::channel();
    for _ in 0..600 {
        let opened = opened.clone();
        runtime.spawn(async move {
            loop {
                if let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = opened.send(());
                    let _ = stream.read(&mut [0]).await;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..600 {
        open.recv_timeout(crate::world::DEADLINE)?;
    }
    // Where each waits until a stranger is given up, they take minutes together.
    e2e::eventually("probes are answered", crate::world::DEADLINE, || {
        for _ in 0..40 {
            let (status, body) = e2e::http_get(port, "/livez")?;
            ensure!(status == 200, "{status}: {body}");
        }
        Ok(())
    })?;
    runtime.shutdown_background();
    operator.ensure_alive()
}

fn a_new_certificate_is_served_once_it_is_whole() -> Result<()> {
    let runtime = Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let first = write_pair(folder.path())?;
    let server = runtime.block_on(Server::bind(&options(
        loopback(),
        Some(files(folder.path())),
    )))?;
    let address = server.address()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let served = runtime.spawn(server.serve(router(), async { drop(stopped.await) }));
    ask_tls(address, &first)?.with(200)?;
    fs::write(folder.path().join("tls.crt"), "half of it")?;
    ask_tls(address, &first).context("the old one is kept")?;
    let second = write_pair(folder.path())?;
    ask_tls(address, &second).context("the new one is served")?;
    ensure!(
        ask_tls(address, &first).is_err(),
        "the old one is still served"
    );
    drop(stop);
    Ok(runtime.block_on(served)?)
}

/// As in our image, which has no certificates of authorities.
fn check_asks_where_the_system_trusts_nobody() -> Result<()> {
    let runtime = Runtime::new()?;
    let folder = tempfile::tempdir()?;
    write_pair(folder.path())?;
    for (scheme, tls) in [("http", None), ("https", Some(files(folder.path())))] {
        let server = runtime.block_on(Server::bind(&options(loopback(), tls)))?;
        let address = server.address()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let served = runtime.spawn(server.serve(router(), async { drop(stopped.await) }));
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_beemesh-operator"))
            .args(["check", "--timeout=5"])
            .arg(format!("{scheme}://{address}/"))
            .env("SSL_CERT_FILE", "/dev/null")
            .env("SSL_CERT_DIR", folder.path().join("none"))
            .output()?;
        drop(stop);
        runtime.block_on(served)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{scheme}: {said}");
    }
    Ok(())
}

fn a_certificate_that_is_none_is_told() -> Result<()> {
    let runtime = Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let bind = || {
        let options = options(loopback(), Some(files(folder.path())));
        let error = runtime.block_on(Server::bind(&options)).err();
        let error = error.context("it was served")?;
        anyhow::Ok(format!("{:#}", anyhow::Error::from(error)))
    };
    let error = bind()?;
    ensure!(
        error.contains("failed to read") && error.contains("tls.crt"),
        "{error}"
    );
    write_pair(folder.path())?;
    fs::write(folder.path().join("tls.key"), "no key")?;
    let error = bind()?;
    ensure!(
        error.contains("expected a key in PEM") && error.contains("tls.key"),
        "{error}"
    );
    Ok(())
}

fn requests_under_way_end_before_the_listener_does() -> Result<()> {
    let runtime = Runtime::new()?;
    let server = runtime.block_on(Server::bind(&options(loopback(), None)))?;
    let address = server.address()?;
    let (arrived, arrival) = oneshot::channel::<()>();
    let (leave, leaving) = oneshot::channel::<()>();
    let once = Arc::new(std::sync::Mutex::new(Some((arrived, leaving))));
    let slow = move || async move {
        let taken = once.lock().ok().and_then(|mut once| once.take());
        if let Some((arrived, leaving)) = taken {
            let _ = arrived.send(());
            let _ = leaving.await;
        }
        "done"
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let router = Router::new().route("/", get(slow));
    let served = runtime.spawn(server.serve(router, async { drop(stopped.await) }));
    let asker = std::thread::spawn(move || client::ask(&mut client::connect(address)?, &root()));
    runtime.block_on(arrival)?;
    drop(stop);
    e2e::eventually("nobody is let in any more", crate::world::DEADLINE, || {
        let refused = client::connect(address).is_err();
        e2e::ensure(refused, || "still let in".to_owned())
    })?;
    drop(leave);
    let answer = asker.join().ok().context("the asker panicked")??;
    ensure!(answer.body == "done", "{answer:?}");
    Ok(runtime.block_on(served)?)
}

fn options(address: SocketAddr, tls: Option<TlsFiles>) -> Options {
    Options {
        address,
        tls,
        insecure: false,
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    }
}

fn router() -> Router {
    Router::new().route("/", get(async || "done"))
}

fn root() -> Asked<'static> {
    Asked {
        method: "GET",
        path: "/",
        ..Asked::default()
    }
}

/// Writes a new pair, and returns its certificate.
fn write_pair(folder: &Path) -> Result<CertificateDer<'static>> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(folder.join("tls.crt"), cert.pem())?;
    fs::write(folder.join("tls.key"), signing_key.serialize_pem())?;
    Ok(cert.der().clone())
}

/// Asks over TLS, trusting this certificate only.
fn ask_tls(address: SocketAddr, trusted: &CertificateDer<'static>) -> Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost")?;
    let connection = ClientConnection::new(Arc::new(config), name)?;
    let mut stream = StreamOwned::new(connection, client::connect(address)?);
    client::ask(&mut stream, &root())
}
