//! The REST API, metrics and probes of a real operator on a real API server, and its listener alone.

mod client;
mod computed;
mod listener;
mod people;
mod schema;
mod telling;
mod world;
mod writes;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let no_promcheck = e2e::needs(&["etcd", "kube-apiserver", "kubectl", "promcheck"]);
    let on_server = |(name, test): (&str, Test)| e2e::trial(name, missing.as_deref(), test);
    #[rustfmt::skip]
    let tests: [(&str, Test); 20] = [
        ("people::reads_are_open_and_writes_are_not", people::reads_are_open_and_writes_are_not),
        ("people::nobody_waits_for_the_body_of_a_caller_without_rights", people::nobody_waits_for_the_body_of_a_caller_without_rights),
        ("people::who_lacks_a_right_is_told_which", people::who_lacks_a_right_is_told_which),
        ("people::writes_are_made_by_the_caller", people::writes_are_made_by_the_caller),
        ("people::reads_need_a_token_where_the_operator_says_so", people::reads_need_a_token_where_the_operator_says_so),
        ("writes::what_is_wrong_is_refused_with_its_path", writes::what_is_wrong_is_refused_with_its_path),
        ("writes::the_api_server_has_the_last_word", writes::the_api_server_has_the_last_word),
        ("writes::too_much_is_refused_before_it_is_read", writes::too_much_is_refused_before_it_is_read),
        ("writes::a_stale_version_and_others_fields_conflict", writes::a_stale_version_and_others_fields_conflict),
        ("writes::a_dry_run_keeps_nothing", writes::a_dry_run_keeps_nothing),
        ("writes::what_is_read_can_be_sent_back", writes::what_is_read_can_be_sent_back),
        ("writes::deletes_what_is_there_and_nothing_else", writes::deletes_what_is_there_and_nothing_else),
        ("computed::each_stage_is_that_of_the_forwarders", computed::each_stage_is_that_of_the_forwarders),
        ("computed::routes_and_digests_are_those_of_the_forwarders", computed::routes_and_digests_are_those_of_the_forwarders),
        ("computed::a_plan_tells_what_then_happens", computed::a_plan_tells_what_then_happens),
        ("computed::a_plan_of_a_new_one_sees_its_pods", computed::a_plan_of_a_new_one_sees_its_pods),
        ("telling::every_operation_answers_as_the_document_says", telling::every_operation_answers_as_the_document_says),
        ("telling::the_level_of_the_log_changes_at_once", telling::the_level_of_the_log_changes_at_once),
        ("telling::probes_list_their_checks", telling::probes_list_their_checks),
        ("telling::lives_and_is_read_while_the_api_server_is_away", telling::lives_and_is_read_while_the_api_server_is_away),
    ];
    let mut trials: Vec<Trial> = tests.into_iter().map(on_server).collect();
    let name = "telling::prometheus_has_nothing_against_the_metrics";
    let test = telling::prometheus_has_nothing_against_the_metrics;
    trials.push(e2e::trial(name, no_promcheck.as_deref(), test));
    trials.extend(listener::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

type Test = fn() -> anyhow::Result<()>;
