//! The adapter of Kubernetes against a real API server.

mod away;
mod bed;
mod busy;
mod daemon;
mod displaced;
mod follow;
mod full;
mod killed;
mod leaving;
mod pods;
mod refused;
mod relay;
mod status;
mod warden;
mod wiped;

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use anyhow::Result;
use libtest_mimic::{Arguments, Trial, run};

type Test = fn() -> Result<()>;

/// Daemons of all tests have one kernel, and one that cleans its node takes all interfaces of beemesh off it.
static KERNEL: RwLock<()> = RwLock::new(());

fn main() -> ExitCode {
    if let Some(code) = killed::child() {
        return code;
    }
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let tests: [(&str, Test); 22] = [
        (
            "objects_appear_change_and_vanish",
            follow::objects_appear_change_and_vanish,
        ),
        (
            "a_topology_is_followed_while_it_is_here",
            follow::a_topology_is_followed_while_it_is_here,
        ),
        (
            "equal_names_in_two_namespaces_never_meet",
            follow::equal_names_in_two_namespaces,
        ),
        (
            "a_bad_topology_stands_beside_good_ones",
            follow::a_bad_topology_beside_good_ones,
        ),
        (
            "nothing_goes_while_the_server_is_away",
            away::nothing_goes_while_the_server_is_away,
        ),
        (
            "it_starts_without_a_server",
            away::it_starts_without_a_server,
        ),
        (
            "it_starts_beside_a_server_that_is_frozen",
            away::it_starts_beside_a_server_that_is_frozen,
        ),
        (
            "a_watch_that_expires_is_not_seen",
            away::a_watch_that_expires_is_not_seen,
        ),
        (
            "a_store_that_was_restored_is_listed_again",
            away::a_store_that_was_restored_is_listed_again,
        ),
        ("a_status_is_written_once", status::a_status_is_written_once),
        (
            "an_epoch_with_the_same_table_is_no_write",
            status::an_epoch_with_the_same_table_is_no_write,
        ),
        (
            "what_another_node_reported_is_replaced",
            status::what_another_node_reported_is_replaced,
        ),
        (
            "reports_wait_for_the_server",
            status::reports_wait_for_the_server,
        ),
        (
            "pods_are_found_and_followed",
            pods::pods_are_found_and_followed,
        ),
        ("pods_are_told", pods::pods_are_told),
        (
            "a_daemon_killed_at_any_moment_keeps_no_wrong_state",
            killed::at_any_moment,
        ),
        (
            "a_token_that_expires_is_read_anew_and_nothing_goes_meanwhile",
            refused::a_token_that_expires_is_read_anew_and_nothing_goes_meanwhile,
        ),
        (
            "watches_that_fail_are_made_anew_with_pauses",
            busy::watches_that_fail_are_made_anew_with_pauses,
        ),
        (
            "watches_that_are_never_answered_are_given_up_and_made_anew",
            busy::watches_that_are_never_answered_are_given_up_and_made_anew,
        ),
        (
            "no_list_is_of_a_state_that_may_be_old",
            busy::no_list_is_of_a_state_that_may_be_old,
        ),
        (
            "reports_that_fail_for_all_are_tried_for_one",
            busy::reports_that_fail_for_all_are_tried_for_one,
        ),
        (
            "what_is_refused_for_one_namespace_is_told_in_others",
            busy::what_is_refused_for_one_namespace_is_told_in_others,
        ),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| e2e::trial(name, missing.as_deref(), test));
    let unable = daemon::missing().or_else(|| missing.clone());
    let daemons: [(&str, Test); 8] = [
        (
            "a_ready_node_loses_its_startup_taint_alone",
            leaving::a_ready_node_loses_its_startup_taint_alone,
        ),
        (
            "what_is_refused_is_said_once_and_heals_when_it_is_granted",
            refused::what_is_refused_is_said_once_and_heals_when_it_is_granted,
        ),
        (
            "an_event_that_is_refused_does_not_keep_the_startup_taint",
            refused::an_event_that_is_refused_does_not_keep_the_startup_taint,
        ),
        (
            "a_list_that_is_displaced_is_an_event_and_so_is_its_end",
            displaced::a_list_that_is_displaced_is_an_event_and_so_is_its_end,
        ),
        (
            "a_daemon_without_a_key_says_so_once",
            displaced::a_daemon_without_a_key_says_so_once,
        ),
        (
            "a_key_that_is_not_there_yet_is_waited_for_and_said_once",
            displaced::a_key_that_is_not_there_yet_is_waited_for_and_said_once,
        ),
        (
            "a_full_disk_stops_nothing_and_heals",
            full::a_full_disk_stops_nothing_and_heals,
        ),
        (
            "what_a_wiped_node_has_is_taken_back",
            wiped::what_a_wiped_node_has_is_taken_back,
        ),
    ];
    let cleaners: [(&str, Test); 2] = [
        (
            "a_node_that_is_asked_is_clean_and_proves_it_again",
            leaving::a_node_that_is_asked_is_clean_and_proves_it_again,
        ),
        (
            "a_daemon_killed_while_it_cleans_goes_on",
            leaving::a_daemon_killed_while_it_cleans_goes_on,
        ),
    ];
    let daemons = daemons.map(|(name, test)| {
        let beside = move || {
            let _kernel = KERNEL.read().unwrap_or_else(PoisonError::into_inner);
            test()
        };
        e2e::trial(name, unable.as_deref(), beside)
    });
    let cleaners = cleaners.map(|(name, test)| {
        let alone = move || {
            let _kernel = KERNEL.write().unwrap_or_else(PoisonError::into_inner);
            test()
        };
        e2e::trial(name, unable.as_deref(), alone)
    });
    let trials: Vec<Trial> = trials.chain(daemons).chain(cleaners).collect();
    let mut arguments = Arguments::from_args();
    // They wait more than they compute.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    run(&arguments, trials).exit_code()
}
