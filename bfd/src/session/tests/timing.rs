//! Intervals, jitter, slow start, detection time, demand.

use super::*;

/// Gaps between packets of a session that hears `heard` after each of them.
fn gaps(session: &mut Session, heard: Packet, count: usize) -> std::vec::Vec<Duration> {
    let mut last = None;
    let mut gaps = std::vec::Vec::new();
    while gaps.len() < count {
        let now = session.deadline().unwrap();
        let actions = session.step(now, Event::Timer);
        if actions.send.is_some() {
            gaps.extend(last.map(|last| now.since(last)));
            last = Some(now);
        }
        let _ = session.step(
            now,
            Event::Packet {
                packet: heard,
                received: now,
            },
        );
    }
    gaps
}

#[test]
fn a_session_that_is_not_up_sends_slowly() {
    let mut session = down();
    let sent = sends(&mut session, at(60_000));
    assert!((58..=80).contains(&sent.len()), "{}", sent.len());
    let mut last = at(0);
    for (time, packet) in sent {
        let gap = time.since(last);
        assert!((ms(750)..=ms(1000)).contains(&gap), "{gap:?}");
        assert_eq!(packet.desired_min_tx, SLOW, "section 6.8.3");
        assert_eq!(packet.required_min_rx, Interval::from_millis(100));
        last = time;
    }
    for state in [State::AdminDown, State::Down, State::Init] {
        assert_eq!(in_state(state).desired_min_tx(), SLOW, "{state}");
    }
    let up = Interval::from_millis(100);
    assert_eq!(in_state(State::Up).desired_min_tx(), up);
}

#[test]
fn a_longer_interval_than_the_slow_one_stays() {
    let session = Session::new(OWN, config(2_500, 100, 3), 0, at(0));
    assert_eq!(session.desired_min_tx(), Interval::from_millis(2_500));
}

#[test]
fn gaps_are_three_quarters_of_the_interval_up_to_all_of_it() {
    for (multiplier, most) in [(1, 90), (3, 100)] {
        let mut session = in_state(State::Up);
        let other = config(100, 100, multiplier);
        let _ = session.step(at(1), Event::Configure(other));
        let gaps = gaps(&mut session, says(State::Up), 2_000);
        // The first one is still of the older multiplier.
        let gaps = &gaps[1..];
        let (least, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!((ms(75)..ms(76)).contains(least), "{multiplier}: {least:?}");
        assert!(
            (ms(most - 1)..=ms(most)).contains(longest),
            "{multiplier}: {longest:?}"
        );
    }
}

#[test]
fn intervals_are_negotiated() {
    #[rustfmt::skip]
    let cases = [
        // ours: tx, rx, times; theirs: tx, rx, times; interval, detection time
        ((100, 100, 3), (100, 100, 3), Some(100),  300),
        ((100, 100, 3), (100, 250, 3), Some(250),  300),
        ((300, 100, 3), (100, 250, 3), Some(300),  300),
        ((100, 100, 3), (250, 100, 5), Some(100),  1250),
        ((100, 400, 9), (250, 100, 2), Some(100),  800),
        ((100, 100, 3), (100, 0, 3),   None,       300),
    ];
    for (ours, theirs, interval, detection) in cases {
        let mut session = in_state(State::Up);
        let _ = session.step(at(0), Event::Configure(config(ours.0, ours.1, ours.2)));
        let packet = Packet {
            desired_min_tx: Interval::from_millis(theirs.0),
            required_min_rx: Interval::from_millis(theirs.1),
            detect_multiplier: NonZeroU8::new(theirs.2).unwrap(),
            is_final: true,
            ..says(State::Up)
        };
        let _ = hear(&mut session, 0, packet);
        let expected = interval.map(Interval::from_millis);
        assert_eq!(
            session.transmit_interval(),
            expected,
            "{ours:?} meets {theirs:?}"
        );
        let expected = Some(ms(detection));
        assert_eq!(
            session.detection_time(),
            expected,
            "{ours:?} meets {theirs:?}"
        );
    }
}

#[test]
fn a_peer_that_can_receive_faster_is_served_at_once() {
    let mut session = in_state(State::Up);
    let slow = Packet {
        required_min_rx: Interval::from_millis(10_000),
        detect_multiplier: NonZeroU8::MAX,
        ..says(State::Up)
    };
    let _ = hear(&mut session, 1, slow);
    assert!(session.deadline().unwrap() > at(5_000));
    let fast = Packet {
        detect_multiplier: NonZeroU8::MAX,
        ..says(State::Up)
    };
    let _ = hear(&mut session, 2_000, fast);
    let due = session.deadline().unwrap();
    assert!(
        due <= at(2_000),
        "the shorter interval has passed already: {due:?}"
    );
    let actions = session.step(at(2_000), Event::Timer);
    assert!(actions.send.is_some());
    assert!(session.deadline().unwrap() <= at(2_100));
}

#[test]
fn demand_of_the_peer_stops_periodic_packets_while_both_ends_are_up() {
    let mut session = in_state(State::Up);
    let quiet = Packet {
        is_demand: true,
        detect_multiplier: NonZeroU8::MAX,
        ..says(State::Up)
    };
    let _ = hear(&mut session, 10, quiet);
    assert_eq!(session.transmit_interval(), None);
    assert_eq!(
        sends(&mut session, at(20_000)),
        [],
        "only silence is waited for"
    );
    // Its Poll is answered, without a D bit of ours.
    let poll = Packet {
        is_poll: true,
        ..quiet
    };
    let answer = hear(&mut session, 20_000, poll).send.unwrap();
    assert!(answer.is_final && !answer.is_poll && !answer.is_demand);
    // A Poll Sequence of ours goes on until it is answered.
    let _ = session.step(at(20_001), Event::Configure(config(200, 100, 3)));
    let sent = sends(&mut session, at(21_000));
    assert!(sent.len() >= 4 && sent.iter().all(|(_, packet)| packet.is_poll));
    let _ = hear(
        &mut session,
        21_000,
        Packet {
            is_final: true,
            ..quiet
        },
    );
    assert_eq!(session.transmit_interval(), None);
    // The peer wants them again.
    let _ = hear(&mut session, 21_100, says(State::Up));
    assert_eq!(
        session.transmit_interval(),
        Some(Interval::from_millis(200))
    );
}

#[test]
fn demand_in_another_state_is_without_effect() {
    let mut session = in_state(State::Init);
    let packet = Packet {
        is_demand: true,
        ..says(State::Down)
    };
    let _ = hear(&mut session, 1, packet);
    assert_eq!(session.transmit_interval(), Some(SLOW));
}

#[test]
fn a_peer_that_wants_no_packets_still_hears_of_changes() {
    let mut session = in_state(State::Up);
    let deaf = Packet {
        required_min_rx: Interval::ZERO,
        ..says(State::Up)
    };
    let _ = hear(&mut session, 0, deaf);
    let sent = sends(&mut session, at(10_000));
    // The end by silence; then nothing is known of the peer, and the session calls again.
    assert_eq!((sent[0].0, sent[0].1.state), (at(300), State::Down));
    assert!(sent.len() > 5);
}
