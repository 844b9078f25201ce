//! Reports reach the nodes of their topology.

use super::mesh::{Mesh, wait_for};

#[test]
fn each_change_reaches_every_peer() {
    let mut mesh = Mesh::new(3);
    mesh.report(1, true);
    mesh.wait_until_known(1, true);
    assert_eq!(mesh.known(3, 1).unwrap().origin, "n1");
    mesh.wait_until_connected();
    for is_up in [false, true, false] {
        mesh.report(1, is_up);
        mesh.wait_until_known(1, is_up);
    }
    mesh.report(2, true);
    mesh.wait_until_known(2, true);

    // It is declared no more, first at its own node.
    let gone = mesh.snapshot.forwarders.remove("t.f1").unwrap();
    for number in [1, 2, 3] {
        mesh.tell(number, &mesh.snapshot);
    }
    for at in [1, 2, 3] {
        wait_for("the report is gone", || mesh.known(at, 1).is_none());
    }
    assert_eq!(mesh.is_up(3, 2), Some(true));
    assert_eq!(gone.spec.node, "n1");
}

#[test]
fn a_daemon_that_ends_and_comes_back_changes_nothing() {
    let mut mesh = Mesh::new(3);
    for number in [1, 2, 3] {
        mesh.report(number, true);
        mesh.wait_until_known(number, true);
    }
    mesh.wait_until_connected();
    let all = |mesh: &Mesh| [1, 2, 3].map(|at| [1, 2, 3].map(|of| mesh.known(at, of).unwrap()));
    let before = all(&mesh);
    mesh.stop(1);
    for number in [2, 3] {
        wait_for("the loss is noticed", || {
            !mesh.overview(number).peers["n1"].is_connected()
        });
    }
    mesh.start(1);
    mesh.wait_until_connected();
    assert_eq!(all(&mesh), before);
    // And what changes while a peer is away comes with it.
    mesh.stop(1);
    mesh.report(1, false);
    mesh.report(2, false);
    mesh.start(1);
    mesh.wait_until_known(1, false);
    mesh.wait_until_known(2, false);
}

#[test]
fn a_node_that_lost_its_reports_is_believed_and_told_anew() {
    let mut mesh = Mesh::new(3);
    for is_up in [true, false, true] {
        mesh.report(1, is_up);
        mesh.wait_until_known(1, is_up);
    }
    mesh.report(2, true);
    mesh.wait_until_known(2, true);
    let before = mesh.known(2, 1).unwrap().sequence;
    mesh.stop(1);
    mesh.forget(1);
    mesh.start(1);
    wait_for("it is told anew", || mesh.is_up(1, 2) == Some(true));
    mesh.wait_until_connected();
    // Its engine has yet to look: until then the last report stands.
    assert_eq!(mesh.known(2, 1).unwrap().sequence, before);
    mesh.report(1, false);
    mesh.wait_until_known(1, false);
    assert!(mesh.known(2, 1).unwrap().sequence.incarnation > before.incarnation);
}
