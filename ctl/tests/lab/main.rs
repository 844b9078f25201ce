//! The lab end to end: the `beemesh` command, its daemons and the real plugin, in real namespaces.
//!
//! Without privilege every test is shown as ignored, never green.

mod crash;
mod faults;
mod inspect;
mod life;
mod looks;
mod neighbours;
mod repair;
mod runtimes;
mod world;

use libtest_mimic::{Arguments, Trial};

/// Names functions as tests.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$((stringify!($name), $module::$name as fn())),*]
    };
}

fn main() {
    let tests = tests![
        life::the_worked_example_is_routed_as_computed_and_leaves_nothing,
        life::three_nodes_are_linked_by_vxlan_in_both_families,
        life::one_family_alone_is_enough,
        life::an_external_network_is_reached_through_its_stand_in,
        life::a_changed_file_changes_the_running_lab,
        life::every_link_may_be_cut_and_healed,
        life::a_killed_forwarder_is_routed_around_and_healed,
        life::a_silent_cut_of_the_only_way_drops_while_the_link_looks_up,
        life::jumbo_frames_pass_where_the_network_is_made_for_them,
        life::a_conflist_names_the_running_lab,
        life::what_is_not_there_is_told_by_its_exit_code,
        faults::a_silent_cut_drops_both_directions_of_any_link,
        faults::silence_of_any_kind_is_routed_around,
        faults::one_way_drops_that_direction_alone,
        faults::a_frozen_daemon_stops_no_traffic_and_goes_on_when_healed,
        faults::a_killed_daemon_stops_no_traffic_and_is_started_when_healed,
        faults::a_partition_parts_links_and_underlay_in_silence,
        faults::a_flapping_link_ends_as_it_began,
        faults::a_burn_is_bounded_and_ended_by_heal,
        faults::a_slow_link_carries_no_more_than_its_rate,
        faults::a_verb_killed_at_any_point_is_undone_by_heal,
        faults::unknown_names_are_refused_with_the_nearest_one,
        neighbours::a_lab_directory_of_another_user_is_refused,
        neighbours::labs_with_the_same_addresses_never_meet,
        neighbours::namespaces_of_a_lab_are_neither_used_nor_removed_by_a_cluster,
        neighbours::namespaces_of_a_cluster_are_neither_used_nor_removed,
        inspect::the_kernels_table_has_the_reported_digest_until_a_route_is_another,
        inspect::what_nobody_needs_is_named_and_removed_and_nothing_else,
        inspect::without_the_desired_state_nothing_is_a_leak,
        inspect::a_pod_is_pinged_and_traced_from_where_it_is,
        looks::a_lab_is_validated_traced_and_checked_as_a_cluster_is,
        looks::verbs_without_their_lab_say_how_to_start_it,
        repair::an_instance_without_its_interface_is_attached_again,
        repair::instances_of_a_rebuilt_forwarder_are_attached_again,
        repair::pods_routes_that_went_are_there_after_up,
        repair::logs_in_files_have_no_colours,
        crash::up_killed_at_any_point_is_cleaned_up_by_down,
        crash::killed_daemons_are_started_again_and_no_ping_is_lost,
        crash::down_ends_a_lab_whose_daemons_are_dead,
    ];
    let is_privileged = world::is_privileged();
    let mut trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, test)| trial(name, test, "needs root", is_privileged))
        .collect();
    trials.push(trial(
        "a_conflist_is_taken_by_libcni_old_and_new",
        runtimes::a_conflist_is_taken_by_libcni_old_and_new,
        "needs root, ip and Go",
        is_privileged && runtimes::go().is_some(),
    ));
    trials.push(trial(
        "a_user_without_root_has_a_lab_too",
        neighbours::a_user_without_root_has_a_lab_too,
        "needs root, and user namespaces for everyone",
        is_privileged && neighbours::are_namespaces_for_everyone(),
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A test that is ignored where what it needs is not there.
fn trial(name: &str, test: fn(), needs: &str, is_there: bool) -> Trial {
    let run = move || {
        test();
        Ok(())
    };
    Trial::test(name, run)
        .with_kind(needs)
        .with_ignored_flag(!is_there)
}
