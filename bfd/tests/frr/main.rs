//! Sessions with bfdd of FRR, over a veth between two namespaces.
//!
//! Root and FRR are needed; without them all of it is shown as ignored, never as passed.

mod bed;
mod capture;
mod cuts;
mod near;
mod talk;
mod wire;

use std::process::{Command, ExitCode};

use bed::Family;
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let missing = bed::missing();
    e2e::tell(missing);
    if missing.is_none() {
        prefer_us();
    }
    let mut trials = Vec::new();
    for family in [Family::V4, Family::V6] {
        for (name, test) in [
            ("comes_up", talk::comes_up as fn(Family) -> _),
            ("follows_intervals_of_frr", talk::follows_intervals_of_frr),
            ("frr_follows_our_intervals", talk::frr_follows_our_intervals),
            (
                "planned_stops_are_no_failures",
                talk::planned_stops_are_no_failures,
            ),
            ("silence_is_noticed", cuts::silence_is_noticed),
        ] {
            let name = format!("{family:?}: {name}");
            trials.push(e2e::trial(&name, missing, move || test(family)));
        }
    }
    for (name, test) in [
        (
            "frr_stops_hearing_us",
            cuts::frr_stops_hearing_us as fn() -> _,
        ),
        (
            "a_restarted_frr_comes_back",
            cuts::a_restarted_frr_comes_back,
        ),
        ("a_frozen_frr_is_down", cuts::a_frozen_frr_is_down),
        (
            "our_own_pause_is_no_silence",
            cuts::our_own_pause_is_no_silence,
        ),
        (
            "packets_leave_slowly_at_first_and_with_jitter",
            wire::packets_leave_slowly_at_first_and_with_jitter,
        ),
        (
            "packets_from_afar_are_refused",
            wire::packets_from_afar_are_refused,
        ),
    ] {
        trials.push(e2e::trial(name, missing, test));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Takes the processor before other programs, for our threads and for FRR: both inherit it. Without the right to it all goes on as before.
fn prefer_us() {
    let pid = std::process::id().to_string();
    let mut renice = Command::new("renice");
    let _ = renice.args(["-n", "-20", "-p", &pid]).output();
}
