//! Links of which the liveness protocol says that no packet passes.

use crds::ForwarderStatus;
use crds::forwarder::{LinkDirection, LinkHealth};
use linkstate::{PathVerdict, Suspicion};

use super::*;

fn silence() -> PathVerdict {
    PathVerdict {
        receive: Some(Suspicion {
            reason: Reason::Silence,
            diagnostic: 1,
        }),
        transmit: None,
    }
}

impl Node {
    /// The status that is reported next.
    fn status(&mut self, forwarder: &str) -> ForwarderStatus {
        self.engine.status_after = Instant::now();
        self.engine.report();
        self.engine.parts.source.reported(forwarder).unwrap()
    }

    /// The liveness protocol judges the link of an own interface.
    fn judge(&self, forwarder: &str, interface: &str, verdict: PathVerdict) {
        let netns = self.engine.locals[forwarder].netns.clone();
        let failover = &self.engine.parts.failover;
        failover.path_changed((netns, interface.to_owned()), verdict);
        assert!(failover.step(false));
    }
}

#[test]
fn a_suspect_link_leaves_the_groups_before_the_engine_looks_and_is_reported() {
    let mut node = Node::new();
    let before = node.routes(F1);
    assert!(before.values().any(|links| links.len() == 2), "{before:?}");
    node.judge(F1, "l-f3", silence());
    assert_eq!(node.own(F1, "f1/f3"), State::Suspect);
    let evicted = node.routes(F1);
    assert!(
        evicted.values().all(|links| links.len() == 1),
        "{evicted:?}"
    );
    // An observation from before the verdict does not raise it.
    node.engine.locals.get_mut(F1).unwrap().are_ends_due = true;
    node.engine.publish();
    assert_eq!(node.own(F1, "f1/f3"), State::Suspect);
    node.settle();
    assert_eq!(node.used(F1), ["l-f2"], "all goes around");
    assert_eq!(node.own(F1, "f1/f3"), State::Suspect);

    node.judge(F1, "l-f3", PathVerdict::ALIVE);
    assert_eq!(node.own(F1, "f1/f3"), State::Init, "its table is not made");
    node.settle();
    assert_eq!(node.own(F1, "f1/f3"), State::Up);
    assert_eq!(node.routes(F1), before);
}

#[test]
fn the_status_tells_suspect_links_apart_direction_by_direction_and_says_who_says_so() {
    let mut node = Node::new();
    node.judge(F1, "l-f3", silence());
    node.settle();
    let status = node.status(F1);
    let link = |status: &ForwarderStatus, id: &str| {
        let mut links = status.link_states.iter();
        links.find(|link| link.id == id).cloned().unwrap()
    };
    let suspect = link(&status, "f1/f3");
    assert_eq!((suspect.up, suspect.health()), (false, LinkHealth::Suspect));
    assert_eq!(suspect.reason, "f1 hears nothing from f3");
    let receive = suspect.receive.unwrap();
    assert_eq!(
        (receive.reason.as_str(), receive.by.as_str()),
        ("Silence", "f1")
    );
    assert_eq!(
        (receive.state, receive.diagnostic),
        (LinkHealth::Suspect, 1)
    );
    assert!(!receive.since.is_empty());
    assert_eq!(suspect.transmit, None);
    assert_eq!(link(&status, "f1/f2").health(), LinkHealth::Up);
    assert_eq!((status.links.suspect, status.links_up.as_str()), (1, "1/2"));
    let alive = |status: &ForwarderStatus| {
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|it| it.r#type == "LinksAlive").unwrap();
        (found.status.clone(), found.message.clone())
    };
    let (told, message) = alive(&status);
    assert_eq!(told, "False");
    assert!(
        message.contains("f1/f3: f1 hears nothing from f3"),
        "{message}"
    );

    // What lasts is written once.
    node.engine.locals.get_mut(F1).unwrap().is_status_due = true;
    assert_eq!(node.status(F1), status);

    node.judge(F1, "l-f3", PathVerdict::ALIVE);
    node.hear(State::Suspect);
    node.settle();
    let of_peer = link(&node.status(F1), "f1/f3");
    let by = |direction: Option<LinkDirection>| direction.unwrap().by;
    assert_eq!(
        (by(of_peer.receive), by(of_peer.transmit)),
        ("f3".into(), "f3".into())
    );

    node.hear(State::Up);
    node.settle();
    let status = node.status(F1);
    assert_eq!(link(&status, "f1/f3").health(), LinkHealth::Up);
    assert_eq!(
        (alive(&status).0.as_str(), status.links.suspect),
        ("True", 0)
    );
}

