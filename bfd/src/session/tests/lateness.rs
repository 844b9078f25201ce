//! A caller that is late itself.

use super::*;

/// A session that is Up, heard its peer at time zero, and sent a packet at 299 ms: next is silence, at 300 ms.
fn waiting() -> Session {
    let mut session = in_state(State::Up);
    let _ = sends(&mut session, at(299));
    let _ = session.step(at(299), Event::Configure(config(100, 100, 4)));
    assert_eq!(session.deadline(), Some(at(300)));
    session
}

fn packet_of(session: &mut Session, now: u64, received: u64) -> Actions {
    let event = Event::Packet {
        packet: says(State::Up),
        received: at(received),
    };
    session.step(at(now), event)
}

#[test]
fn a_punctual_caller_believes_silence() {
    for late in [0, 1] {
        let mut session = waiting();
        let actions = session.step(at(300 + late), Event::Timer);
        assert_eq!(actions.lateness, Some(ms(late)));
        assert!(actions.change.unwrap().is_failure() && !actions.is_extended);
    }
}

#[test]
fn a_late_caller_waits_once_as_long_as_it_was_late() {
    for (late, wait) in [(2, 2), (40, 40), (300, 300), (5_000, 300)] {
        let mut session = waiting();
        let now = 300 + late;
        let actions = session.step(at(now), Event::Timer);
        assert_eq!((actions.change, actions.lateness), (None, Some(ms(late))));
        assert!(actions.is_extended);
        assert_eq!(session.state(), State::Up);
        // Nobody comes: even if the caller is late again, this is the end.
        let again = session.clone().step(at(now + wait + 999), Event::Timer);
        assert!(again.change.unwrap().is_failure() && !again.is_extended);
        let mut last = at(now);
        while session.state() == State::Up {
            last = session.deadline().unwrap();
            let _ = session.step(last, Event::Timer);
        }
        assert_eq!(last, at(now + wait), "{late} ms late");
    }
}

#[test]
fn a_packet_that_waited_in_the_socket_keeps_the_session_up() {
    let mut session = waiting();
    // The sockets are read first.
    let actions = packet_of(&mut session, 900, 850);
    assert_eq!(
        (actions.lateness, actions.is_extended),
        (Some(ms(50)), false)
    );
    let _ = sends(&mut session, at(1_149));
    let actions = session.step(at(1_150), Event::Timer);
    let is_down = actions.change.unwrap().is_failure();
    assert!(is_down, "counted from the kernel's time");
}

#[test]
fn packets_that_are_all_old_prove_that_the_caller_was_away() {
    #[rustfmt::skip]
    let cases = [
        // received  read     down at
        (&[100][..],          200,   400), // waited for less than the rest of its own detection time
        (&[100],              260,   420),
        (&[100],              1_000, 1_300),
        // The first one tells for how long the caller was away; others were dropped from a full socket.
        (&[100, 150, 200],    1_000, 1_300),
        (&[100, 150, 200],    300,   500),
    ];
    for (received, read, down) in cases {
        let mut session = in_state(State::Up);
        for received in received {
            let _ = packet_of(&mut session, read, *received);
        }
        let mut last = at(read);
        while session.state() == State::Up {
            last = session.deadline().unwrap().max(last);
            let _ = session.step(last, Event::Timer);
        }
        assert_eq!(last, at(down), "{received:?} read at {read}");
    }
}

#[test]
fn an_old_packet_neither_ends_nor_renews_the_wait() {
    let mut session = waiting();
    assert!(session.step(at(1_000), Event::Timer).is_extended);
    assert!(!packet_of(&mut session, 1_001, 250).is_extended);
    assert!(!packet_of(&mut session, 1_001, 1_000).is_extended);
    let mut session = waiting();
    assert!(session.step(at(1_000), Event::Timer).is_extended);
    let _ = packet_of(&mut session, 1_001, 120);
    let _ = sends(&mut session, at(1_299));
    assert_eq!(session.state(), State::Up, "still waiting");
    let actions = session.step(at(1_310), Event::Timer);
    assert!(actions.change.unwrap().is_failure() && !actions.is_extended);
}

#[test]
fn each_wait_follows_a_sign_of_life() {
    let mut session = waiting();
    for round in 1..50 {
        let now = round * 1_000;
        assert!(session.step(at(now), Event::Timer).is_extended, "{round}");
        let _ = packet_of(&mut session, now + 1, now + 1);
    }
    assert_eq!(session.state(), State::Up);
}

#[test]
fn the_kernel_cannot_receive_in_the_future() {
    let mut session = waiting();
    let _ = packet_of(&mut session, 299, 9_000);
    let due = session.detection_at();
    assert_eq!(due, Some(at(599)));
}

#[test]
fn a_packet_that_is_read_after_a_newer_one_shortens_nothing() {
    let mut session = in_state(State::Up);
    let _ = packet_of(&mut session, 200, 200);
    let _ = packet_of(&mut session, 200, 199);
    assert_eq!(session.detection_at(), Some(at(500)));
}

#[test]
fn lateness_is_told_for_transmissions_too_and_only_at_a_deadline() {
    let mut session = in_state(State::Up);
    let due = session.deadline().unwrap();
    assert_eq!(session.step(at(1), Event::Timer).lateness, None);
    let actions = session.step(due + ms(7), Event::Timer);
    assert!(actions.send.is_some());
    assert_eq!(actions.lateness, Some(ms(7)));
}
