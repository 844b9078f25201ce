//! Detectors on the real kernel: two of them with a veth between their namespaces, and one with bfdd of FRR at the other end.
//!
//! Root and nftables are needed, FRR for some; without them tests are shown as ignored, never as passed.

#[path = "../../../bfd/tests/frr/bed.rs"]
#[allow(dead_code, reason = "the other suite uses more of it")]
mod bed;
mod ends;
mod faults;
mod frr;

use std::process::ExitCode;

use bed::Family;
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let missing = bed::missing();
    e2e::tell(missing);
    let mut trials = Vec::new();
    for family in [Family::V4, Family::V6] {
        for (name, test) in [
            (
                "a_silent_cut_and_its_healing",
                faults::silent_cut as fn(Family) -> _,
            ),
            ("a_cut_in_one_direction", faults::one_way_cut),
            ("a_planned_stop_and_a_new_start", faults::planned_stop),
            ("an_interface_that_is_made_anew", faults::made_anew),
            ("a_namespace_that_is_deleted", faults::deleted_namespace),
            ("a_flood_from_another_interface", faults::flood),
            ("a_flood_that_a_neighbour_forwards", faults::forwarded_flood),
            ("a_session_with_frr", frr::session),
        ] {
            let name = format!("{family:?}: {name}");
            trials.push(e2e::trial(&name, missing, move || test(family)));
        }
    }
    trials.push(e2e::trial(
        "nothing_is_left_open",
        missing,
        faults::nothing_is_left,
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
