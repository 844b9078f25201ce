use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicU32, Ordering};

use linkstate::Reason;

use super::*;

fn random() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(1);
    LAST.fetch_add(0x9e37_79b9, Ordering::Relaxed)
}

fn at(millis: u64) -> Time {
    Time::from_origin(Duration::from_millis(millis))
}

fn path(interface: &str, interval: u64) -> Path {
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    Path {
        interface: interface.to_owned(),
        peer_mac: [2; 6],
        own: address,
        peer: address,
        peer_node: "n2".to_owned(),
        interval: Duration::from_millis(interval),
        multiplier: NonZeroU8::new(3).unwrap(),
    }
}

fn link(interface: &str, interval: u64) -> Link {
    Link {
        path: path(interface, interval),
        earlier: PathVerdict::ALIVE,
    }
}

const PLACE: Place = Place {
    namespace: 1,
    interface: 7,
};

/// Two nodes with one link between them.
struct World {
    nodes: [Sessions; 2],
    /// True while packets of this node arrive at the other one.
    passes: [bool; 2],
    verdicts: [PathVerdict; 2],
    now: u64,
    sent: u64,
}

impl World {
    fn new() -> World {
        let mut world = World {
            nodes: [Sessions::new(random), Sessions::new(random)],
            passes: [true; 2],
            verdicts: [PathVerdict::ALIVE; 2],
            now: 1_000,
            sent: 0,
        };
        for node in 0..2 {
            world.start(node);
        }
        world.run(5_000);
        assert_eq!(world.up(), [1, 1]);
        world
    }

    fn start(&mut self, node: usize) {
        self.nodes[node] = Sessions::new(random);
        let mut actions = Vec::new();
        self.nodes[node].set(1, vec![(7, link("a", 100))], at(self.now), &mut actions);
        self.act(node, actions);
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Judged(_, verdict) => self.verdicts[node] = verdict,
                Action::Send(place, packet) => {
                    self.sent += 1;
                    if self.passes[node] {
                        let (now, mut more) = (at(self.now), Vec::new());
                        let other = 1 - node;
                        self.nodes[other].take(place, packet, now, now, &mut more);
                        self.act(other, more);
                    }
                }
            }
        }
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += 1;
            for node in 0..2 {
                let mut actions = Vec::new();
                self.nodes[node].expire(at(self.now), &mut actions);
                self.act(node, actions);
            }
        }
    }

    fn up(&mut self) -> [u64; 2] {
        [0, 1].map(|node| self.nodes[node].count().0)
    }

    fn reasons(&self, node: usize) -> [Option<Reason>; 2] {
        let PathVerdict { receive, transmit } = self.verdicts[node];
        [receive, transmit].map(|suspicion| suspicion.map(|it| it.reason))
    }

    fn command(
        &mut self,
        node: usize,
        command: impl FnOnce(&mut Sessions, Time, &mut Vec<Action>),
    ) {
        let mut actions = Vec::new();
        command(&mut self.nodes[node], at(self.now), &mut actions);
        self.act(node, actions);
    }
}

#[test]
fn a_silent_cut_is_noticed_by_both_ends_within_the_detection_time_and_heals() {
    let mut world = World::new();
    world.passes = [false; 2];
    world.run(310);
    for node in 0..2 {
        assert_eq!(world.reasons(node), [Some(Reason::Silence), None]);
    }
    world.passes = [true; 2];
    world.run(3_000);
    assert_eq!(world.verdicts, [PathVerdict::ALIVE; 2]);
    assert_eq!(world.up(), [1, 1]);
}

#[test]
fn a_one_way_cut_is_of_one_direction_at_both_ends() {
    let mut world = World::new();
    world.passes = [false, true];
    world.run(310);
    assert_eq!(
        world.reasons(1),
        [Some(Reason::Silence), None],
        "hears nothing"
    );
    assert_eq!(
        world.reasons(0),
        [None, Some(Reason::PeerSilence)],
        "is not heard"
    );
    world.run(20_000);
    assert_eq!(world.reasons(1), [Some(Reason::Silence), None]);
    assert_eq!(world.reasons(0), [None, Some(Reason::PeerSilence)]);
    world.passes = [true; 2];
    world.run(3_000);
    assert_eq!(world.verdicts, [PathVerdict::ALIVE; 2]);
}

#[test]
fn a_daemon_that_starts_again_makes_no_link_suspect() {
    for (millis, stop) in [
        (50, "kill"),
        (2_000, "kill"),
        (30_000, "kill"),
        (5_000, "term"),
    ] {
        let mut world = World::new();
        if stop == "term" {
            world.command(1, |node, now, actions| node.disable(now, actions));
        }
        world.nodes[1] = Sessions::new(random);
        if stop == "kill" {
            // The kernel ends the connection of the dead daemon.
            world.command(0, |node, now, actions| node.pause("n2", now, actions));
        }
        for _ in 0..millis {
            world.run(1);
            assert!(world.verdicts[0].is_alive(), "{stop}");
        }
        world.start(1);
        world.command(0, |node, now, actions| node.resume("n2", now, actions));
        for _ in 0..15_000 {
            world.run(1);
            assert_eq!(world.verdicts, [PathVerdict::ALIVE; 2], "{stop} {millis}");
        }
        assert_eq!(world.up(), [1, 1]);
        // And is watched as before.
        world.passes = [false; 2];
        world.run(310);
        assert_eq!(world.reasons(0), [Some(Reason::Silence), None]);
    }
}

