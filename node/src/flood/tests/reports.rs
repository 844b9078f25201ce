//! What is reported reaches whom it concerns.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::mesh::{Mesh, wait_for};
use crate::link_state::directory::file_of;

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
    let identity = |mesh: &Mesh| {
        let pairs = [1, 2, 3].map(|at| [1, 2, 3].map(|of| (at, of)));
        pairs
            .as_flattened()
            .iter()
            .map(|(at, of)| {
                let metadata =
                    fs::metadata(file_of(&mesh.reports(*at), &format!("t.f{of}"))).unwrap();
                (metadata.ino(), metadata.mtime_nsec())
            })
            .collect::<Vec<_>>()
    };
    let before = identity(&mesh);
    mesh.stop(1);
    for number in [2, 3] {
        wait_for("the loss is noticed", || {
            !mesh.overview(number).peers["n1"].is_connected()
        });
    }
    mesh.start(1);
    mesh.wait_until_connected();
    assert_eq!(identity(&mesh), before, "no file was written");
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
    mesh.stop(1);
    fs::remove_dir_all(mesh.reports(1)).unwrap();
    mesh.start(1);
    wait_for("it is told anew", || mesh.is_up(1, 2) == Some(true));
    mesh.wait_until_connected();
    // Its engine has yet to look: until then the last word stands.
    assert_eq!(mesh.known(2, 1).map(|report| report.seq), Some(3));
    mesh.report(1, false);
    mesh.wait_until_known(1, false);
    assert_eq!(mesh.known(2, 1).map(|report| report.seq), Some(1));
}

#[test]
fn reports_that_a_foreign_hand_removes_come_back() {
    let mesh = Mesh::new(2);
    mesh.report(2, true);
    mesh.wait_until_known(2, true);
    fs::remove_file(file_of(&mesh.reports(1), "t.f2")).unwrap();
    mesh.wait_until_known(2, true);
    fs::write(file_of(&mesh.reports(1), "t.f2"), "{").unwrap();
    mesh.wait_until_known(2, true);
    fs::rename(mesh.reports(1), mesh.directory.path().join("gone")).unwrap();
    mesh.wait_until_known(2, true);
    mesh.report(2, false);
    mesh.wait_until_known(2, false);
}
