use std::fs;
use std::time::{Duration, Instant};

use linkstate::{MAX_FORWARDERS, PathVerdict, Sequence, Suspicion};

use super::*;
use snapshot::{Writer, file_of, read};

fn owners(pairs: &[(&str, &str)], is_complete: bool) -> Owners {
    let pairs = pairs.iter();
    Owners {
        node_by_forwarder: pairs
            .map(|(name, node)| ((*name).to_owned(), (*node).to_owned()))
            .collect(),
        is_complete,
    }
}

fn database(pairs: &[(&str, &str)]) -> LinkStates {
    let link_states = LinkStates::new("n1", Vec::new(), 5);
    link_states.set_owners(owners(pairs, true));
    link_states
}

fn observed(state: State) -> BTreeMap<String, (State, Reason)> {
    BTreeMap::from([("a/b".to_owned(), (state, Reason::None))])
}

fn end() -> EndKey {
    ("t.a".to_owned(), "a/b".to_owned())
}

fn own_state(link_states: &LinkStates) -> State {
    link_states.own("t.a").unwrap().ends["a/b"].state()
}

fn report(origin: &str, forwarder: &str, number: u64, state: State) -> Report {
    Report {
        origin: origin.to_owned(),
        forwarder: forwarder.to_owned(),
        sequence: Sequence {
            incarnation: 3,
            number,
        },
        ends: [(
            "a/b".to_owned(),
            End::observed(None, state, Reason::None, 1),
        )]
        .into(),
    }
}

#[test]
fn a_fall_is_not_undone_by_an_observation_from_before_it() {
    let link_states = database(&[("t.a", "n1")]);
    assert!(
        link_states
            .publish("t.a", &observed(State::Up), 0, 1)
            .unwrap()
    );
    assert!(
        !link_states
            .publish("t.a", &observed(State::Up), 0, 2)
            .unwrap()
    );
    link_states.fall(&[(end(), Reason::NoCarrier)], 7, 3);
    assert_eq!(own_state(&link_states), State::Down);
    let before = link_states.own("t.a").unwrap();

    link_states
        .publish("t.a", &observed(State::Up), 6, 4)
        .unwrap();
    assert_eq!(
        own_state(&link_states),
        State::Down,
        "it has not seen event 7"
    );
    link_states
        .publish("t.a", &observed(State::Init), 7, 5)
        .unwrap();
    assert_eq!(own_state(&link_states), State::Init);
    let after = link_states.own("t.a").unwrap();
    assert!(after.sequence > before.sequence);
    assert_eq!(after.ends["a/b"].transmit.since, 5);
}

fn silence() -> PathVerdict {
    PathVerdict {
        receive: Some(Suspicion {
            reason: Reason::Silence,
            diagnostic: 1,
        }),
        transmit: None,
    }
}

#[test]
fn a_verdict_stays_whatever_is_observed_of_the_interface_until_it_is_taken_back() {
    let link_states = database(&[("t.a", "n1")]);
    let publish = |state, through, now| {
        link_states
            .publish("t.a", &observed(state), through, now)
            .unwrap();
        link_states.own("t.a").unwrap().ends["a/b"]
    };
    let judge = |verdict, event, now| {
        let judged = link_states.judge(&[(end(), verdict)], event, now);
        (judged.changed.len(), judged.doubted.len())
    };
    publish(State::Up, 0, 1);
    assert_eq!(judge(PathVerdict::ALIVE, 1, 1), (0, 0), "nothing new");
    assert_eq!(judge(silence(), 2, 3), (1, 1));
    assert_eq!(judge(silence(), 3, 4), (0, 0), "nothing new");
    let suspect = link_states.own("t.a").unwrap();
    let receive = suspect.ends["a/b"].receive;
    assert_eq!((receive.state, receive.since), (State::Suspect, 3));
    for (state, through) in [(State::Up, 1), (State::Up, 2), (State::Init, 3)] {
        let now = publish(state, through, 9);
        assert_eq!(now.receive, receive, "{state:?}");
    }
    link_states.fall(&[(end(), Reason::NoCarrier)], 4, 10);
    assert_eq!(own_state(&link_states), State::Down);
    let now = publish(State::Init, 4, 11);
    assert_eq!((now.state(), now.receive.since), (State::Suspect, 11));

    // From before the healing: the engine's table is not made yet.
    assert_eq!(judge(PathVerdict::ALIVE, 5, 12), (1, 0));
    assert_eq!(own_state(&link_states), State::Init);
    assert_eq!(publish(State::Up, 4, 13).state(), State::Init);
    assert_eq!(publish(State::Up, 5, 14).state(), State::Up);
}

