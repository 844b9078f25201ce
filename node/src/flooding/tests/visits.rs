//! Peers that do not behave as daemons do.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use linkstate::{Report, Versions};

use super::mesh::{KEY, Mesh, hello, runtime, wait_for};
use crate::flooding::channel::Channel;
use crate::flooding::error::Error as Problem;
use crate::flooding::keys::Keys;
use crate::flooding::listener::MAX_CONNECTIONS;
use crate::flooding::message::Message;
use crate::flooding::{DEFAULT_PORT, Timing};

const VERSION: u32 = Versions::OURS.highest;

#[test]
fn the_newest_connection_of_a_peer_ends_the_one_before() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    runtime().block_on(async {
        let (mut first, answer) = mesh.visit(1, "n2", VERSION).await;
        assert!(matches!(answer, Ok(Message::Hello { node, .. }) if node == "n1"));
        let (mut second, _) = mesh.visit(1, "n2", VERSION).await;
        assert!(matches!(
            first.receive().await,
            Err(Problem::Closed | Problem::Io(_))
        ));
        second.send(&[Message::Ping]).await.unwrap();
        assert_eq!(second.receive().await.unwrap(), Message::Pong);
    });
}

fn report(origin: &str, forwarder: &str) -> Message {
    Message::Report(Report {
        origin: origin.to_owned(),
        forwarder: forwarder.to_owned(),
        ..Report::default()
    })
}

#[test]
fn who_is_not_of_this_version_or_says_what_it_may_not_is_sent_away() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    runtime().block_on(async {
        #[rustfmt::skip]
        let visitors = [
            ("n2",     VERSION + 1, Message::Ping),
            ("n1",     VERSION,     Message::Ping),
            ("../etc", VERSION,     Message::Ping),
            ("n2",     VERSION,     hello("n2", VERSION)),
            ("n2",     VERSION,     report("n2", "../f")),
            ("n2",     VERSION,     report("n3", "t.f1")),
        ];
        for (node, version, message) in visitors {
            let (mut channel, _) = mesh.visit(1, node, version).await;
            // It may be closed by now.
            let _ = channel.send(&[message]).await;
            let end = channel.receive().await;
            assert!(
                matches!(end, Err(Problem::Closed | Problem::Io(_))),
                "{node}: {end:?}"
            );
        }
    });
    assert_eq!(mesh.known(1, 3), None);
}

#[test]
fn who_says_nothing_is_given_up_on_both_sides() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    mesh.stop(1);
    mesh.timing = Timing {
        keep_alive: Duration::from_millis(50),
        silence: Duration::from_millis(400),
        // The greetings below have to be in time.
        handshake: Duration::from_secs(3),
        ..mesh.timing
    };
    let listener = TcpListener::bind((mesh.address(2), DEFAULT_PORT)).unwrap();
    listener.set_nonblocking(true).unwrap();
    mesh.start(1);
    let problem = runtime().block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let keys = Keys::parse(KEY.as_bytes()).unwrap();
        // One that never greets, one that greets and is silent; both are dialled anew.
        let mut kept = vec![listener.accept().await.unwrap().0];
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut channel, _) = Channel::answer(stream, &keys).await.unwrap();
            channel.send(&[hello("n2", VERSION)]).await.unwrap();
            while !matches!(
                channel.receive().await,
                Err(Problem::Closed | Problem::Io(_))
            ) {}
        }
        kept.clear();
        let (mut channel, _) = mesh.visit(1, "n2", VERSION).await;
        assert!(matches!(
            channel.receive().await,
            Err(Problem::Closed | Problem::Io(_))
        ));
        // As long as there is somebody to be dialled.
        mesh.overview(1).peers["n2"].problem.clone()
    });
    let is_silence = |problem: String| problem.contains("received") || problem.contains("answer");
    assert!(problem.is_some_and(is_silence));
}

#[test]
fn strangers_that_come_again_and_again_do_not_keep_peers_out() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    let address = (mesh.address(1), DEFAULT_PORT);
    wait_for("it answers", || TcpStream::connect(address).is_ok());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut strangers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                strangers.retain(|stranger| !is_closed(stranger));
                while strangers.len() < 100
                    && let Ok(stranger) = TcpStream::connect(address)
                {
                    strangers.push(stranger);
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        mesh.start(2);
        mesh.wait_until_connected();
        is_over.store(true, Ordering::Relaxed);
    });
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = (&*stream).read(&mut [0]);
    !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn as_many_peers_are_heard_as_a_topology_may_have_nodes() {
    const { assert!(MAX_CONNECTIONS >= crds::lint::MAX_NODES) };
}
