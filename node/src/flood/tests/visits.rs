//! Peers that do not behave as daemons do.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::mesh::{KEY, Mesh, hello, runtime, wait_for};
use crate::flood::channel::Channel;
use crate::flood::error::Error as Problem;
use crate::flood::keys::Keys;
use crate::flood::message::{Message, VERSION};
use crate::flood::{DEFAULT_PORT, Timing};

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
            ("n2",     VERSION,     Message::Report { forwarder: "../f".into(), seq: 1, links: [].into() }),
        ];
        for (node, version, message) in visitors {
            let (mut channel, _) = mesh.visit(1, node, version).await;
            // It may be closed by now.
            let _ = channel.send(&[message]).await;
            let end = channel.receive().await;
            assert!(matches!(end, Err(Problem::Closed | Problem::Io(_))), "{node}: {end:?}");
        }
    });
    assert!(!mesh.reports(1).join("../f.json").exists());
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
    assert!(problem.is_some_and(|problem| problem.contains("heard") || problem.contains("answer")));
}

#[test]
fn idle_strangers_do_not_keep_peers_out() {
    let mut mesh = Mesh::new(2);
    mesh.stop(2);
    let address = (mesh.address(1), DEFAULT_PORT);
    wait_for("it answers", || TcpStream::connect(address).is_ok());
    let strangers: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    mesh.start(2);
    mesh.wait_until_connected();
    drop(strangers);
}
