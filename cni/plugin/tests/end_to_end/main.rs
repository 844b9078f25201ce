//! The real binary in real namespaces, against a node in miniature that speaks the real protocol.
//!
//! What needs root or Go is shown as ignored where that is missing, never as passed.

mod agent;
mod away;
mod chain;
mod failures;
mod input;
mod lab;
mod node_verbs;
mod ownership;
mod tool;
mod verbs;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial, run};

/// Requirement of a test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Root,
    RootAndGo,
    RootAndPlugins,
    RootPluginsAndIptables,
}

impl Needs {
    /// Why it cannot run here.
    fn missing(self) -> Option<&'static str> {
        let is_root = || is_root_here() && dataplane::netns::Netns::current().is_ok();
        match self {
            Self::Nothing => None,
            Self::Root | Self::RootAndGo | Self::RootAndPlugins | Self::RootPluginsAndIptables
                if !is_root() =>
            {
                Some("needs root")
            }
            Self::Root => None,
            Self::RootAndGo if tool::go().is_none() => Some("needs Go"),
            Self::RootAndGo => None,
            Self::RootAndPlugins | Self::RootPluginsAndIptables
                if chain::reference_plugins().is_none() =>
            {
                Some("needs containernetworking-plugins")
            }
            Self::RootAndPlugins => None,
            Self::RootPluginsAndIptables if !chain::has_iptables() => Some("needs iptables"),
            Self::RootPluginsAndIptables => None,
        }
    }
}

/// Network namespaces need the effective user 0, of the machine or of a user namespace.
fn is_root_here() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    effective == Some("0")
}

/// Names a function as a test.
macro_rules! tests {
    ($($needs:ident: $($module:ident::$name:ident),* $(,)?;)*) => {
        [$($((stringify!($name), Needs::$needs, $module::$name as fn()),)*)*]
    };
}

fn main() -> ExitCode {
    let tests = tests! {
        Nothing: input::malformed_input_is_answered_with_its_code, input::version_needs_no_stdin,
            input::closed_stdout_ends_without_a_panic;
        Root: verbs::attaches_checks_and_detaches_in_every_version,
            verbs::pod_and_forwarder_reach_each_other,
            verbs::chained_results_keep_all_that_they_came_with,
            verbs::detaching_a_chained_pod_leaves_the_other_interface,
            verbs::pods_of_nobody_pass_when_chained_and_fail_alone,
            verbs::several_topologies_are_attached_and_detached_together,
            verbs::check_names_each_difference,
            verbs::check_tolerates_what_later_plugins_add,
            node_verbs::collects_what_is_not_valid_and_nothing_else,
            node_verbs::status_fails_only_where_no_pod_could_start,
            verbs::detaching_succeeds_whatever_is_missing,
            verbs::ipv6_is_enabled_where_the_runtime_disabled_it,
            away::who_is_known_not_to_be_ours_passes_and_nobody_else,
            away::a_node_that_says_nothing_is_no_better_than_none,
            away::a_delegate_of_one_topology_never_passes,
            away::detaching_tells_the_node_the_pod_also_later,
            failures::taken_interface_name_is_refused_and_left,
            failures::failed_wiring_leaves_nothing,
            failures::a_route_of_another_is_left_also_where_ipv6_is_off,
            failures::failed_confirmation_leaves_nothing,
            failures::refusals_of_the_node_become_codes,
            failures::detaching_without_a_node_is_remembered_and_told_before_the_next_claim,
            failures::hundreds_of_detachments_wait_for_a_node,
            failures::silent_node_delays_detaching_by_less_than_a_second,
            failures::silent_node_ends_attaching_after_ten_seconds,
            failures::killed_at_each_point_a_retry_succeeds_and_nothing_is_left,
            failures::killed_at_random_a_retry_succeeds_and_nothing_is_left,
            failures::leftovers_of_a_killed_attempt_are_replaced,
            failures::attaches_and_detaches_many_pods_at_once,
            chain::a_mac_address_that_changes_later_keeps_the_pod_reachable,
            ownership::a_late_del_spares_the_interface_of_another_container,
            ownership::a_path_that_is_no_network_namespace_is_refused_at_once,
            ownership::wishes_that_cannot_be_granted_are_refused,
            ownership::a_bounced_interface_keeps_its_addresses;
        RootAndPlugins: chain::a_chain_behind_ptp_is_added_checked_and_deleted,
            chain::a_long_chain_is_added_checked_and_deleted,
            chain::a_fixed_mac_address_behind_ours_keeps_the_pod_reachable;
        RootPluginsAndIptables: chain::a_port_of_the_host_is_mapped_to_the_first_plugins_address;
        RootAndGo: tool::cnitool_adds_checks_and_deletes;
    };
    let trials = tests.into_iter().map(|(name, needs, test)| {
        let missing = needs.missing();
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        trial
            .with_kind(missing.unwrap_or_default())
            .with_ignored_flag(missing.is_some())
    });
    run(&Arguments::from_args(), trials.collect()).exit_code()
}
