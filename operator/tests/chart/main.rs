//! The chart `charts/beemesh`: rendered, checked against real schemas, applied to and installed on a real API server.
//!
//! Programs that are not there make their tests *ignored*, with the sentence what to install; never green.

mod confine;
mod golden;
mod helm;
mod hooks;
mod image;
mod install;
mod metadata;
mod monitoring;
mod readme;
mod roles;
mod rules;
mod schemas;
mod server;
mod values;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};

type Test = fn() -> Result<()>;

/// Names functions as tests that need the programs of `$needs`.
macro_rules! trials {
    ($needs:expr => $($module:ident::$name:ident),* $(,)?) => {{
        let missing = e2e::needs($needs);
        e2e::tell(missing.as_deref());
        let tests: Vec<(&str, Test)> =
            vec![$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*];
        tests
            .into_iter()
            .map(|(name, test)| e2e::trial(name, missing.as_deref(), test))
            .collect::<Vec<Trial>>()
    }};
}

fn main() -> ExitCode {
    let mut trials = trials!(&[] =>
        metadata::the_chart_and_the_program_have_one_version,
        metadata::every_example_is_what_lint_accepts,
        metadata::every_definition_is_announced,
        image::the_archive_is_an_oci_layout_and_a_docker_archive,
        image::the_same_programs_give_the_same_bytes,
        image::a_missing_program_is_named,
    );
    trials.extend(trials!(&["helm"] =>
        golden::golden_default,
        golden::golden_everything,
        golden::golden_minimal,
        values::the_chart_passes_lint,
        values::wrong_values_are_refused_with_their_place,
        values::every_value_has_a_schema_and_every_schema_a_value,
        values::the_operator_takes_the_arguments_of_the_chart,
        roles::the_operator_may_what_it_needs_and_nothing_else,
        roles::a_daemon_may_what_it_needs_and_nothing_else,
        roles::no_rule_has_a_star,
        hooks::pods_are_wired_only_where_the_operator_looks,
        hooks::the_uninstallation_runs_on_no_node_that_is_down,
        roles::pods_have_no_privilege,
        roles::the_daemon_has_the_privilege_that_its_mounts_take_and_no_other,
        image::the_archive_holds_the_image_that_the_chart_runs,
    ));
    trials.extend(trials!(&["helm-docs"] => readme::the_readme_is_made_from_the_values));
    trials.extend(trials!(&["helm", "promcheck"] =>
        rules::prometheus_accepts_the_rules_as_rendered,
        rules::alerts_fire_when_they_should_and_only_then,
    ));
    trials.extend(trials!(&["helm"] =>
        monitoring::every_metric_of_rules_and_dashboards_is_documented,
        monitoring::every_alert_says_what_to_do,
        monitoring::dashboards_are_whole,
    ));
    trials.extend(
        trials!(&["helm", "kubeconform", "etcd", "kube-apiserver", "kubectl"] =>
            schemas::kubeconform_accepts_what_is_rendered,
            schemas::kubeconform_refuses_a_field_that_is_not_there,
        ),
    );
    trials.extend(trials!(&["helm", "etcd", "kube-apiserver", "kubectl"] =>
        server::the_api_server_accepts_what_is_rendered,
        server::the_api_server_accepts_the_examples_of_the_catalogue,
        server::golden_notes,
        server::notes_tell_what_is_not_tested,
        install::a_release_comes_is_upgraded_and_goes_without_a_trace,
        confine::a_daemon_writes_what_is_of_its_own_node_and_nothing_else,
        confine::reports_of_a_daemon_beyond_the_plan_give_no_names,
        install::definitions_are_upgraded_by_the_documented_command,
    ));
    trials.extend(
        trials!(&["helm", "etcd", "kube-apiserver", "kubectl", "kube-controller-manager"] =>
            install::users_of_a_namespace_edit_its_topologies_and_view_the_rest,
        ),
    );
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
