//! Mesh keys of nodes, and their rotation.

use std::fs;

use super::mesh::{KEY, Mesh, OTHER, runtime, wait_for};
use crate::flooding::DEFAULT_PORT;
use crate::flooding::channel::Channel;
use crate::flooding::error::Error as Problem;
use crate::flooding::keys::Keys;

#[test]
fn a_daemon_without_the_key_is_refused_until_it_has_it() {
    let mut mesh = Mesh::new(3);
    mesh.stop(3);
    mesh.set_key(3, OTHER);
    mesh.start(3);
    mesh.report(3, true);
    let problem = |at, of| mesh.overview(at).peers.get(of)?.problem.clone();
    wait_for("its key is refused", || {
        problem(3, "n1").is_some_and(|problem| problem.contains("another"))
    });
    assert!(mesh.overview(1).problems.is_empty());
    assert_eq!(mesh.known(1, 3), None);
    fs::remove_file(mesh.key_file(2)).unwrap();
    wait_for("a key that went is told", || {
        mesh.overview(2).problems.contains_key("key")
    });
    mesh.set_key(2, KEY);
    mesh.set_key(3, KEY);
    mesh.wait_until_known(3, true);
    mesh.wait_until_connected();
    wait_for("all is well again", || mesh.overview(2).problems.is_empty());
}

#[test]
fn keys_are_changed_in_three_steps() {
    let mesh = Mesh::new(2);
    let mut is_up = true;
    for (one, two) in [
        (KEY.to_owned(), format!("{KEY}\n{OTHER}\n")),
        (format!("{KEY}\n{OTHER}"), format!("{OTHER}\n{KEY}\n")),
        (OTHER.to_owned(), format!("{OTHER}\n{KEY}")),
        (OTHER.to_owned(), OTHER.to_owned()),
    ] {
        mesh.set_key(1, &one);
        mesh.set_key(2, &two);
        for number in [1, 2] {
            mesh.report(number, is_up);
            mesh.wait_until_known(number, is_up);
        }
        is_up = !is_up;
    }
    mesh.wait_until_connected();
    // The old key is out of use.
    let keys = Keys::parse(KEY.as_bytes()).unwrap();
    let is_refused = async || {
        let stream = tokio::net::TcpStream::connect((mesh.address(1), DEFAULT_PORT)).await;
        let dialled = Channel::dial(stream.unwrap(), keys.first()).await;
        matches!(dialled, Err(Problem::Refused))
    };
    wait_for("the old key is refused", || {
        runtime().block_on(is_refused())
    });
}
