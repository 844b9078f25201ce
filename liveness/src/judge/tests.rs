use super::*;

const DETECTION: Duration = Duration::from_millis(300);

fn at(millis: u64) -> Time {
    Time::from_origin(Duration::from_millis(millis))
}

fn change(from: State, to: State, cause: Cause) -> Change {
    Change { from, to, cause }
}

const UP: Change = Change {
    from: State::Init,
    to: State::Up,
    cause: Cause::Heard,
};
const SILENT: Change = Change {
    from: State::Up,
    to: State::Down,
    cause: Cause::Silence,
};

/// A judge whose session is up.
fn up() -> Judge {
    let mut judge = Judge::new(PathVerdict::ALIVE, DETECTION, at(0));
    judge.follow(&UP, at(1_000));
    assert_eq!(judge.deadline(), None);
    judge
}

fn reasons(judge: &Judge) -> [Option<Reason>; 2] {
    let PathVerdict { receive, transmit } = judge.verdict();
    [receive, transmit].map(|suspicion| suspicion.map(|it| it.reason))
}

#[test]
fn silence_is_of_the_receiving_direction_and_ends_when_the_session_is_up() {
    let mut judge = up();
    judge.follow(&SILENT, at(5_000));
    assert_eq!(reasons(&judge), [Some(Reason::Silence), None]);
    assert_eq!(judge.verdict().receive.unwrap().diagnostic, 1);
    judge.follow(&change(State::Down, State::Init, Cause::Heard), at(6_000));
    assert_eq!(reasons(&judge), [Some(Reason::Silence), None], "not up yet");
    judge.follow(&UP, at(7_000));
    assert!(judge.verdict().is_alive());
}

#[test]
fn a_peer_that_hears_nothing_makes_the_sending_direction_suspect() {
    for (code, expected) in [
        (1, Some(Reason::PeerSilence)),
        (5, Some(Reason::PeerSilence)),
        (3, None),
    ] {
        let mut judge = up();
        let cause = Cause::RemoteDown(Diagnostic::from_code(code));
        judge.follow(&change(State::Up, State::Down, cause), at(5_000));
        assert_eq!(reasons(&judge), [None, expected], "{code}");
    }
}

#[test]
fn a_session_that_never_comes_up_is_suspect_after_the_grace_time() {
    for (state, expected) in [
        (State::Down, [Some(Reason::NeverUp), Some(Reason::NeverUp)]),
        (State::Init, [None, Some(Reason::NeverUp)]),
        (State::Up, [None, None]),
    ] {
        let mut judge = Judge::new(PathVerdict::ALIVE, DETECTION, at(0));
        let due = judge.deadline().unwrap();
        assert_eq!(due, at(10_000));
        judge.follow(&change(State::Init, State::Down, Cause::Silence), at(9_000));
        judge.wake(state, at(9_999));
        assert!(judge.verdict().is_alive(), "{state}");
        judge.wake(state, due);
        assert_eq!(reasons(&judge), expected, "{state}");
        assert_eq!(judge.deadline(), None);
    }
    let slow = Judge::new(PathVerdict::ALIVE, Duration::from_secs(9), at(0));
    assert_eq!(slow.deadline(), Some(at(90_000)));
}

#[test]
fn an_earlier_verdict_stands_until_the_session_is_up() {
    let earlier = both(Reason::Silence, Diagnostic::DETECTION_TIME_EXPIRED);
    let mut judge = Judge::new(earlier, DETECTION, at(0));
    assert_eq!(judge.verdict(), earlier);
    judge.follow(&UP, at(2_000));
    assert!(judge.verdict().is_alive());
}

#[test]
fn the_silence_of_a_stopped_daemon_is_no_failure() {
    // Told before the silence.
    let mut judge = up();
    judge.pause(at(5_000), DETECTION);
    judge.follow(&SILENT, at(5_300));
    assert!(judge.verdict().is_alive());
    // Told by a planned stop, and told a moment after the silence.
    let mut planned = up();
    let cause = Cause::RemoteAdminDown(Diagnostic::ADMIN_DOWN);
    planned.follow(&change(State::Up, State::Down, cause), at(5_000));
    let mut late = up();
    late.follow(&SILENT, at(4_000));
    late.pause(at(5_000), DETECTION);
    for mut judge in [judge, planned, late] {
        assert!(judge.verdict().is_alive());
        judge.wake(State::Down, at(7_000));
        assert_eq!(judge.deadline(), Some(at(65_000)));
        judge.wake(State::Down, at(64_999));
        assert!(judge.verdict().is_alive());
        judge.wake(State::Down, at(65_000));
        assert_eq!(reasons(&judge), [Some(Reason::Silence), None]);
        assert_eq!(judge.deadline(), None);
    }
    // A silence that has lasted is none of a stop.
    let mut judge = up();
    judge.follow(&SILENT, at(2_000));
    judge.pause(at(5_000), DETECTION);
    assert_eq!(reasons(&judge), [Some(Reason::Silence), None]);
}

