//! States, diagnostics, causes.

use super::*;
use State::{AdminDown, Down, Init, Up};

#[test]
fn packets_change_the_state_as_section_6_8_6_says() {
    let reason = Diagnostic::from_code(6);
    let [is_down, is_stopped] = [Cause::RemoteDown(reason), Cause::RemoteAdminDown(reason)];
    let (none, neighbour) = (Diagnostic::NONE, Diagnostic::NEIGHBOUR_DOWN);
    let admin = Diagnostic::ADMIN_DOWN;
    #[rustfmt::skip]
    let cases = [
        // own       hears      next  diagnostic  change
        (AdminDown, AdminDown, AdminDown, admin,  None),
        (AdminDown, Down,      AdminDown, admin,  None),
        (AdminDown, Init,      AdminDown, admin,  None),
        (AdminDown, Up,        AdminDown, admin,  None),
        (Down,      AdminDown, Down, none,        None),
        (Down,      Down,      Init, none,        Some(Cause::Heard)),
        (Down,      Init,      Up,   none,        Some(Cause::Heard)),
        (Down,      Up,        Down, none,        None),
        (Init,      AdminDown, Down, neighbour,   Some(is_stopped)),
        (Init,      Down,      Init, none,        None),
        (Init,      Init,      Up,   none,        Some(Cause::Heard)),
        (Init,      Up,        Up,   none,        Some(Cause::Heard)),
        (Up,        AdminDown, Down, neighbour,   Some(is_stopped)),
        (Up,        Down,      Down, neighbour,   Some(is_down)),
        (Up,        Init,      Up,   none,        None),
        (Up,        Up,        Up,   none,        None),
    ];
    for (from, heard, to, diagnostic, cause) in cases {
        let mut session = in_state(from);
        let packet = Packet {
            diagnostic: reason,
            ..says(heard)
        };
        let actions = hear(&mut session, 10, packet);
        let change = cause.map(|cause| Change { from, to, cause });
        assert_eq!(actions.change, change, "{from} hears {heard}");
        assert_eq!(session.state(), to, "{from} hears {heard}");
        assert_eq!(session.diagnostic(), diagnostic, "{from} hears {heard}");
        // A change is told at once; without one there is nothing to say.
        let told = actions.send.map(|packet| (packet.state, packet.diagnostic));
        let expected = change.map(|_| (to, diagnostic));
        assert_eq!(told, expected, "{from} hears {heard}");
    }
}

#[test]
fn only_a_broken_path_is_a_failure() {
    #[rustfmt::skip]
    let cases = [
        (Up,   hear(&mut in_state(Up), 1, says(Down)),                 true),
        (Up,   hear(&mut in_state(Up), 1, says(AdminDown)),            false),
        (Up,   in_state(Up).step(at(300), Event::Timer),               true),
        (Up,   in_state(Up).step(at(1), Event::PathDown),              true),
        (Up,   in_state(Up).step(at(1), Event::Disable),               false),
        (Init, in_state(Init).step(at(300), Event::Timer),             false),
        (Init, hear(&mut in_state(Init), 1, says(Up)),                 false),
    ];
    for (number, (from, actions, is_failure)) in cases.into_iter().enumerate() {
        let change = actions.change.unwrap();
        assert_eq!(change.from, from, "row {number}");
        assert_eq!(change.is_failure(), is_failure, "row {number}: {change:?}");
    }
}

#[test]
fn silence_is_noticed_at_the_detection_time_and_not_before() {
    for state in [Init, Up] {
        let mut session = in_state(state);
        let due = at(300);
        let just_before = Time::from_origin(ms(300) - Duration::from_nanos(1));
        while session.deadline().is_some_and(|deadline| deadline < due) {
            let now = session.deadline().unwrap();
            assert_eq!(session.step(now, Event::Timer).change, None, "{state}");
        }
        assert_eq!(session.step(just_before, Event::Timer).change, None);
        assert_eq!(session.deadline(), Some(due), "{state}");
        let actions = session.step(due, Event::Timer);
        assert_eq!(actions.change.unwrap().cause, Cause::Silence, "{state}");
        let told = actions.send.unwrap();
        let diagnostic = Diagnostic::DETECTION_TIME_EXPIRED;
        assert_eq!((told.state, told.diagnostic), (Down, diagnostic), "{state}");
        assert_eq!(told.your_discriminator, Some(PEER), "so that it is taken");
        assert_eq!(session.remote(), None, "{state}");
        let sent = sends(&mut session, at(1_300));
        assert_eq!(sent.len(), 1, "not before its interval");
        assert_eq!(sent[0].1.your_discriminator, None, "section 6.8.1");
    }
}

#[test]
fn a_silent_peer_is_forgotten_in_any_state() {
    let mut session = in_state(Down);
    let _ = sends(&mut session, at(299));
    assert!(session.remote().is_some());
    let actions = session.step(at(300), Event::Timer);
    assert_eq!((actions.change, actions.send), (None, None));
    assert_eq!((session.remote(), session.state()), (None, Down));
}

