//! Order of sent events, and dropped ones.

use super::*;

fn told(uid: &str, news: News) -> Told {
    Told {
        namespace: "plant".to_owned(),
        name: "pod".to_owned(),
        uid: uid.to_owned(),
        news,
    }
}

fn event(message: &str) -> News {
    News::Event {
        is_warning: true,
        reason: "FailedAttach",
        message: message.to_owned(),
    }
}

fn take(waiting: &mut Waiting) -> Option<Slot> {
    match waiting.next(Instant::now()) {
        Next::Tell(slot) => Some(slot),
        Next::At(_) | Next::Nothing => None,
    }
}

fn take_all(waiting: &mut Waiting) -> Vec<(String, News)> {
    let all = std::iter::from_fn(|| take(waiting));
    all.map(|slot| (slot.told.uid, slot.told.news)).collect()
}

#[test]
fn the_latest_status_is_told_and_each_event_once() {
    let mut waiting = Waiting::default();
    for value in ["one", "two"] {
        waiting.add(told("1", News::NetworkStatus(value.to_owned())));
    }
    for (uid, message) in [("1", "x"), ("1", "x"), ("2", "x"), ("1", "y")] {
        waiting.add(told(uid, event(message)));
    }
    let first = take(&mut waiting).unwrap();
    assert_eq!(first.told.news, News::NetworkStatus("two".to_owned()));
    waiting.add(told("1", News::NetworkStatus("three".to_owned())));
    waiting.put_back(first);
    let expected = [
        ("1".to_owned(), News::NetworkStatus("three".to_owned())),
        ("1".to_owned(), event("x")),
        ("2".to_owned(), event("x")),
        ("1".to_owned(), event("y")),
    ];
    assert_eq!(take_all(&mut waiting), expected);
}

#[test]
fn what_is_refused_keeps_nobody_waiting_and_makes_room() {
    let mut waiting = Waiting::default();
    let status = || News::NetworkStatus("one".to_owned());
    waiting.add(told("1", status()));
    waiting.add(told("1", event("x")));
    for _ in 0..2 {
        let mut slot = take(&mut waiting).unwrap();
        slot.not_before = Some(Instant::now() + ANSWER);
        waiting.put_back(slot);
    }
    assert!(matches!(waiting.next(Instant::now()), Next::At(_)));
    waiting.add(told("2", status()));
    waiting.add(told("2", event("x")));
    let expected = [("2".to_owned(), status()), ("2".to_owned(), event("x"))];
    assert_eq!(take_all(&mut waiting), expected);
    let later = Instant::now() + 2 * ANSWER;
    assert!(matches!(waiting.next(later), Next::Tell(slot) if slot.told.news == status()));
    for number in 0..QUEUE {
        waiting.add(told(&number.to_string(), event("y")));
    }
    assert_eq!(take_all(&mut waiting).len(), QUEUE);
    assert!(matches!(waiting.next(later), Next::Nothing));
}

#[test]
fn what_waits_and_what_is_remembered_is_bounded() {
    let mut waiting = Waiting::default();
    for number in 0..3 * REMEMBERED {
        waiting.add(told(&number.to_string(), event("x")));
    }
    assert_eq!(
        (waiting.events.len(), waiting.told.len()),
        (QUEUE, REMEMBERED)
    );
}

#[test]
fn what_was_refused_is_given_up_when_it_has_made_room() {
    let mut waiting = Waiting::default();
    let mut elsewhere = told("1", event("x"));
    elsewhere.namespace = "field".to_owned();
    waiting.add(elsewhere);
    let mut slot = take(&mut waiting).unwrap();
    slot.not_before = Some(Instant::now() + ANSWER);
    waiting.put_back(slot);
    assert!(waiting.given_up().is_empty());
    for number in 0..QUEUE {
        waiting.add(told(&number.to_string(), event("y")));
    }
    assert_eq!(waiting.given_up(), ["event of a pod in field"]);
    assert!(waiting.given_up().is_empty());
}

#[test]
fn text_is_cut_between_characters() {
    assert_eq!(cut("öö", 3), "ö");
    assert_eq!(cut("short", NOTE_MAX), "short");
}
