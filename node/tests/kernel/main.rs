//! The real daemon as a process, in real namespaces, with the real plugin.
//!
//! Without privilege every test is shown as ignored, never green.

mod failing;
mod flood;
mod foreign;
mod full;
mod inotify;
mod install;
mod killed;
mod killer;
mod live;
mod plugin;
mod pods;
mod routing;
mod scale;
mod strays;
mod traffic;
mod underlay;
mod world;

use libtest_mimic::{Arguments, Trial};
use routing::stops;

/// Names functions as tests.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$((stringify!($name), $module::$name as fn())),*]
    };
}

fn main() {
    let tests = tests![
        routing::forwarders_of_one_host_are_linked_by_veth,
        routing::forwarders_of_two_hosts_are_linked_by_vxlan,
        routing::a_daemon_with_the_rights_of_a_cluster_does_all_of_it,
        routing::traffic_goes_around_a_link_that_falls_and_comes_back,
        routing::a_link_that_was_taken_down_by_hand_is_left_down_and_told,
        routing::kill_and_restart_adopts_without_a_write_or_a_lost_packet,
        routing::a_cut_is_gone_around_also_where_only_the_other_end_knows,
        routing::a_daemon_that_is_told_to_end_leaves_the_kernel_as_it_is,
        stops::daemons_that_are_killed_replaced_or_frozen_make_no_link_suspect,
        stops::a_daemon_that_was_frozen_for_long_calls_no_peer_dead,
        stops::a_node_without_power_makes_its_links_suspect_at_its_neighbours,
        stops::an_idle_daemon_fits_into_its_memory_and_its_descriptors,
        flood::link_states_go_from_daemon_to_daemon,
        flood::peers_are_heard_where_sockets_are_for_ipv6_alone,
        flood::daemons_that_die_or_lose_their_reports_change_nothing_elsewhere,
        flood::what_happens_while_nodes_are_cut_off_is_told_when_they_are_not,
        flood::more_peers_than_open_files_keep_no_pod_from_being_attached,
        underlay::both_ends_of_a_tunnel_take_the_smaller_mtu_of_their_nodes,
        underlay::a_node_address_on_the_loopback_has_the_mtu_of_the_way_to_its_peers,
        underlay::a_node_address_of_a_point_to_point_link_is_its_own_and_not_the_peers,
        foreign::a_link_that_was_down_in_between_is_whole_again_without_a_look_by_the_timer,
        failing::links_that_cannot_be_made_keep_no_other_from_being_used,
        failing::a_snapshot_that_cannot_be_written_keeps_no_link_from_being_routed_around,
        foreign::what_a_foreign_hand_deletes_is_made_again,
        foreign::what_pods_rely_on_is_made_again,
        foreign::a_tunnel_in_a_namespace_that_lost_its_name_gives_way,
        foreign::a_namespace_that_lost_its_name_but_lives_on_is_replaced,
        foreign::pods_that_lost_their_interface_are_told_and_can_be_detached,
        install::a_daemon_killed_at_any_write_leaves_a_list_that_is_whole_or_none,
        install::probes_tell_why_a_node_is_not_ready,
        install::a_steady_node_writes_nothing,
        killed::a_plugin_killed_at_any_system_call_leaves_nothing,
        killed::a_daemon_killed_at_any_write_gives_no_address_twice_and_keeps_none,
        killed::a_daemon_killed_at_any_durable_step_makes_and_removes_all_and_leaves_no_file,
        routing::removed_forwarders_leave_nothing_behind,
        routing::a_torn_file_stops_no_other_and_deletes_nothing,
        routing::two_topologies_with_the_same_addresses_never_meet,
        live::a_pod_that_runs_already_is_attached_and_detached,
        strays::what_is_wired_and_in_no_lease_is_taken_back_as_it_is,
        strays::what_is_in_no_lease_and_not_right_is_wired_anew,
        strays::what_is_in_no_lease_and_not_wanted_goes,
        strays::what_is_not_provably_ours_is_never_touched,
        pods::a_thousand_pods_come_and_go_while_plugin_and_daemon_are_killed,
        pods::a_hundred_and_ten_at_once_get_different_addresses,
        pods::a_hundred_and_ten_at_once_leave_nothing_when_plugins_and_daemon_are_killed,
        full::a_full_disk_gives_no_address_away_and_heals,
        full::a_node_that_reboots_with_a_full_disk_serves,
        pods::releases_without_a_daemon_are_quick_and_replayed,
        pods::after_a_reboot_no_address_is_taken,
    ];
    let is_privileged = world::is_privileged();
    let trials = tests.into_iter().map(|(name, test)| {
        let run = move || {
            test();
            Ok(())
        };
        let trial = Trial::test(name, run).with_kind("needs root");
        trial.with_ignored_flag(!is_privileged)
    });
    let scale = Trial::test("a_thousand_forwarders_come_up_and_fit_into_memory", || {
        scale::a_thousand_forwarders_come_up_and_fit_into_memory();
        Ok(())
    });
    let scale = scale
        .with_kind("needs root and BEEMESH_SCALE=1000")
        .with_ignored_flag(!is_privileged || scale::size().is_none());
    let latency = Trial::test("a_link_that_falls_is_known_everywhere", || {
        flood::a_link_that_falls_is_known_everywhere();
        Ok(())
    });
    let latency = latency
        .with_kind("needs root and BEEMESH_LATENCY=100")
        .with_ignored_flag(!is_privileged || flood::rounds().is_none());
    let missing = inotify::missing();
    let inotify = Trial::test("a_daemon_without_inotify_says_so_and_serves", || {
        inotify::a_daemon_without_inotify_says_so_and_serves();
        Ok(())
    });
    let inotify = inotify
        .with_kind(missing.unwrap_or("needs root"))
        .with_ignored_flag(!is_privileged || missing.is_some());
    let trials = trials.chain([scale, latency, inotify]);
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
