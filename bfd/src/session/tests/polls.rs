//! Poll Sequences, and parameters that wait for their end.

use super::*;

const FINAL: fn(State) -> Packet = |state| Packet {
    is_final: true,
    ..says(state)
};

#[test]
fn a_poll_is_answered_at_once_and_outside_the_rhythm() {
    for state in [State::Down, State::Init, State::Up] {
        let mut session = in_state(state);
        let before = session.deadline();
        let poll = Packet {
            is_poll: true,
            // Says nothing new in any of these states.
            state: if state == State::Up {
                State::Up
            } else {
                State::AdminDown
            },
            ..says(State::Up)
        };
        let answer = hear(&mut session, 0, poll).send.unwrap();
        assert!(answer.is_final && !answer.is_poll, "{state}");
        if state != State::Init {
            assert_eq!(session.deadline(), before, "{state}");
        }
    }
}

#[test]
fn a_session_that_comes_up_polls_until_it_is_answered() {
    let mut session = in_state(State::Init);
    let first = hear(&mut session, 10, says(State::Up)).send.unwrap();
    assert_eq!((first.state, first.is_poll), (State::Up, true));
    assert_eq!(first.desired_min_tx, Interval::from_millis(100));
    let sent = sends(&mut session, at(299));
    assert!(sent.len() >= 2, "the shorter interval is used at once");
    assert!(sent.iter().all(|(_, packet)| packet.is_poll));
    let _ = hear(&mut session, 299, FINAL(State::Up));
    assert!(!session.is_polling());
    let sent = sends(&mut session, at(598));
    assert!(sent.len() >= 2 && sent.iter().all(|(_, packet)| !packet.is_poll));
}

#[test]
fn a_session_that_stays_slow_does_not_poll() {
    let mut session = Session::new(OWN, config(1_000, 100, 3), 0, at(0));
    let _ = hear(&mut session, 0, says(State::Init));
    assert_eq!((session.state(), session.is_polling()), (State::Up, false));
}

#[test]
fn an_answer_that_comes_before_the_question_ends_nothing() {
    let mut session = in_state(State::Init);
    // Our answer tells that we are up, so our first packet with P is still to come.
    let poll = Packet {
        is_poll: true,
        ..says(State::Up)
    };
    let answer = hear(&mut session, 10, poll).send.unwrap();
    assert!(answer.is_final && !answer.is_poll);
    let _ = hear(&mut session, 20, FINAL(State::Up));
    assert!(session.is_polling(), "it answers an older question");
    let sent = sends(&mut session, at(200));
    assert!(sent[0].1.is_poll);
    let _ = hear(&mut session, 200, FINAL(State::Up));
    assert!(!session.is_polling());
}

#[test]
fn parameters_wait_for_the_answer_where_the_peer_has_to_know_them_first() {
    #[rustfmt::skip]
    let cases = [
        // tx, rx     sends at  waits for   after the answer
        ((100, 100), (100, 300), (100, 300)),
        ((200, 100), (100, 300), (200, 300)), // longer interval: waits
        ((50, 100),  (50, 300),  (50, 300)),  // shorter interval: at once
        ((100, 200), (100, 600), (100, 600)), // longer detection: at once
        ((100, 50),  (100, 300), (100, 150)), // shorter detection: waits
        ((200, 50),  (100, 300), (200, 150)),
    ];
    for ((tx, rx), before, after) in cases {
        let mut session = in_state(State::Up);
        let fast = Packet {
            desired_min_tx: Interval::from_millis(10),
            required_min_rx: Interval::from_millis(10),
            ..says(State::Up)
        };
        let _ = hear(&mut session, 0, fast);
        let actions = session.step(at(1), Event::Configure(config(tx, rx, 3)));
        let is_change = (tx, rx) != (100, 100);
        assert_eq!(session.is_polling(), is_change, "{tx} {rx}");
        assert_eq!(actions.send.map(|it| it.is_poll), is_change.then_some(true));
        let timing = |session: &Session| {
            let interval = session.transmit_interval().unwrap();
            (interval, session.detection_time().unwrap())
        };
        let expected = |(tx, detection)| (Interval::from_millis(tx), ms(detection));
        assert_eq!(timing(&session), expected(before), "{tx} {rx} polls");
        let told = sends(&mut session, at(100))[0].1;
        let is_told = (told.desired_min_tx, told.required_min_rx);
        let expected_words = (Interval::from_millis(tx), Interval::from_millis(rx));
        assert_eq!(is_told, expected_words, "packets tell it already");
        let answer = Packet {
            is_final: true,
            ..fast
        };
        let _ = hear(&mut session, 100, answer);
        assert_eq!(timing(&session), expected(after), "{tx} {rx} is answered");
    }
}

#[test]
fn a_change_during_a_sequence_has_a_sequence_of_its_own() {
    let mut session = in_state(State::Up);
    let _ = session.step(at(1), Event::Configure(config(200, 100, 3)));
    let _ = session.step(at(2), Event::Configure(config(400, 100, 3)));
    let _ = hear(&mut session, 50, FINAL(State::Up));
    assert!(session.is_polling(), "an answer to the first");
    let interval = Interval::from_millis(100);
    assert_eq!(session.transmit_interval(), Some(interval));
    let _ = hear(&mut session, 51, FINAL(State::Up));
    assert!(!session.is_polling());
    let interval = Interval::from_millis(400);
    assert_eq!(session.transmit_interval(), Some(interval));
}

#[test]
fn answers_to_an_older_sequence_do_not_end_a_newer_one() {
    let mut session = in_state(State::Up);
    let _ = session.step(at(1), Event::Configure(config(200, 100, 3)));
    let asked = 1 + sends(&mut session, at(250)).len();
    assert!(asked >= 3);
    let _ = hear(&mut session, 250, FINAL(State::Up));
    assert!(!session.is_polling());
    // The other answers are on their way when the parameters change again.
    let _ = session.step(at(260), Event::Configure(config(200, 20, 3)));
    for number in 1..asked {
        let _ = hear(&mut session, 270, FINAL(State::Up));
        assert!(session.is_polling(), "answer {number} of {asked}");
    }
    let _ = hear(&mut session, 280, FINAL(State::Up));
    assert!(!session.is_polling());
}

#[test]
fn the_multiplier_and_the_control_plane_bit_change_without_a_sequence() {
    let mut session = in_state(State::Up);
    let other = config(100, 100, 5).control_plane_independent(true);
    let told = session.step(at(1), Event::Configure(other)).send.unwrap();
    assert!(told.is_control_plane_independent && !told.is_poll);
    assert_eq!(told.detect_multiplier.get(), 5);
    assert!(!session.is_polling(), "section 6.8.12");
}

#[test]
fn a_sequence_ends_with_the_session() {
    let mut session = in_state(State::Up);
    let _ = session.step(at(1), Event::Configure(config(200, 50, 3)));
    let told = hear(&mut session, 2, says(State::Down)).send.unwrap();
    assert!(!told.is_poll && !session.is_polling());
    assert_eq!(session.detection_time(), Some(ms(300)), "the peer's 100 ms");
}

#[test]
fn a_peer_that_sets_both_bits_is_answered_and_heard() {
    let mut session = in_state(State::Up);
    let _ = session.step(at(1), Event::Configure(config(200, 100, 3)));
    let both = Packet {
        is_poll: true,
        ..FINAL(State::Up)
    };
    let answer = hear(&mut session, 2, both).send.unwrap();
    assert!(answer.is_final && !answer.is_poll);
    assert!(!session.is_polling());
}
