//! Conditions and events of facts, one row for each.

use std::time::Duration;

use crds::{Problem, TopologyStatus};

use super::*;
use crate::plan::{Convergence, DownLink, Facts, Waiting};

const NOW: Now<'static> = Now {
    time: "2026-01-01T00:00:00Z",
    waited: None,
};

/// Three Forwarders and three links, all as they should be.
fn good() -> Facts {
    let names = ["a", "b", "c"].map(str::to_owned);
    Facts {
        generation: 1,
        convergence: Some(Convergence {
            total: 3,
            reported: 3,
            programmed: 3,
            links: 3,
            links_up: 3,
            parts: vec![names.to_vec()],
            ..Convergence::default()
        }),
        ..Facts::default()
    }
}

fn convergence(change: impl FnOnce(&mut Convergence)) -> Facts {
    let mut facts = good();
    change(facts.convergence.as_mut().expect("good facts have it"));
    facts
}

fn down(convergence: &mut Convergence) {
    convergence.links_up -= 1;
    convergence.down.push(DownLink {
        id: "a/b".to_owned(),
        at: "a".to_owned(),
        reason: "no packet".to_owned(),
    });
}

fn suspect(convergence: &mut Convergence) {
    convergence.links_up -= 1;
    convergence.suspect.push(DownLink {
        id: "a/b".to_owned(),
        at: "a".to_owned(),
        reason: "a hears nothing from b".to_owned(),
    });
}

fn of(status: &TopologyStatus, name: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|c| c.r#type == name);
    let found = found.expect("every condition is always there");
    (
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    )
}

#[test]
fn conditions_say_what_is_the_matter() {
    let silent = convergence(|convergence| {
        (
            convergence.reported,
            convergence.programmed,
            convergence.links_up,
            convergence.links_unknown,
        ) = (0, 0, 0, 3)
    });
    let late = convergence(|convergence| {
        convergence.programmed = 2;
        convergence.waiting.push(Waiting {
            forwarder: "c".to_owned(),
            node: "n3".to_owned(),
            epoch: "12ab".to_owned(),
            problem: String::new(),
        });
    });
    let cut = convergence(|convergence| {
        down(convergence);
        convergence.parts = vec![vec!["b".to_owned(), "c".to_owned()], vec!["a".to_owned()]];
    });
    let doubtful = convergence(|convergence| {
        suspect(convergence);
        convergence.is_doubtful = true;
    });
    let both = convergence(|convergence| {
        down(convergence);
        suspect(convergence);
    });
    let gone = convergence(|convergence| convergence.gone.push(("a".to_owned(), "n1".to_owned())));
    let all_gone = convergence(|convergence| {
        (convergence.reported, convergence.programmed) = (0, 0);
        convergence.gone.push(("a".to_owned(), "n1".to_owned()));
    });
    let none = convergence(|convergence| *convergence = Convergence::default());
    let mut writing = good();
    writing.writing.missing.push("c".to_owned());
    let mut rejected = good();
    rejected
        .problems
        .push(Problem::new("spec.links[0].b", "expected a forwarder"));
    rejected.rejected = "Invalid".to_owned();
    #[rustfmt::skip]
    let cases = [
        // facts         condition      status     reason         part of the message
        (&good(),        "Ready",       "True",    "Ready",       "all of 3"),
        (&good(),        "Degraded",    "False",   "AllUp",       "3 of 3 links"),
        (&good(),        "Progressing", "False",   "Settled",     ""),
        (&silent,        "Programmed",  "Unknown", "NotReported", "none of 3"),
        (&silent,        "Ready",       "Unknown", "NotReported", "none of 3"),
        (&silent,        "Degraded",    "Unknown", "NotReported", "3 of 3 links"),
        (&late,          "Programmed",  "False",   "Waiting",     "2 of 3 forwarders report the computed table; waiting for n3 (c: last reported epoch 12ab)"),
        (&late,          "Progressing", "True",    "Waiting",     "2 of 3"),
        (&convergence(down),    "Degraded",    "True",    "LinkDown",    "link a/b is down: a: no packet"),
        (&convergence(down),    "Ready",       "True",    "Ready",       ""),
        (&convergence(suspect), "Degraded",    "True",    "LinkSuspect", "link a/b is suspect: a: a hears nothing from b"),
        (&convergence(suspect), "Ready",       "True",    "Ready",       ""),
        (&doubtful,      "Degraded",    "True",    "LinkSuspect", "; there is no other way"),
        (&doubtful,      "Ready",       "Unknown", "LinkSuspect", "link a/b is suspect"),
        (&both,          "Degraded",    "True",    "LinkDown",    "link a/b is down: a: no packet; link a/b is suspect: a"),
        (&cut,           "Degraded",    "True",    "Partitioned", "a cannot be reached from the other 2 forwarders: link a/b is down"),
        (&cut,           "Ready",       "False",   "Partitioned", "a cannot be reached"),
        (&gone,          "Degraded",    "True",    "NodeGone",    "node n1 of forwarder a does not exist"),
        (&gone,          "Ready",       "False",   "NodeGone",    "node n1"),
        (&all_gone,      "Ready",       "False",   "NodeGone",    "node n1"),
        (&none,          "Programmed",  "False",   "NoForwarders", "no node matches spec.forwarderPerNode"),
        (&none,          "Ready",       "False",   "NoForwarders", "no node matches"),
        (&writing,       "Computed",    "False",   "Writing",     "2 of 3 forwarders are written; waiting for c"),
        (&writing,       "Programmed",  "False",   "Writing",     ""),
        (&rejected,      "Accepted",    "False",   "Invalid",     "spec.links[0].b: expected a forwarder"),
        (&rejected,      "Computed",    "False",   "NotAccepted", ""),
        (&rejected,      "Programmed",  "False",   "NotAccepted", "the network of the last accepted one stays, 3 of 3"),
        (&rejected,      "Degraded",    "False",   "AllUp",       ""),
    ];
    for (facts, condition, status, reason, message) in cases {
        let all = next(facts, &TopologyStatus::default(), NOW);
        let actual = of(&all, condition);
        assert_eq!(
            (actual.0.as_str(), actual.1.as_str()),
            (status, reason),
            "{condition}: {actual:?}"
        );
        assert!(actual.2.contains(message), "{condition}: {actual:?}");
    }
}