#[test]
fn a_suspect_end_is_suspect_for_the_next_daemon_too() {
    let link_states = database(&[("t.a", "n1")]);
    link_states
        .publish("t.a", &observed(State::Up), 0, 1)
        .unwrap();
    link_states.judge(&[(end(), silence())], 1, 2);
    let left = Report::clone(&link_states.own("t.a").unwrap());
    let next = LinkStates::new("n1", vec![left.clone()], 6);
    next.set_owners(owners(&[("t.a", "n1")], true));
    next.publish("t.a", &observed(State::Init), 0, 3).unwrap();
    let own = next.own("t.a").unwrap();
    assert_eq!(own.ends["a/b"].receive, left.ends["a/b"].receive);
    next.judge(&[(end(), PathVerdict::ALIVE)], 1, 4);
    assert_eq!(own_state(&next), State::Init);
}

#[test]
fn only_the_node_that_a_forwarder_is_on_is_believed() {
    let link_states = database(&[("t.a", "n1"), ("t.b", "n2")]);
    link_states.open("n2", 1);
    link_states.open("n3", 1);
    let hear = |report: Report| {
        let origin = report.origin.clone();
        link_states.hear(&origin, 1, report).unwrap()
    };
    let accepted = hear(report("n2", "t.b", 1, State::Up)).unwrap();
    assert_eq!(accepted.fallen, [""; 0]);
    assert_eq!(hear(report("n3", "t.b", 9, State::Down)), None);
    let valid = || link_states.valid("t.b").unwrap().origin.clone();
    assert_eq!(valid(), "n2");
    assert_eq!(hear(report("n2", "t.b", 1, State::Up)), None, "nothing new");
    let fallen = hear(report("n2", "t.b", 2, State::Down)).unwrap();
    assert_eq!(fallen.fallen, ["a/b"]);

    // It moves: what the other node said before counts from then on.
    let changed = link_states.set_owners(owners(&[("t.a", "n1"), ("t.b", "n3")], true));
    assert_eq!(Vec::from_iter(changed), ["t.b"]);
    assert_eq!(valid(), "n3");
}

#[test]
fn a_peer_that_is_away_keeps_its_report_and_a_newer_connection_replaces_the_old() {
    let link_states = database(&[("t.b", "n2"), ("t.c", "n2")]);
    link_states.open("n2", 1);
    link_states
        .hear("n2", 1, report("n2", "t.b", 1, State::Up))
        .unwrap();
    link_states
        .hear("n2", 1, report("n2", "t.c", 2, State::Up))
        .unwrap();
    assert!(link_states.close("n2", 1));
    assert!(link_states.valid("t.b").is_some());

    link_states.open("n2", 2);
    link_states.open("n2", 3);
    let old = report("n2", "t.b", 3, State::Down);
    assert_eq!(link_states.hear("n2", 2, old).unwrap(), None);
    assert!(!link_states.close("n2", 2), "the newer one counts");
    link_states
        .hear("n2", 3, report("n2", "t.b", 1, State::Up))
        .unwrap();
    let gone = link_states.hear_whole("n2", 3, &BTreeSet::new());
    assert_eq!(gone.len(), 1);
    assert_eq!(
        (gone[0].forwarder.as_str(), &gone[0].fallen[..]),
        ("t.c", &["a/b".to_owned()][..])
    );
    assert!(link_states.valid("t.c").is_none());
}

