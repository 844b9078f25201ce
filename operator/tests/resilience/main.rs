//! The operator on a real API server that is killed, frozen and filled with nonsense, and killed itself.

mod bad;
mod bed;
mod chaos;
mod cluster;
mod deletes;
mod edits;
mod faults;
mod nodes;
mod proxy;
mod random;
mod rbac;
mod snapshot;
mod steady;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial, run};

use proxy::{late, slow};

type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let servers = e2e::needs_servers();
    e2e::tell(servers.as_deref());
    let tests: [(&str, Test); 18] = [
        (
            "three_replicas_killed_at_random_end_where_a_calm_one_does",
            chaos::three_replicas,
        ),
        (
            "nothing_is_written_in_steady_state",
            steady::nothing_is_written,
        ),
        (
            "an_api_server_restarted_under_load_is_found_again",
            faults::api_server_restarted,
        ),
        ("a_frozen_etcd_is_waited_for", faults::etcd_frozen),
        ("a_watch_that_expired_is_made_up_for", faults::watch_expired),
        (
            "bad_objects_never_stop_good_ones",
            bad::stored_before_a_stricter_schema,
        ),
        (
            "what_is_added_to_a_forwarder_by_hand_goes_again",
            edits::added_by_hand,
        ),
        ("a_namespace_goes_with_its_topologies", deletes::namespace),
        (
            "a_node_that_goes_is_said_and_nothing_is_stuck",
            deletes::node,
        ),
        (
            "definitions_removed_and_applied_again_are_watched_again",
            deletes::definitions_gone,
        ),
        (
            "what_was_deleted_while_no_operator_ran_is_swept",
            deletes::operator_away,
        ),
        ("a_lost_node_touches_only_its_topologies", nodes::lost_node),
        (
            "a_replica_that_hears_late_undoes_nothing",
            late::one_watch_is_held_back,
        ),
        (
            "one_tenant_without_answers_holds_up_no_other",
            slow::a_namespace_without_answers_holds_up_no_other,
        ),
        (
            "a_write_that_is_altered_each_time_is_made_ever_more_seldom",
            slow::a_write_that_is_altered_each_time_is_made_ever_more_seldom,
        ),
        (
            "a_table_that_conflicts_is_published_ever_more_seldom",
            slow::a_table_of_an_object_that_is_not_as_heard_is_published_ever_more_seldom,
        ),
        (
            "pods_are_told_several_at_once",
            slow::pods_are_told_several_at_once,
        ),
        ("the_role_as_shipped_is_never_refused", rbac::as_shipped),
    ];
    let helm = e2e::needs(&["kube-controller-manager", "helm"]);
    let trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, test)| {
            let needs_more = name.contains("shipped") || name.contains("namespace");
            let missing = if needs_more { helm.as_ref() } else { None };
            e2e::trial(name, servers.as_ref().or(missing).map(String::as_str), test)
        })
        .collect();
    let mut arguments = Arguments::from_args();
    // Each has servers of its own: more at once would only wait for the processor.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    run(&arguments, trials).exit_code()
}
