use super::*;

const ME: &str = "n1";

fn report(origin: &str, seq: u64) -> Report {
    Report {
        origin: origin.to_owned(),
        seq,
        links: [("a/b".to_owned(), true)].into(),
    }
}

fn files(files: &[(&str, &str, u64)]) -> BTreeMap<String, Report> {
    let files = files.iter();
    files
        .map(|(name, origin, seq)| ((*name).to_owned(), report(origin, *seq)))
        .collect()
}

/// The Forwarders and their nodes; all other nodes of them are peers.
fn view(nodes: &[(&str, &str)], is_complete: bool) -> Arc<View> {
    let nodes = nodes.iter();
    let node_by_forwarder: BTreeMap<String, String> = nodes
        .map(|(name, node)| ((*name).to_owned(), (*node).to_owned()))
        .collect();
    let peers = node_by_forwarder.values().filter(|node| *node != ME);
    Arc::new(View {
        peers: peers.map(|node| (node.clone(), Vec::new())).collect(),
        node_by_forwarder,
        is_complete,
    })
}

fn says(forwarder: &str, seq: u64) -> Message {
    let Report { seq, links, .. } = report("", seq);
    Message::Report {
        forwarder: forwarder.to_owned(),
        seq,
        links,
    }
}

fn withdraws(forwarder: &str) -> Message {
    let forwarder = forwarder.to_owned();
    Message::Withdrawn { forwarder }
}

fn whole(unsaid: &[&str]) -> Message {
    let unsaid = unsaid.iter().map(|name| (*name).to_owned()).collect();
    Message::Whole { unsaid }
}