#[test]
fn times_move_only_with_the_status_of_their_condition() {
    let first = next(&good(), &TopologyStatus::default(), NOW);
    let later = Now {
        time: "2026-01-01T00:00:09Z",
        waited: None,
    };
    assert_eq!(
        next(&good(), &first, later),
        first,
        "equal facts change nothing"
    );
    let second = next(&convergence(down), &first, later);
    let since = |status: &TopologyStatus, name: &str| {
        let found = status.conditions.iter().find(|c| c.r#type == name);
        found
            .and_then(|c| c.last_transition_time.clone())
            .expect("it has a time")
    };
    assert_eq!(since(&second, "Degraded"), later.time);
    assert_eq!(since(&second, "Ready"), NOW.time);
}

#[test]
fn convergence_is_taken_once_for_each_generation() {
    let after = |millis| Now {
        waited: Some(Duration::from_millis(millis)),
        ..NOW
    };
    let mut writing = good();
    writing.writing.missing.push("c".to_owned());
    let status = next(&writing, &TopologyStatus::default(), after(10));
    assert_eq!(status.convergence, "");
    let status = next(&good(), &status, after(350));
    assert_eq!(status.convergence, "350ms");
    let status = next(&convergence(down), &status, after(9000));
    assert_eq!(
        status.convergence, "350ms",
        "a link that is lost is no change of the declaration"
    );
    let edited = Facts {
        generation: 2,
        ..good()
    };
    assert_eq!(next(&edited, &status, after(20)).convergence, "20ms");
}

#[test]
fn events_tell_transitions_only() {
    let status = |facts: &Facts| next(facts, &TopologyStatus::default(), NOW);
    let told = |before: &TopologyStatus, after: &Facts| -> Vec<String> {
        let events = events(before, &next(after, before, NOW));
        let shown = events.iter().map(|event| {
            let kind = if event.warning { "!" } else { "" };
            format!("{kind}{}", event.reason)
        });
        shown.collect()
    };
    let new = TopologyStatus::default();
    let cut = convergence(|convergence| {
        down(convergence);
        convergence.parts = vec![vec!["b".to_owned(), "c".to_owned()], vec!["a".to_owned()]];
    });
    let mut rejected = good();
    rejected.problems.push(Problem::new("spec", "expected"));
    rejected.rejected = "Invalid".to_owned();
    assert_eq!(
        told(&new, &good()),
        ["Accepted", "Computed", "Programmed", "Ready"]
    );
    assert_eq!(told(&status(&good()), &good()), [""; 0]);
    assert_eq!(told(&status(&good()), &convergence(down)), ["!LinkDown"]);
    let suspect = convergence(suspect);
    assert_eq!(told(&status(&good()), &suspect), ["!LinkSuspect"]);
    assert_eq!(told(&status(&suspect), &good()), ["AllUp"]);
    assert_eq!(told(&status(&convergence(down)), &cut), ["!Partitioned"]);
    assert_eq!(told(&status(&cut), &good()), ["Ready", "AllUp"]);
    assert_eq!(told(&status(&good()), &rejected), ["!Invalid"]);
    assert_eq!(told(&status(&rejected), &rejected), [""; 0]);
}

#[test]
fn what_is_refused_in_other_words_is_reworded_and_nothing_else_is() {
    let refused = |why: &str| {
        let mut facts = good();
        facts.writing.blocked = Some(why.to_owned());
        next(&facts, &TopologyStatus::default(), NOW)
    };
    let (one, other) = (refused("iot.a: no room"), refused("iot.b: no room"));
    assert!(one != other && is_reworded(&one, &other));
    let done = next(&good(), &one, NOW);
    assert!(!is_reworded(&one, &done) && !is_reworded(&done, &one));
    assert!(!is_reworded(&TopologyStatus::default(), &one));
}
