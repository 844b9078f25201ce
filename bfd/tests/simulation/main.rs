//! Two sessions over a channel that loses, duplicates, delays, reorders and is cut, with ends that pause, stop and restart.

mod world;

use std::time::Duration;

use bfd::{Cause, Damping, Diagnostic, Event, State};
use proptest::collection::vec;
use proptest::prelude::*;

use world::{Parameters, Wire, World, config, ms};

fn parameters() -> impl Strategy<Value = Parameters> {
    (10..500_u32, 10..500_u32, 3..6_u8)
}

fn delays() -> impl Strategy<Value = [Wire; 2]> {
    [0..20_u64, 0..20].prop_map(|delays| {
        let wire = |delay| Wire::clean(ms(delay), Duration::from_micros(500));
        delays.map(wire)
    })
}

fn bad_wires() -> impl Strategy<Value = [Wire; 2]> {
    let wire = (0..30_u64, 0..30_u64, 0..20_u64, 0..60_u64);
    let wire = wire.prop_map(|(loss, duplicates, delay, variation)| Wire {
        loss_percent: loss,
        duplicates_percent: duplicates,
        is_ordered: false,
        ..Wire::clean(ms(delay), ms(variation))
    });
    [wire.clone(), wire]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn both_come_up_over_a_bad_channel(
        seed in any::<u64>(),
        parameters in [parameters(), parameters()],
        wires in bad_wires(),
    ) {
        let mut world = World::new(seed, parameters, wires);
        let mut steps = 0;
        while !world.is_up() {
            steps += 1;
            prop_assert!(steps < 600, "not in a minute: {:?}", world.ends.map(|end| end.changes));
            world.run(ms(100));
        }
    }

    #[test]
    fn both_notice_a_cut_within_their_detection_time(
        seed in any::<u64>(),
        parameters in [parameters(), parameters()],
        wires in delays(),
        moment in 0..2_000_u64,
    ) {
        let mut world = World::up(seed, parameters, wires);
        world.run(ms(moment));
        world.wires.iter_mut().for_each(|wire| wire.is_cut = true);
        let cut = world.now;
        let detection = world.ends.each_mut().map(|end| end.session().detection_time().unwrap());
        world.run(ms(10_000));
        for (number, end) in world.ends.iter().enumerate() {
            // The last packet was on the wire when it was cut, or the next would have been sent then.
            let wire = &world.wires[1 - number];
            let last = wire.delay + wire.variation;
            let (time, change) = end.changes[0];
            prop_assert_eq!(change.cause, Cause::Silence);
            prop_assert!(change.is_failure());
            let after = time.since(cut);
            prop_assert!(after <= detection[number] + last, "{after:?} of {detection:?}");
            // Two thirds at least: the last interval of three may have been over.
            prop_assert!(after * 3 + ms(1) >= detection[number] * 2, "{after:?} of {detection:?}");
            prop_assert_eq!(end.changes.len(), 1);
        }
    }

    #[test]
    fn both_notice_the_loss_of_one_direction_and_recover(
        seed in any::<u64>(),
        parameters in [parameters(), parameters()],
        wires in delays(),
        deaf in 0..2_usize,
    ) {
        let mut world = World::up(seed, parameters, wires);
        let speaker = 1 - deaf;
        world.wires[speaker].is_cut = true;
        let cut = world.now;
        let detection = world.ends[deaf].session().detection_time().unwrap();
        world.run(ms(10_000));
        let (silent, told) = (world.ends[deaf].changes[0], world.ends[speaker].changes[0]);
        prop_assert_eq!(silent.1.cause, Cause::Silence);
        prop_assert!(silent.0.since(cut) <= detection + ms(21));
        let reason = Diagnostic::DETECTION_TIME_EXPIRED;
        prop_assert_eq!(told.1.cause, Cause::RemoteDown(reason), "with the reason of the other end");
        prop_assert!(told.1.is_failure());
        prop_assert!(told.0.since(silent.0) <= ms(21), "at once");
        for end in &world.ends {
            let is_up_again = end.changes.iter().any(|(_, change)| change.to == State::Up);
            prop_assert!(!is_up_again, "not over one direction");
        }
        world.wires[speaker].is_cut = false;
        world.run(ms(5_000));
        prop_assert!(world.is_up());
    }

    /// No order of changes takes a session down, also when they come faster than answers.
    #[test]
    fn parameters_change_without_a_down(
        seed in any::<u64>(),
        wires in delays(),
        changes in vec((0..2_usize, (5..1_000_u32, 5..1_000_u32, 1..6_u8), 0..1_500_u64), 1..20),
    ) {
        let mut world = World::up(seed, [(100, 100, 3); 2], wires);
        for (end, parameters, wait) in changes {
            world.order(end, Event::Configure(config(parameters)));
            world.run(ms(wait));
        }
        world.run(ms(10_000));
        for end in &mut world.ends {
            prop_assert_eq!(&end.changes, &[]);
            prop_assert!(!end.session().is_polling());
        }
        let [a, b] = world.ends.each_mut().map(|end| end.session().clone());
        for own in [&a, &b] {
            let interval = own.desired_min_tx().max(own.remote().unwrap().required_min_rx);
            prop_assert_eq!(own.transmit_interval(), Some(interval));
        }
    }

    /// An end that pauses for long, with a small socket, believes no silence of a peer that speaks: not even when all it finds
    /// in the socket is old.
    #[test]
    fn a_pause_of_the_own_end_is_no_silence_of_the_peer(
        seed in any::<u64>(),
        wires in delays(),
        buffer in 1..8_usize,
        pauses in vec((2..1_950_u64, 100..1_000_u64), 1..10),
    ) {
        // One end expects a packet each 10 ms, the other one waits for 3 s.
        let mut world = World::up(seed, [(1_000, 10, 3), (10, 10, 3)], wires);
        world.ends[0].buffer = buffer;
        for (pause, wait) in pauses {
            world.pause(0, ms(pause));
            world.run(ms(pause + wait));
        }
        prop_assert_eq!(&world.ends[0].changes, &[]);
        prop_assert_eq!(&world.ends[1].changes, &[]);
    }

    #[test]
    fn a_dead_peer_is_noticed_also_by_an_end_that_was_late(
        seed in any::<u64>(),
        wires in delays(),
        pause in 2..5_000_u64,
    ) {
        let mut world = World::up(seed, [(100, 100, 3); 2], wires);
        world.wires[1].is_cut = true;
        world.pause(0, ms(pause));
        world.run(ms(pause.max(320) + 301));
        prop_assert_eq!(world.ends[0].changes[0].1.cause, Cause::Silence);
    }

    #[test]
    fn a_planned_stop_is_no_failure_at_either_end(
        seed in any::<u64>(),
        parameters in [parameters(), parameters()],
        wires in delays(),
        end in 0..2_usize,
    ) {
        let mut world = World::up(seed, parameters, wires);
        world.order(end, Event::Disable);
        world.run(ms(5_000));
        prop_assert_eq!(world.ends[end].changes[0].1.cause, Cause::Disabled);
        let (_, change) = world.ends[1 - end].changes[0];
        prop_assert_eq!(change.cause, Cause::RemoteAdminDown(Diagnostic::ADMIN_DOWN));
        prop_assert!(!change.is_failure());
        world.order(end, Event::Enable);
        world.run(ms(5_000));
        prop_assert!(world.is_up());
    }

    /// After any history both ends are up within seconds, once the channel is good.
    #[test]
    fn any_history_ends_well(
        seed in any::<u64>(),
        wires in bad_wires(),
        operations in vec((operation(), 0..2_usize, 0..3_000_u64), 1..30),
    ) {
        let mut world = World::new(seed, [(50, 50, 3); 2], wires);
        for (operation, end, wait) in operations {
            match operation {
                Operation::Cut => world.wires[end].is_cut = true,
                Operation::Heal => world.wires[end].is_cut = false,
                Operation::Pause(millis) => world.pause(end, ms(millis)),
                Operation::Configure(it) => world.order(end, Event::Configure(config(it))),
                Operation::Restart(it) => world.restart(end, it),
                Operation::Order(event) => world.order(end, event),
            }
            world.run(ms(wait));
        }
        world.wires = [(); 2].map(|()| Wire::clean(ms(1), ms(0)));
        (0..2).for_each(|end| world.order(end, Event::Enable));
        // A pause of 2 s, the longest detection time of 2.5 s, and a few slow intervals.
        world.run(ms(12_000));
        prop_assert!(world.is_up());
        let polling = world.ends.iter_mut().any(|end| end.session().is_polling());
        prop_assert!(!polling);
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Cut,
    Heal,
    Pause(u64),
    Configure(Parameters),
    Restart(Parameters),
    Order(Event),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Cut),
        Just(Operation::Heal),
        (1..2_000_u64).prop_map(Operation::Pause),
        parameters().prop_map(Operation::Configure),
        parameters().prop_map(Operation::Restart),
        prop_oneof![
            Just(Event::Disable),
            Just(Event::Enable),
            Just(Event::PathDown)
        ]
        .prop_map(Operation::Order),
    ]
}

