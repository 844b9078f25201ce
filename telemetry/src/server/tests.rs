use std::{sync::mpsc as blocking, time::Duration};

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::*;
use crate::{Check, Probes, router};

/// Longest time that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(60);

async fn start(router: Router) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), Limits::PROBES).await;
    let server = server.expect("a free port");
    let address = server.address().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(router, async { drop(stopped.await) }));
    (address, stop, served)
}

/// Probes of a healthy process, and metrics that end with `scrape`.
fn telemetry(scrape: impl Fn() -> String + Send + 'static) -> Router {
    router(scrape, Probes::new("test", || Check::Ok))
}

async fn get_path(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    let read = timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    read.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(answer)
}

/// Opens an idle connection and opens it again whenever it is closed.
async fn hold(address: SocketAddr, opened: mpsc::UnboundedSender<()>) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = opened.send(());
            let _ = stream.read(&mut [0]).await;
        }
        yield_now().await;
    }
}

#[tokio::test]
async fn idle_connections_that_are_reopened_keep_no_probe_from_its_answer() {
    let (address, _stop, _served) = start(telemetry(String::new)).await;
    let (opened, mut open) = mpsc::unbounded_channel();
    let strangers: Vec<_> = (0..600)
        .map(|_| tokio::spawn(hold(address, opened.clone())))
        .collect();
    for _ in 0..600 {
        open.recv().await.expect("they open connections");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = get_path(address, path).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    strangers.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_scrape_that_waits_keeps_nobody_else_waiting() {
    let (begin, mut begun) = mpsc::unbounded_channel();
    let (release, released) = blocking::channel::<()>();
    let scrape = move || {
        begin.send(()).expect("the test waits for it");
        format!("released {}\n", released.recv_timeout(LIMIT).is_ok())
    };
    let (address, _stop, _served) = start(telemetry(scrape)).await;
    let metrics = tokio::spawn(get_path(address, "/metrics"));
    begun.recv().await.expect("the scrape begins");
    let live = get_path(address, "/livez").await.expect("an answer");
    assert!(live.ends_with("\r\n\r\nok"), "{live}");
    release.send(()).expect("the scrape waits");
    let metrics = metrics.await.expect("no panic").expect("an answer");
    assert!(metrics.ends_with("released true\n"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_ends_soon() {
    let (address, _stop, _served) = start(telemetry(String::new)).await;
    let mut silent = TcpStream::connect(address).await.expect("it listens");
    let ended = timeout(SILENCE, silent.read(&mut [0])).await;
    assert!(ended.is_ok(), "it is still open after {SILENCE:?}");
}

#[tokio::test]
async fn requests_under_way_end_before_the_server_does() {
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let (leave, left) = oneshot::channel::<()>();
    let left = Arc::new(tokio::sync::Mutex::new(Some(left)));
    let slow = move || {
        let (arrive, left) = (arrive.clone(), Arc::clone(&left));
        async move {
            let left = left.lock().await.take().expect("one request");
            arrive.send(()).expect("the test waits for it");
            drop(left.await);
            "done"
        }
    };
    let (address, stop, served) = start(Router::new().route("/", get(slow))).await;
    let asking = tokio::spawn(get_path(address, "/"));
    arrived.recv().await.expect("the request arrives");
    drop(stop);
    timeout(LIMIT, async {
        while TcpStream::connect(address).await.is_ok() {
            yield_now().await;
        }
    })
    .await
    .expect("nobody is let in any more");
    drop(leave);
    let answer = asking.await.expect("no panic").expect("an answer");
    assert!(answer.ends_with("done"), "{answer}");
    timeout(LIMIT, served)
        .await
        .expect("it ends")
        .expect("no panic");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    let _deaf = TcpStream::connect(address).await.expect("a connection");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    limit_unread(&stream, Duration::from_millis(100)).expect("TCP");
    let write = async {
        loop {
            if let Err(error) = stream.write_all(&[0; 1 << 16]).await {
                return error.kind();
            }
        }
    };
    let ended = timeout(LIMIT, write).await;
    assert_eq!(ended, Ok(io::ErrorKind::TimedOut));
}
