//! Attachment, retry and detachment.

use super::*;

#[test]
fn a_pod_is_attached_when_it_runs_and_detached_when_it_belongs_no_more() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    assert_eq!(world.turn(0), Some(500), "no process yet");
    world.run("7", "p");
    assert_eq!(world.turn(100), Some(400), "not looked for again at once");
    assert_eq!(world.calls(), 0);
    assert_eq!(world.rounds.service.missing().waiting, 1);
    assert_eq!(world.turn(400), None);
    assert_eq!(world.attached(), ["default/p"]);
    let told = world.told();
    assert_eq!(told[0], "Attached");
    assert!(
        told[1].contains(r#""name":"beemesh/default/iot""#),
        "{told:?}"
    );
    world.turn(100);
    assert_eq!(
        (world.calls(), world.told().len()),
        (1, 0),
        "nothing is left to do"
    );
    assert_eq!(world.rounds.service.missing(), PendingPods::default());

    world.pods.put("p", &[]);
    world.turn(100);
    assert!(world.attached().is_empty());
    assert_eq!(
        world.told(),
        ["Detached"],
        "the fresh object has no annotation"
    );
    world.pods.put("p", &OURS);
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"], "as often as it likes");
}

#[test]
fn what_fails_is_tried_again_ever_more_rarely_and_told_once() {
    let mut world = World::new("n1");
    *world.plugin.failure.lock().unwrap() = Some("no such luck".to_owned());
    world.pods.put("p", &OURS);
    world.run("7", "p");
    let mut pauses = Vec::new();
    let mut after = 0;
    for _ in 0..9 {
        let pause = world.turn(after).expect("it will be tried again");
        pauses.push(pause);
        after = u64::try_from(pause).unwrap();
    }
    assert_eq!(
        pauses,
        [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
    );
    assert_eq!(
        (world.calls(), world.told()),
        (9, vec!["FailedAttach".to_owned()])
    );
    *world.plugin.failure.lock().unwrap() = None;
    assert_eq!(world.turn(after), None);
    assert_eq!(world.told()[0], "Attached");
    world.pods.put("p", &[]);
    world.turn(1);
    assert_eq!(world.rounds.service.failures(), 0);
}

#[test]
fn what_the_daemon_attached_goes_when_the_pod_is_certainly_gone() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    let here = std::mem::take(&mut *world.pods.here.lock().unwrap());
    world.pods.is_away.store(true, Ordering::Relaxed);
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"], "the API server is away");
    world.pods.is_away.store(false, Ordering::Relaxed);
    *world.pods.here.lock().unwrap() = here;
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"]);
    world.pods.here.lock().unwrap().clear();
    world.turn(100);
    assert!(world.attached().is_empty());
}

#[test]
fn a_pod_that_lost_its_interface_for_good_gets_another() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    let lease = world.rounds.service.leases().remove(0);
    world.told();
    let interface = lease.shares[0].attachment.forwarder_interface.clone();
    *world.wires.lost.lock().unwrap() = Some(interface);
    world
        .rounds
        .service
        .miss(BTreeSet::from([lease.key.clone()]));
    assert_eq!(world.turn(100), Some(3000), "perhaps a DEL is under way");
    assert_eq!(world.rounds.service.leases(), [lease]);
    world.turn(3000);
    assert!(world.attached().is_empty());
    *world.wires.lost.lock().unwrap() = None;
    world.rounds.service.miss(BTreeSet::new());
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"]);
    assert_eq!(world.told()[0], "Detached");
}

#[test]
fn a_static_pod_stays_attached_when_its_mirror_is_made_anew() {
    let mut world = World::new("n1");
    let mirror = |world: &World, uid: &str| {
        world.pods.put("p", &OURS);
        world.pods.change("p", |here| {
            here.pod.uid = uid.to_owned();
            let own = (MIRROR.to_owned(), "uid-p".to_owned());
            here.pod.annotations.extend([own]);
        });
    };
    mirror(&world, "first");
    world.run("7", "p");
    assert_eq!(world.turn(0), None);
    let leases = world.rounds.service.leases();
    assert_eq!(leases[0].key.container_id, "live-uid-p");
    assert_eq!(world.told().len(), 2);
    mirror(&world, "second");
    assert_eq!(world.turn(100), None);
    assert_eq!(world.rounds.service.leases(), leases);
    assert_eq!(world.calls(), 1);
    assert_eq!(world.told().len(), 1, "the annotation of the new object");
}