#[test]
fn a_link_on_this_node_that_one_end_doubts_leaves_the_groups_of_both() {
    let mut node = Node::new();
    node.judge(F2, "l-f1", silence());
    let (of_f1, of_f2) = (node.routes(F1), node.routes(F2));
    for routes in [&of_f1, &of_f2] {
        assert!(routes.values().all(|links| links.len() == 1), "{routes:?}");
    }
    node.settle();
    assert_eq!(
        (node.used(F1), node.used(F2)),
        (vec!["l-f3".into()], vec!["l-f3".into()])
    );
    assert_eq!(node.own(F1, "f1/f2"), State::Init, "it hears the other end");
}

#[test]
fn a_suspect_link_is_the_last_resort() {
    let mut node = Node::new();
    node.judge(F1, "l-f3", silence());
    node.settle();
    node.judge(F1, "l-f2", silence());
    node.settle();
    // Of two suspect ones the shorter way; to f3 it is the direct link.
    assert_eq!(node.used(F1), ["l-f2", "l-f3"]);
    assert_eq!(node.used(F2), ["l-f1", "l-f3"]);

    // Down, it is no resort.
    let netns = node.engine.locals[F1].netns.clone();
    let event = LinkEvent {
        is_up: false,
        exists: true,
    };
    node.kernel
        .lock()
        .unwrap()
        .set_link_enabled(&netns, "l-f3", false);
    let interface = (netns, "l-f3".to_owned());
    node.engine.parts.failover.link_changed(interface, event);
    node.settle();
    assert_eq!(node.own(F1, "f1/f3"), State::AdminDown);
    assert_eq!(node.used(F1), ["l-f2"]);
}

#[test]
fn a_peers_doubt_counts_as_an_own_one() {
    let mut node = Node::new();
    let before = node.routes(F1);
    node.hear(State::Suspect);
    assert!(node.engine.parts.failover.step(false));
    let evicted = node.routes(F1);
    assert!(
        evicted.values().all(|links| links.len() == 1),
        "{evicted:?}"
    );
    node.settle();
    assert_eq!(node.used(F1), ["l-f2"]);
    assert_eq!(node.own(F1, "f1/f3"), State::Init, "nothing is wrong here");
    node.hear(State::Init);
    node.settle();
    assert_eq!(node.own(F1, "f1/f3"), State::Up);
    assert_eq!(node.routes(F1), before);
}

#[test]
fn a_doubt_that_is_over_before_the_engine_looks_is_no_use_before_the_table_is_made() {
    let mut node = Node::new();
    let before = node.routes(F1);
    node.judge(F1, "l-f3", silence());
    node.judge(F1, "l-f3", PathVerdict::ALIVE);
    assert_ne!(node.routes(F1), before, "evicted");
    let pending = node.mailbox.take(Instant::now());
    node.engine.through = pending.through;
    node.engine.take_paths(&pending.paths);
    node.engine.publish();
    assert_eq!(node.own(F1, "f1/f3"), State::Init);
    node.settle();
    assert_eq!(node.own(F1, "f1/f3"), State::Up);
    assert_eq!(node.routes(F1), before);
}

#[test]
fn a_link_that_comes_back_suspect_is_at_once_the_last_resort_of_all() {
    let mut node = Node::new();
    node.hear(State::Down);
    node.settle();
    node.hear(State::Suspect);
    assert!(node.engine.parts.failover.step(false));
    let pending = node.mailbox.take(Instant::now());
    node.engine.take_reports(&pending.reports);
    node.engine.follow_changes();
    for forwarder in [F1, F2] {
        assert!(node.engine.locals[forwarder].is_table_due, "{forwarder}");
    }
}