#[test]
fn a_pause_ends_with_the_session_soon_after_the_return_and_with_the_kernel() {
    let paused = || {
        let mut judge = up();
        judge.pause(at(5_000), DETECTION);
        judge.follow(&SILENT, at(5_300));
        judge.wake(State::Down, at(6_900));
        judge
    };
    let mut judge = paused();
    judge.follow(&UP, at(7_000));
    assert_eq!(
        (judge.verdict(), judge.deadline()),
        (PathVerdict::ALIVE, None)
    );
    judge.follow(&SILENT, at(8_000));
    assert_eq!(
        reasons(&judge),
        [Some(Reason::Silence), None],
        "no pause any more"
    );

    let mut judge = paused();
    judge.resume(at(7_000));
    assert_eq!(judge.deadline(), Some(at(17_000)));
    let mut late = paused();
    late.resume(at(64_000));
    assert_eq!(late.deadline(), Some(at(65_000)), "never longer");

    let mut judge = paused();
    judge.end_pause(at(6_000));
    judge.wake(State::Down, at(6_000));
    assert_eq!(reasons(&judge), [Some(Reason::Silence), None]);
    let mut judge = up();
    judge.end_pause(at(6_000));
    assert_eq!(judge.deadline(), None, "there was none");
}

#[test]
fn a_restarted_peer_has_the_grace_time() {
    let mut judge = up();
    let cause = Cause::RemoteDown(Diagnostic::NONE);
    judge.follow(&change(State::Up, State::Down, cause), at(5_000));
    assert!(judge.verdict().is_alive());
    assert_eq!(judge.deadline(), Some(at(15_000)));
    judge.wake(State::Down, at(15_000));
    assert_eq!(reasons(&judge), [Some(Reason::NeverUp); 2]);
}

#[test]
fn a_grace_time_that_ends_in_a_pause_is_judged_with_the_pause() {
    let mut judge = Judge::new(PathVerdict::ALIVE, DETECTION, at(0));
    judge.pause(at(1_000), DETECTION);
    judge.wake(State::Down, at(2_900));
    judge.wake(State::Down, at(10_000));
    assert!(judge.verdict().is_alive());
    assert_eq!(judge.deadline(), Some(at(61_000)));
    judge.wake(State::Down, at(61_000));
    assert_eq!(reasons(&judge), [Some(Reason::Silence), None]);
}

#[test]
fn a_link_that_fails_too_often_stays_suspect_until_it_rests() {
    let mut judge = up();
    for failure in 0..3 {
        judge.follow(&SILENT, at(5_000 + 2_000 * failure));
        judge.follow(&UP, at(6_000 + 2_000 * failure));
    }
    assert_eq!(reasons(&judge), [Some(Reason::Damped); 2]);
    let free = judge.deadline().unwrap();
    assert!(free > at(20_000) && free < at(35_000), "{free:?}");
    judge.wake(State::Up, at(20_000));
    assert_eq!(reasons(&judge), [Some(Reason::Damped); 2]);
    judge.wake(State::Up, free);
    assert_eq!(
        (judge.verdict(), judge.deadline()),
        (PathVerdict::ALIVE, None)
    );
    // Restarts of the peer are no failures of the link.
    let mut judge = up();
    for restart in 0..9 {
        judge.follow(&SILENT, at(5_000 + 2_000 * restart));
        judge.pause(at(5_100 + 2_000 * restart), DETECTION);
        judge.follow(&UP, at(6_000 + 2_000 * restart));
    }
    assert!(judge.verdict().is_alive());
}

#[test]
fn a_daemon_whose_session_goes_on_has_not_stopped() {
    let mut judge = up();
    judge.pause(at(5_000), DETECTION);
    assert_eq!(judge.deadline(), Some(at(6_900)));
    judge.wake(State::Up, at(6_900));
    assert_eq!(judge.deadline(), None);
    judge.follow(&SILENT, at(7_000));
    assert_eq!(reasons(&judge), [Some(Reason::Silence), None]);
}

/// A link that failed three times and is up.
fn damped() -> (Judge, Time) {
    let mut judge = up();
    for failure in 0..3 {
        judge.follow(&SILENT, at(5_000 + 2_000 * failure));
        judge.follow(&UP, at(6_000 + 2_000 * failure));
    }
    let free = judge.deadline().expect("it rests");
    (judge, free)
}

#[test]
fn a_damped_link_that_fails_again_is_not_alive_when_its_rest_is_over() {
    let (mut judge, free) = damped();
    let cause = Cause::RemoteDown(Diagnostic::DETECTION_TIME_EXPIRED);
    judge.follow(&change(State::Up, State::Down, cause), at(11_000));
    assert_eq!(
        reasons(&judge),
        [Some(Reason::Damped), Some(Reason::PeerSilence)]
    );
    judge.wake(State::Init, free);
    assert_eq!(reasons(&judge), [None, Some(Reason::PeerSilence)]);
    let (mut judge, free) = damped();
    judge.follow(&SILENT, at(11_000));
    judge.wake(State::Down, free);
    assert_eq!(reasons(&judge), [Some(Reason::Silence), None]);
    assert_eq!(judge.deadline(), None);
}

#[test]
fn a_link_that_an_earlier_process_damped_stays_so_until_its_session_is_up() {
    let earlier = both(Reason::Damped, Diagnostic::NONE);
    let mut judge = Judge::new(earlier, DETECTION, at(0));
    assert_eq!(judge.deadline(), Some(at(10_000)), "the grace time");
    judge.wake(State::Down, at(1));
    assert_eq!(judge.verdict(), earlier);
    judge.follow(&UP, at(2_000));
    assert!(judge.verdict().is_alive());
}

#[test]
fn a_session_that_an_echo_took_down_comes_up_or_fails() {
    let mut judge = up();
    let cause = Cause::RemoteDown(Diagnostic::NEIGHBOUR_DOWN);
    judge.follow(&change(State::Up, State::Down, cause), at(5_000));
    assert!(judge.verdict().is_alive());
    judge.wake(State::Down, at(15_000));
    assert_eq!(reasons(&judge), [Some(Reason::NeverUp); 2]);
}