/// A world of 3 or 5 times 100 ms with loss in both directions.
fn lossy(seed: u64, multiplier: u8, loss_percent: u64) -> World {
    let clean = Wire::clean(ms(1), ms(0));
    let mut world = World::up(seed, [(100, 100, multiplier); 2], [clean.clone(), clean]);
    for wire in &mut world.wires {
        wire.loss_percent = loss_percent;
    }
    world
}

/// Failures of one end in ten minutes each, for ten seeds: how many intervals a link of this kind needs.
#[test]
fn loss_of_5_percent_takes_a_session_down_at_three_intervals_and_not_at_five() {
    let failures = |multiplier| {
        let failures = (1..=10).map(|seed| {
            let mut world = lossy(seed, multiplier, 5);
            world.run(ms(600_000));
            let changes = world.ends[0].changes.iter();
            changes.filter(|(_, change)| change.is_failure()).count()
        });
        failures.sum::<usize>()
    };
    let [three, five] = [failures(3), failures(5)];
    println!("failures in 100 minutes at 5 %: {three} at 3 x 100 ms, {five} at 5 x 100 ms");
    assert!(three > 0 && five == 0, "{three}, {five}");
}

/// Preference of a link is lost at most once a minute at 20 % loss, after the first minute, where it would be lost eight times.
#[test]
fn damping_hides_the_flaps_of_a_loss_of_20_percent() {
    let (mut failures, mut losses) = (0, [0, 0]);
    for seed in 1..=10 {
        let mut world = lossy(seed, 3, 20);
        let (mut damping, mut seen) = (Damping::default(), 0);
        let mut was_preferred = true;
        for tenth in 0..6_600 {
            world.run(ms(100));
            for (time, change) in &world.ends[0].changes[seen..] {
                if change.is_failure() {
                    damping.fail(*time);
                    failures += 1;
                }
            }
            seen = world.ends[0].changes.len();
            let is_up = world.ends[0].session().state() == State::Up;
            let is_preferred = is_up && !damping.is_suppressed(world.now);
            let is_later = usize::from(tenth >= 600);
            losses[is_later] += usize::from(was_preferred && !is_preferred);
            was_preferred = is_preferred;
        }
    }
    println!("20 % loss, 110 minutes: {failures} failures, preference lost {losses:?} times");
    assert!(losses[0] <= 40 && losses[1] <= 100 && failures > 800);
}