#[test]
fn a_node_that_forgot_its_count_is_raised_above_what_peers_know() {
    let link_states = database(&[("t.a", "n1")]);
    link_states
        .publish("t.a", &observed(State::Up), 0, 1)
        .unwrap();
    let before = link_states.own("t.a").unwrap().sequence;
    link_states.raise(before);
    assert_eq!(link_states.own("t.a").unwrap().sequence, before, "its own");
    // Of the same start by the clock, and with a higher count than this process has come to.
    link_states.raise(before.next());
    let raised = link_states.own("t.a").unwrap().sequence;
    assert_eq!(raised.incarnation, before.incarnation + 1);
    link_states.raise(Sequence {
        incarnation: 40,
        number: 1,
    });
    assert_eq!(link_states.own("t.a").unwrap().sequence.incarnation, 41);
}

#[test]
fn withdrawn_reports_count_against_no_limit_and_are_not_sent_to_a_new_peer() {
    let link_states = database(&[]);
    for number in 0..=MAX_FORWARDERS {
        let name = format!("t.f{number}");
        link_states
            .publish(&name, &observed(State::Up), 0, 1)
            .unwrap();
        link_states.withdraw(&name);
    }
    link_states
        .publish("t.a", &observed(State::Up), 0, 1)
        .expect("there is room");
    assert_eq!(link_states.since(0, true).changes.len(), 1);
    // Above whatever a peer may know of a Forwarder that this node has forgotten.
    let number = link_states.own("t.a").unwrap().sequence.number;
    assert_eq!(number as usize, 2 * (MAX_FORWARDERS + 1) + 1);
}

#[test]
fn pending_forwarders_are_collected_only_for_the_end_of_a_synchronisation() {
    let link_states = database(&[("t.a", "n1"), ("t.b", "n2")]);
    let first = link_states.since(0, true);
    assert_eq!(first.pending, Some(["t.a".to_owned()].into()));
    let later = link_states.since(first.generation, false);
    assert_eq!((later.changes.len(), later.pending), (0, None));
}

#[test]
fn what_a_node_says_on_its_connection_counts_whatever_its_clock_was_before() {
    let highest = Sequence {
        incarnation: u64::MAX,
        number: u64::MAX,
    };
    let link_states = database(&[("t.a", "n1"), ("t.b", "n2")]);
    let say = |id, incarnation, state| {
        link_states.open("n2", id);
        let mut report = report("n2", "t.b", 1, state);
        report.sequence.incarnation = incarnation;
        link_states.hear("n2", id, report).unwrap()
    };
    let valid = || link_states.valid("t.b").unwrap().ends["a/b"].state();
    // Of another daemon with its name; then the node itself, in 2026, in 1970, and in 2100.
    let times = [u64::MAX, 1_790_000_000_000, 5_000, 4_100_000_000_000];
    for (id, incarnation) in (1..).zip(times) {
        for state in [State::Up, State::Down] {
            let news = say(2 * id + u64::from(state == State::Up), incarnation, state);
            assert!(news.is_some(), "{incarnation} {state:?}");
            assert_eq!(valid(), state, "{incarnation}");
        }
    }
    say(20, u64::MAX, State::Up);
    link_states.open("n2", 21);
    let sequence = Sequence {
        incarnation: 7,
        number: 1,
    };
    let gone = link_states.hear_withdrawn("n2", 21, "t.b", sequence);
    assert_eq!(gone.unwrap().fallen, ["a/b"]);

    // The node of which a peer knows the highest of all sequences reports on.
    link_states
        .publish("t.a", &observed(State::Up), 0, 1)
        .unwrap();
    link_states.raise(highest);
    link_states.fall(&[(end(), Reason::NoCarrier)], 1, 2);
    assert_eq!(own_state(&link_states), State::Down);
    let left = Report {
        sequence: Sequence {
            number: 1,
            ..highest
        },
        ..report("n1", "t.a", 1, State::Up)
    };
    let next = LinkStates::new("n1", vec![left], 5);
    assert!(next.publish("t.a", &observed(State::Down), 0, 3).unwrap());
    assert_eq!(own_state(&next), State::Down);
}

