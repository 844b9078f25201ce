//! The definitions on a real API server: what is refused, what is filled in, how appliers share it.
//!
//! ```text
//! crds/tests/corpus/bad  -> API server -> refused | taken -> lint of what is stored -> refused
//! crds/tests/corpus/good -> API server -> taken, and means the same as the file
//! ```

mod corpus;
mod rules;
mod server;

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use libtest_mimic::{Arguments, Trial, run};

use self::server::Server;

type Test = fn(&Server) -> Result<()>;

const TESTS: [(&str, Test); 7] = [
    (
        "bad_objects_are_refused_or_found_by_lint",
        corpus::bad_objects,
    ),
    (
        "good_objects_are_taken_and_mean_the_same",
        corpus::good_objects,
    ),
    (
        "what_is_given_from_cannot_change",
        rules::what_is_given_from_cannot_change,
    ),
    (
        "what_was_wrong_before_may_change_elsewhere",
        rules::other_fields_may_change,
    ),
    (
        "two_appliers_share_lists_by_key",
        rules::two_appliers_share_lists,
    ),
    (
        "nodes_watch_only_their_own_forwarders",
        rules::forwarders_are_selected_by_node,
    ),
    ("every_kind_is_explained", rules::every_kind_is_explained),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One of them changes a definition, which all share.
    arguments.test_threads = Some(1);
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let is_needed = missing.is_none() && !arguments.list;
    let server = if is_needed {
        Server::start().map(Some)
    } else {
        Ok(None)
    };
    let server = match server {
        Ok(server) => Arc::new(server),
        Err(error) => {
            eprintln!("no API server: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = TESTS.into_iter().map(|(name, test)| {
        let server = Arc::clone(&server);
        e2e::trial(name, missing.as_deref(), move || match &*server {
            Some(server) => test(server),
            None => Ok(()),
        })
    });
    run(&arguments, trials.collect::<Vec<Trial>>()).exit_code()
}
