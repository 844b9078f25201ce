//! The verbs against a cluster: the `beemesh` command, a real API server, and the real operator.
//!
//! Without the servers every test is shown as ignored, with the sentence what to install.

mod daemons;
mod drains;
mod escapes;
mod impostors;
mod looks;
mod operated;
mod plugin;
mod refusals;
mod stories;
mod uninstall;
mod validated;
mod views;
mod world;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// Names functions as tests.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$((stringify!($name), $module::$name as fn() -> anyhow::Result<()>)),*]
    };
}

fn main() -> ExitCode {
    let tests = tests![
        refusals::without_a_kubeconfig_it_says_where_one_is_looked_for,
        refusals::a_kubeconfig_that_is_none_is_named_with_what_is_wrong,
        refusals::an_unknown_context_is_not_found,
        refusals::a_server_that_is_away_is_named,
        refusals::no_proxy_leads_to_this_machine,
        refusals::a_cluster_without_beemesh_says_how_to_install_it,
        refusals::wrong_credentials_are_told,
        refusals::what_may_not_be_read_is_named,
        refusals::a_topology_that_is_not_there_is_not_found,
        refusals::file_and_name_exclude_each_other,
        views::without_an_operator_status_says_so_and_wait_times_out,
        views::a_topology_that_nobody_computed_is_drawn_as_declared,
        looks::paths_go_where_nodes_say_that_links_are_up,
        looks::what_outlived_its_topology_is_named_and_removed,
        looks::a_range_stays_while_its_users_cannot_be_listed,
        looks::a_test_of_connectivity_without_daemons_makes_nothing,
        looks::a_test_of_connectivity_leaves_topologies_of_others,
        looks::the_archive_for_support_holds_no_secret,
        impostors::a_labelled_pod_is_no_daemon_for_any_verb,
        impostors::the_daemonset_of_the_bound_account_is_asked_and_nobody_else,
        impostors::several_installations_are_refused_by_their_names,
        impostors::who_may_not_list_bindings_names_the_namespace,
        impostors::probes_are_of_the_image_of_the_daemonset,
        escapes::what_others_wrote_does_not_act_on_the_terminal,
        uninstall::each_daemon_is_asked_and_its_answer_awaited,
        plugin::kubectl_runs_and_completes_the_plugin,
        stories::what_is_planned_is_what_is_given,
        stories::a_topology_is_looked_at_as_its_file_is,
        stories::status_tells_what_is_wrong_until_it_is_ready,
        stories::a_topology_without_a_node_says_what_to_do,
        validated::validate_finds_what_was_tampered_with,
        drains::traffic_keeps_away_from_what_is_drained,
        drains::drains_at_the_same_time_are_all_there,
        drains::of_two_drains_that_cut_a_ring_one_is_refused,
        drains::what_a_file_drains_is_not_undrained_here,
        drains::who_may_edit_a_namespace_needs_no_more_to_drain,
    ];
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let trial = |(name, test): (&str, fn() -> anyhow::Result<()>)| {
        e2e::trial(name, missing.as_deref(), test)
    };
    let trials: Vec<Trial> = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
