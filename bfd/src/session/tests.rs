//! One end against packets that are written by hand.

use core::num::NonZeroU8;

use super::*;

mod lateness;
mod machine;
mod polls;
mod timing;

/// Discriminators of the session and of its peer.
const OWN: NonZeroU32 = NonZeroU32::new(1).expect("not zero");
const PEER: NonZeroU32 = NonZeroU32::new(9).expect("not zero");

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Time {
    Time::from_origin(ms(millis))
}

fn config(tx: u32, rx: u32, multiplier: u8) -> Config {
    let multiplier = NonZeroU8::new(multiplier).unwrap();
    Config::new(
        Interval::from_millis(tx),
        Interval::from_millis(rx),
        multiplier,
    )
    .unwrap()
}

/// A peer's packet: 100 ms in both directions, three times.
fn says(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        is_poll: false,
        is_final: false,
        is_control_plane_independent: false,
        is_demand: false,
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: PEER,
        your_discriminator: Some(OWN),
        desired_min_tx: Interval::from_millis(100),
        required_min_rx: Interval::from_millis(100),
        required_min_echo_rx: Interval::ZERO,
    }
}

/// A session of 100 ms in both directions, three times, that was made at time zero and has sent its first packet.
fn down() -> Session {
    let mut session = Session::new(OWN, config(100, 100, 3), 0, at(0));
    let first = session.step(at(0), Event::Timer).send;
    assert_eq!(first.map(|packet| packet.state), Some(State::Down));
    session
}

/// A session in `state` at time zero, which heard a packet then. In Up its Poll Sequence is over.
fn in_state(state: State) -> Session {
    let mut session = down();
    let mut hear = |packet| {
        let _ = hear(&mut session, 0, packet);
    };
    match state {
        State::AdminDown => {
            let _ = session.step(at(0), Event::Disable);
        }
        State::Down => hear(says(State::AdminDown)),
        State::Init => hear(says(State::Down)),
        State::Up => {
            hear(says(State::Init));
            hear(Packet {
                is_final: true,
                ..says(State::Up)
            });
        }
    }
    assert_eq!(session.state(), state);
    session
}

/// Gives a packet that was received and read at this millisecond.
fn hear(session: &mut Session, millis: u64, packet: Packet) -> Actions {
    let received = at(millis);
    session.step(received, Event::Packet { packet, received })
}

/// Packets that the session sends at its deadlines up to `until`, with their times. It hears nothing.
fn sends(session: &mut Session, until: Time) -> std::vec::Vec<(Time, Packet)> {
    let mut sent = std::vec::Vec::new();
    while let Some(now) = session.deadline().filter(|due| *due <= until) {
        let actions = session.step(now, Event::Timer);
        sent.extend(actions.send.map(|packet| (now, packet)));
    }
    sent
}