#[test]
fn the_diagnostic_is_kept_until_the_session_is_up_again() {
    let mut session = in_state(Up);
    let _ = session.step(at(300), Event::Timer);
    let _ = hear(&mut session, 400, says(Down));
    let diagnostic = Diagnostic::DETECTION_TIME_EXPIRED;
    assert_eq!((session.state(), session.diagnostic()), (Init, diagnostic));
    let _ = hear(&mut session, 410, says(Init));
    assert_eq!(session.diagnostic(), Diagnostic::NONE);
}

#[test]
fn a_planned_stop_is_said_each_time_and_ends_by_order_alone() {
    let mut session = in_state(Up);
    for (number, cause) in [Some(Cause::Disabled), None, None].into_iter().enumerate() {
        let actions = session.step(at(10), Event::Disable);
        let told = actions.send.unwrap();
        let expected = (AdminDown, Diagnostic::ADMIN_DOWN);
        assert_eq!((told.state, told.diagnostic), expected, "{number}");
        assert_eq!(actions.change.map(|change| change.cause), cause, "{number}");
    }
    // A Poll is discarded (section 6.8.6).
    let poll = Packet {
        is_poll: true,
        ..says(Down)
    };
    assert_eq!(hear(&mut session, 20, poll).send, None);
    assert_eq!(session.step(at(21), Event::PathDown), Actions::default());
    let periodic = sends(&mut session, at(5_000));
    assert!(
        periodic.len() >= 4,
        "section 6.8.16: at least for a detection time"
    );
    assert!(
        periodic
            .iter()
            .all(|(_, packet)| packet.state == AdminDown && !packet.is_poll)
    );
    let actions = session.step(at(6_000), Event::Enable);
    assert_eq!(actions.change.unwrap().cause, Cause::Enabled);
    let told = actions.send.unwrap();
    assert_eq!((told.state, told.diagnostic), (Down, Diagnostic::NONE));
    assert_eq!(
        session.step(at(6_001), Event::Enable),
        Actions::default(),
        "once is enough"
    );
}

#[test]
fn a_path_that_is_known_to_be_down_takes_the_session_down_at_once() {
    let mut session = in_state(Up);
    let actions = session.step(at(10), Event::PathDown);
    assert_eq!(actions.send.unwrap().diagnostic, Diagnostic::PATH_DOWN);
    assert_eq!(actions.change.unwrap().cause, Cause::PathDown);
    assert_eq!(session.step(at(11), Event::PathDown), Actions::default());
    let _ = hear(&mut session, 20, says(Down));
    assert_eq!(session.state(), Init, "packets bring it back");
}

#[test]
fn a_restarted_peer_comes_up_with_another_discriminator() {
    let mut session = in_state(Up);
    let fresh = |state| Packet {
        my_discriminator: NonZeroU32::new(77).unwrap(),
        your_discriminator: (state != Down).then_some(OWN),
        ..says(state)
    };
    let actions = hear(&mut session, 50, fresh(Down));
    assert!(actions.change.unwrap().is_failure());
    let told = actions.send.unwrap().your_discriminator;
    assert_eq!(told.map(NonZeroU32::get), Some(77), "the new one is echoed");
    let _ = hear(&mut session, 60, fresh(Down));
    let _ = hear(&mut session, 70, fresh(Init));
    assert_eq!(session.state(), Up);
    assert_eq!(session.remote().unwrap().discriminator.get(), 77);
}

#[test]
fn a_packet_for_another_session_changes_nothing() {
    for state in [AdminDown, Down, Init, Up] {
        let mut session = in_state(state);
        let before = std::format!("{session:?}");
        let foreign = Packet {
            your_discriminator: Some(PEER),
            is_poll: true,
            ..says(Down)
        };
        assert_eq!(hear(&mut session, 10, foreign), Actions::default());
        assert_eq!(std::format!("{session:?}"), before);
    }
}

#[test]
fn the_control_plane_bit_is_that_of_the_configuration() {
    for is_so in [false, true] {
        let config = config(100, 100, 3).control_plane_independent(is_so);
        let mut session = Session::new(OWN, config, 0, at(0));
        let packet = session.step(at(0), Event::Timer).send.unwrap();
        assert_eq!(packet.is_control_plane_independent, is_so);
        assert!(!packet.is_demand && packet.required_min_echo_rx == Interval::ZERO);
    }
}

#[test]
fn parameters_have_a_floor() {
    let multiplier = NonZeroU8::new(3).unwrap();
    let [floor, below] = [MIN, MIN - 1].map(Interval::from_micros);
    assert!(Config::new(floor, floor, multiplier).is_ok());
    let refused = Err(crate::ConfigError { interval: below });
    assert_eq!(Config::new(below, floor, multiplier), refused);
    assert_eq!(Config::new(floor, below, multiplier), refused);
}

const MIN: u32 = crate::MIN_INTERVAL.micros();