#[test]
fn a_daemon_that_does_not_come_back_is_suspect_after_a_minute() {
    let mut world = World::new();
    world.nodes[1] = Sessions::new(random);
    world.command(0, |node, now, actions| node.pause("n2", now, actions));
    world.command(0, |node, now, actions| node.pause("n3", now, actions));
    world.run(59_000);
    assert!(world.verdicts[0].is_alive());
    world.run(1_100);
    assert_eq!(world.reasons(0), [Some(Reason::Silence), None]);
    // The same at once when the kernel does not answer either.
    let mut world = World::new();
    world.nodes[1] = Sessions::new(random);
    world.command(0, |node, now, actions| node.pause("n2", now, actions));
    world.run(2_000);
    world.command(0, |node, now, actions| node.end_pause("n2", now, actions));
    world.run(2);
    assert_eq!(world.reasons(0), [Some(Reason::Silence), None]);
}

#[test]
fn sessions_stay_while_other_links_come_and_go() {
    let mut world = World::new();
    let before = world.nodes[0].by_place[&PLACE];
    world.command(0, |node, now, actions| {
        node.set(
            1,
            vec![(7, link("a", 100)), (8, link("b", 100))],
            now,
            actions,
        );
    });
    assert_eq!(world.nodes[0].by_place[&PLACE], before);
    assert_eq!(world.nodes[0].count(), (1, 1));
    // Another index is another interface.
    world.command(0, |node, now, actions| {
        node.set(1, vec![(9, link("a", 50))], now, actions)
    });
    assert_eq!(world.nodes[0].count(), (0, 1));
    assert!((world.nodes[0].asked - 20.0).abs() < 1e-6);
    world.command(0, |node, now, actions| {
        node.set(1, Vec::new(), now, actions)
    });
    assert_eq!(world.nodes[0].count(), (0, 0));
    world.run(100);
    assert_eq!(world.nodes[0].deadline(), None);
}

#[test]
fn a_packet_is_taken_on_the_link_of_its_session_only() {
    let mut world = World::new();
    world.passes = [false; 2];
    let mut actions = Vec::new();
    world.run(200);
    let now = at(world.now);
    world.nodes[1].disable(now, &mut actions);
    let Some(Action::Send(_, packet)) = actions.first().copied() else {
        panic!("{actions:?}");
    };
    let node = &mut world.nodes[0];
    let other = [(2, 7), (1, 8)].map(|(namespace, interface)| Place {
        namespace,
        interface,
    });
    for place in other {
        assert!(!node.take(place, packet, now, now, &mut Vec::new()));
    }
    assert_eq!(node.count(), (1, 0));
    assert!(node.take(PLACE, packet, now, now, &mut Vec::new()));
    assert_eq!(node.count(), (0, 1));
}

#[test]
fn a_node_sends_no_more_than_its_budget() {
    let mut node = Sessions::new(random);
    let mut actions = Vec::new();
    for namespace in 0..20 {
        let links = (0..400).map(|index| (index, link("a", 100)));
        node.set(namespace, links.collect(), at(0), &mut actions);
    }
    assert_eq!(node.count(), (0, 8_000));
    let factor = node.stretch().factor();
    assert!((8.0..10.0).contains(&factor), "{factor}");
    let id = *node.by_place.values().next().unwrap();
    let entry = node.lookup.session(id).unwrap();
    let interval = entry.path.config(node.stretch).desired_min_tx();
    assert!(
        interval.duration() >= Duration::from_millis(800),
        "{interval}"
    );
    for namespace in 1..20 {
        node.set(namespace, Vec::new(), at(1), &mut actions);
    }
    assert_eq!(node.stretch().factor(), 1.0);
}

#[test]
fn a_link_with_other_parameters_keeps_its_session() {
    let mut world = World::new();
    let before = world.nodes[0].by_place[&PLACE];
    for node in 0..2 {
        world.command(node, |node, now, actions| {
            node.set(1, vec![(7, link("a", 10))], now, actions);
        });
        for _ in 0..1_000 {
            world.run(1);
            assert_eq!(world.up(), [1, 1]);
        }
    }
    assert_eq!(world.nodes[0].by_place[&PLACE], before);
    assert!((world.nodes[0].asked - 100.0).abs() < 1e-6);
    world.passes = [false; 2];
    world.run(40);
    for node in 0..2 {
        assert_eq!(world.reasons(node), [Some(Reason::Silence), None]);
    }
}

#[test]
fn a_session_that_comes_up_is_told_although_its_verdict_is_unchanged() {
    let mut world = World::new();
    // Whoever hears the verdicts holds that of an earlier session of this link.
    let stale = Some(linkstate::Suspicion {
        reason: Reason::Silence,
        diagnostic: 1,
    });
    world.verdicts[0].receive = stale;
    world.start(0);
    world.run(5_000);
    assert_eq!(world.verdicts, [PathVerdict::ALIVE; 2]);
}
