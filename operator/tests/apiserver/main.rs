//! The operator on a real API server.

mod away;
mod bad;
mod cluster;
mod first;
mod lifecycle;
mod limits;
mod mesh_key;
mod names;
mod network_attachments;
mod newer;
mod placement;
mod pods;
mod status;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial, run};

type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let tests: [(&str, Test); 33] = [
        ("a_topology_is_computed", first::a_topology_is_computed),
        (
            "topologies_never_share_a_vni",
            first::topologies_never_share_a_vni,
        ),
        (
            "one_forwarder_per_node_follows_nodes",
            placement::one_per_node_follows_nodes,
        ),
        (
            "a_selected_node_is_kept_while_it_is_there",
            placement::a_selected_node_is_kept,
        ),
        (
            "a_topology_waits_for_its_node",
            placement::a_topology_waits_for_its_node,
        ),
        (
            "it_follows_a_store_that_was_restored",
            away::it_follows_a_store_that_was_restored,
        ),
        (
            "an_allocation_larger_than_an_object_is_given_in_shards",
            limits::more_than_one_object_holds,
        ),
        (
            "large_topologies_fit_into_the_memory_of_the_chart",
            limits::large_topologies_fit_into_the_memory_of_the_chart,
        ),
        (
            "no_node_has_more_forwarders_than_is_allowed",
            limits::no_node_has_more_than_is_allowed,
        ),
        (
            "nodes_without_a_daemon_are_left_out",
            placement::nodes_without_a_daemon_are_left_out,
        ),
        ("apps_follow_pods", pods::apps_follow_pods),
        (
            "pods_are_seen_as_nodes_see_them",
            pods::pods_are_seen_as_nodes_see_them,
        ),
        (
            "a_pod_without_a_forwarder_is_told",
            pods::a_pod_without_a_forwarder_is_told,
        ),
        (
            "apps_with_pods_are_found_by_name",
            names::apps_with_pods_are_found_by_name,
        ),
        (
            "reports_beyond_the_plan_give_no_names",
            names::reports_beyond_the_plan_give_no_names,
        ),
        (
            "a_service_of_somebody_else_is_left_alone_and_told_of",
            names::a_service_of_somebody_else_is_left_alone,
        ),
        (
            "names_that_are_refused_are_told",
            names::names_that_are_refused_are_told,
        ),
        (
            "names_go_with_their_topology",
            names::names_go_with_their_topology,
        ),
        (
            "network_attachments_are_made_on_request_where_there_is_such_a_kind",
            network_attachments::made_on_request_where_there_is_such_a_kind,
        ),
        (
            "reports_of_nodes_make_it_ready_and_degraded",
            status::reports_of_nodes_make_it_ready,
        ),
        (
            "a_bad_spec_after_a_good_one_tears_nothing_down",
            status::a_bad_spec_tears_nothing_down,
        ),
        ("transitions_are_told", status::transitions_are_told),
        (
            "what_is_refused_is_told_and_the_rest_goes_on",
            status::what_is_refused_is_told,
        ),
        (
            "edits_of_others_on_our_fields_are_undone",
            status::our_fields_are_ours,
        ),
        (
            "what_is_deleted_in_any_order_leaves_nothing",
            lifecycle::deletion_leaves_nothing,
        ),
        (
            "a_topology_made_again_settles",
            lifecycle::a_topology_made_again_settles,
        ),
        (
            "an_object_of_another_topology_is_named_and_waited_for",
            bad::in_the_way,
        ),
        ("it_ends_on_sigterm", lifecycle::it_ends_on_sigterm),
        (
            "replicas_give_nothing_twice",
            lifecycle::replicas_give_nothing_twice,
        ),
        (
            "the_key_of_the_mesh_is_made_once",
            mesh_key::the_key_of_the_mesh_is_made_once,
        ),
        (
            "fields_of_newer_versions_are_ignored",
            newer::fields_of_newer_versions_are_ignored,
        ),
        (
            "it_waits_for_definitions_and_servers",
            away::it_waits_for_definitions_and_servers,
        ),
        (
            "nothing_is_written_when_nothing_changes",
            away::nothing_is_written_when_nothing_changes,
        ),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| e2e::trial(name, missing.as_deref(), test));
    let trials: Vec<Trial> = trials.collect();
    run(&Arguments::from_args(), trials).exit_code()
}