/// Actions as a line: `b=n2:7` for a file to be written, `-b` for one to be removed.
fn line(actions: Vec<Action>) -> String {
    let word = |action| match action {
        Action::Write(name, report) => format!("{name}={}:{}", report.origin, report.seq),
        Action::Remove(name) => format!("-{name}"),
    };
    actions.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A store that knows of `a` here, and `b` and `c` on n2; n2 is heard on connection 1.
fn store() -> Store {
    let mut store = Store::new(ME, BTreeMap::new());
    store.set_view(view(&[("a", ME), ("b", "n2"), ("c", "n2")], true));
    store.open("n2", 1);
    store
}

#[test]
fn a_report_is_believed_of_the_node_that_the_forwarder_is_on() {
    let mut store = store();
    let mut hear = |message| line(store.hear("n2", 1, message).unwrap());
    #[rustfmt::skip]
    let steps = [
        (says("b", 7),     "b=n2:7"),
        (says("b", 7),     ""),
        (says("b", 3),     "b=n2:3"), // Its order is the connection's.
        (says("a", 1),     ""),       // It is ours.
        (says("x", 1),     ""),       // It is not known.
        (withdraws("b"),   "-b"),
        (withdraws("b"),   ""),
        (Message::Unknown, ""),
    ];
    for (number, (message, expected)) in steps.into_iter().enumerate() {
        assert_eq!(hear(message), expected, "step {number}");
    }
}

#[test]
fn what_is_not_known_yet_is_kept_aside_until_it_is() {
    let mut store = store();
    assert_eq!(line(store.hear("n2", 1, says("x", 4)).unwrap()), "");
    store.open("n3", 2);
    assert_eq!(line(store.hear("n3", 2, says("x", 9)).unwrap()), "");
    let nodes = [("a", ME), ("x", "n2")];
    assert_eq!(line(store.set_view(view(&nodes, true))), "x=n2:4");
    // It moves to a node that has spoken of it already.
    let nodes = [("a", ME), ("x", "n3")];
    assert_eq!(line(store.set_view(view(&nodes, true))), "x=n3:9");
    // And here: from now on it is the engine's to say.
    assert_eq!(line(store.set_view(view(&[("x", ME)], true))), "");
    assert_eq!(line(store.see("x", Some(report(ME, 10)))), "");
    assert_eq!(Vec::from_iter(store.own().reports.into_keys()), ["x"]);
}

#[test]
fn a_new_connection_prunes_what_is_not_said_again() {
    let mut store = store();
    for name in ["b", "c"] {
        store.hear("n2", 1, says(name, 5)).unwrap();
    }
    assert!(store.close("n2", 1));
    store.open("n2", 2);
    // Nothing goes before everything was said, nor what the peer has yet to look at.
    assert_eq!(line(store.hear("n2", 2, says("b", 1)).unwrap()), "b=n2:1");
    assert_eq!(line(store.hear("n2", 2, whole(&["c"])).unwrap()), "");
    store.open("n2", 3);
    assert_eq!(line(store.hear("n2", 3, says("b", 1)).unwrap()), "");
    assert_eq!(line(store.hear("n2", 3, whole(&[])).unwrap()), "-c");
}

#[test]
fn the_newest_connection_of_a_peer_counts() {
    let mut store = store();
    store.open("n2", 2);
    assert_eq!(line(store.hear("n2", 1, says("b", 5)).unwrap()), "");
    assert_eq!(line(store.hear("n2", 2, says("b", 6)).unwrap()), "b=n2:6");
    assert!(
        !store.close("n2", 1),
        "the end of an old one changes nothing"
    );
    assert_eq!(line(store.hear("n2", 2, says("b", 7)).unwrap()), "b=n2:7");
    assert!(store.close("n2", 2));
    assert_eq!(line(store.hear("n2", 2, says("b", 8)).unwrap()), "");
}

#[test]
fn a_daemon_begins_with_what_the_one_before_it_left() {
    let left = files(&[
        ("a", ME, 3),
        ("b", "n2", 7),
        ("gone", "n9", 1),
        ("old", ME, 1),
    ]);
    let mut store = Store::new(ME, left);
    // Nothing is known yet, so nothing goes, and what is ours is ours.
    assert_eq!(line(store.set_view(view(&[("b", "n2")], false))), "");
    assert_eq!(
        Vec::from_iter(store.own().reports.into_keys()),
        ["a", "old"]
    );
    assert!(!store.own().is_whole);
    let nodes = [("a", ME), ("b", "n2"), ("d", ME)];
    assert_eq!(line(store.set_view(view(&nodes, true))), "-gone -old");
    let own = store.own();
    assert_eq!(Vec::from_iter(own.reports.into_keys()), ["a"]);
    assert_eq!(Vec::from_iter(own.unsaid), ["d"]);
    assert!(own.is_whole);
}

#[test]
fn what_a_foreign_hand_does_to_a_file_is_undone() {
    let mut store = store();
    store.hear("n2", 1, says("b", 5)).unwrap();
    assert_eq!(
        line(store.see("b", Some(report("n2", 5)))),
        "",
        "it is ours"
    );
    assert_eq!(line(store.see("b", None)), "b=n2:5");
    assert_eq!(line(store.see("b", Some(report("n3", 9)))), "b=n2:5");
    assert_eq!(line(store.see("x", Some(report("n3", 9)))), "-x");
    assert_eq!(line(store.see_all(files(&[("a", ME, 1)]))), "b=n2:5");
}

#[test]
fn a_report_of_a_node_that_lost_the_forwarder_goes() {
    let mut store = store();
    store.hear("n2", 1, says("b", 5)).unwrap();
    let nodes = [("a", ME), ("b", "n3"), ("c", "n2")];
    assert_eq!(
        line(store.set_view(view(&nodes, false))),
        "",
        "it may come back"
    );
    assert_eq!(line(store.set_view(view(&nodes, true))), "-b");
    assert_eq!(line(store.hear("n2", 1, says("b", 6)).unwrap()), "");
}

#[test]
fn what_a_peer_may_not_say_ends_its_connection() {
    let mut store = store();
    let long = "x".repeat(MAX_KEY + 1);
    for name in ["", ".", ".a", "a/b", "..", "A", "a\0", &long] {
        let heard = store.hear("n2", 1, says(name, 1));
        assert!(matches!(heard, Err(Error::Name { .. })), "{name:?}");
    }
    for message in [Message::Ping, Message::Pong] {
        let heard = store.hear("n2", 1, message);
        assert!(matches!(heard, Err(Error::Unexpected { .. })));
    }
}

#[test]
fn what_is_kept_of_a_peer_has_a_bound() {
    let mut store = store();
    let links = (0..MAX_LINKS / 4).map(|link| (link.to_string(), true));
    let links: BTreeMap<String, bool> = links.collect();
    let mut hear = |number: usize| {
        let message = Message::Report {
            forwarder: format!("x{number}"),
            seq: 1,
            links: links.clone(),
        };
        store.hear("n2", 1, message)
    };
    for number in 0..4 {
        assert_eq!(hear(number).unwrap(), []);
    }
    assert!(matches!(hear(4), Err(Error::TooMany { what: "links", .. })));
}
