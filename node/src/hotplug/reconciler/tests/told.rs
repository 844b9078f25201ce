//! Reports: events, annotations, and the plugin's cache.

use super::*;

#[test]
fn a_pod_without_a_place_is_told_after_a_while() {
    let mut world = World::new("n2");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    assert_eq!(world.turn(0), Some(3000));
    assert_eq!(world.turn(2000), Some(1000));
    assert!(world.told().is_empty());
    assert_eq!(world.rounds.service.missing().refused, 1);
    for _ in 0..3 {
        assert_eq!(world.turn(1000), None);
    }
    assert_eq!(world.told(), ["FailedAttach"]);
    world.rounds.service.open(Arc::new(catalog("n1")));
    world.turn(10);
    assert_eq!(world.told()[0], "Attached");
}

#[test]
fn the_plugin_is_left_word_of_who_is_not_ours() {
    let mut world = World::new("n1");
    let word = |world: &World| known::Known::read(world.directory.path()).ok();
    world.pods.put("p", &OURS);
    world.pods.put("q", &[]);
    world.pods.put("r", &[("beemesh.io/topologies", "to-come")]);
    let mut incomplete = catalog("n1");
    incomplete.is_complete = false;
    world.rounds.service.open(Arc::new(incomplete));
    world.turn(0);
    assert_eq!(word(&world), None, "nothing on a guess");
    world.rounds.service.open(Arc::new(catalog("n1")));
    world.turn(100);
    let expected = known::Known {
        namespaces: ["default".to_owned()].into(),
        not_ours: ["uid-q".to_owned()].into(),
    };
    assert_eq!(word(&world), Some(expected));
}

#[test]
fn an_annotation_that_another_replaces_is_completed_again() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    let set = |world: &World, value: &str| {
        let value = Some(value.to_owned());
        world.pods.change("p", |here| here.network_status = value);
    };
    let multus = r#"[{"name":"cbr0"}]"#;
    world.told();
    for _ in 0..2 {
        set(&world, multus);
        world.turn(100);
        assert_eq!(world.told().len(), 1);
        let completed = world.pods.here()[0].network_status.clone();
        // As it was before ours was seen.
        set(&world, multus);
        world.turn(100);
        assert_eq!(world.told().len(), 0, "it was told that already");
        set(&world, &completed.unwrap());
        world.turn(100);
    }
}

#[test]
fn a_running_pod_that_names_what_is_not_there_is_told_once() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    world.told();
    let name = |world: &World, topologies: &str| {
        world.pods.change("p", |here| {
            let wish = ("beemesh.io/topologies".to_owned(), topologies.to_owned());
            here.pod.annotations.extend([wish]);
        });
    };
    let events = |world: &World| {
        let events = world.pods.events();
        world.told();
        events
    };
    name(&world, "iot, nope");
    assert_eq!(world.turn(100), Some(3000), "it may be on its way");
    assert!(world.pods.events().is_empty());
    world.turn(3000);
    let expected = "annotation beemesh.io/topologies names topology nope, which does not exist: \
         pods of this namespace may join iot";
    assert_eq!(events(&world), [("FailedAttach", expected.to_owned())]);
    assert_eq!(world.attached(), ["default/p"], "it keeps what it has");
    for _ in 0..3 {
        world.turn(3000);
    }
    assert!(events(&world).is_empty());
    assert_eq!(world.rounds.service.missing().refused, 1);
    name(&world, "iot");
    assert_eq!(world.turn(100), None);
    assert_eq!(
        (events(&world).len(), world.rounds.service.failures()),
        (0, 0)
    );
    let mut incomplete = catalog("n1");
    incomplete.is_complete = false;
    world.rounds.service.open(Arc::new(incomplete));
    name(&world, "iot, nope");
    assert_eq!(world.turn(100), None, "not on a guess");
}