#[test]
fn one_file_that_cannot_be_written_keeps_back_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("link-states");
    fs::create_dir_all(file_of(&path, "t.a").join("in the way")).unwrap();
    let long = format!("n.{}", "a".repeat(253));
    let link_states = Arc::new(database(&[]));
    let problem: Arc<Mutex<Option<String>>> = Arc::default();
    let noted = Arc::clone(&problem);
    let note = Box::new(move |problem| *noted.lock().unwrap() = problem);
    let writer = Writer::start(Arc::clone(&link_states), path.clone(), note).unwrap();
    for name in ["t.a", &long, "t.z"] {
        link_states
            .publish(name, &observed(State::Up), 0, 1)
            .unwrap();
    }
    drop(writer);
    let mut found: Vec<String> = read(&path).into_iter().map(|it| it.forwarder).collect();
    found.sort();
    assert_eq!(found, [&long, "t.z"]);
    let problem = problem.lock().unwrap().clone().expect("a problem");
    assert!(problem.contains("t.a.json"), "{problem}");
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_snapshot_is_what_the_next_daemon_begins_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("link-states");
    let link_states = Arc::new(database(&[("t.a", "n1"), ("t.b", "n2")]));
    let writer = Writer::start(Arc::clone(&link_states), path.clone(), Box::new(|_| {})).unwrap();
    link_states
        .publish("t.a", &observed(State::Up), 0, 1)
        .unwrap();
    link_states.open("n2", 1);
    link_states
        .hear("n2", 1, report("n2", "t.b", 1, State::Up))
        .unwrap();
    drop(writer);
    let mut found = read(&path);
    found.sort();
    assert_eq!(found.len(), 2, "the last round is at the end");

    let next = LinkStates::new("n1", found, 0);
    next.set_owners(owners(&[("t.a", "n1"), ("t.b", "n2")], true));
    assert!(next.valid("t.b").is_some());
    assert_eq!(next.own("t.a"), link_states.own("t.a"));
    let catchup = next.since(0, true);
    assert_eq!(catchup.changes.len(), 1, "own reports are announced again");
    // Also where nothing is new: a peer may have heard something newer that the snapshot missed.
    assert!(next.publish("t.a", &observed(State::Up), 0, 1).unwrap());
    assert!(next.own("t.a").unwrap().sequence > link_states.own("t.a").unwrap().sequence);
}

#[test]
fn a_snapshot_that_a_foreign_hand_keeps_from_being_written_is_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("link-states");
    fs::write(&path, "in the way").unwrap();
    let link_states = Arc::new(database(&[("t.a", "n1")]));
    let problem: Arc<Mutex<Option<String>>> = Arc::default();
    let noted = Arc::clone(&problem);
    let note = Box::new(move |problem| *noted.lock().unwrap() = problem);
    let _writer = Writer::start(Arc::clone(&link_states), path.clone(), note).unwrap();
    link_states
        .publish("t.a", &observed(State::Up), 0, 1)
        .unwrap();
    wait_for("a problem", || problem.lock().unwrap().is_some());
    assert_eq!(
        own_state(&link_states),
        State::Up,
        "nobody waits for the file"
    );
    fs::remove_file(&path).unwrap();
    wait_for("the file", || file_of(&path, "t.a").exists());
    fs::remove_dir_all(&path).unwrap();
    wait_for("the file again", || file_of(&path, "t.a").exists());
    link_states.set_owners(owners(&[], true));
    wait_for("no file", || !file_of(&path, "t.a").exists());
}
