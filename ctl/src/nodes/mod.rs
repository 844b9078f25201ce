//! Asking nodes: the same questions go to the daemons' pods of a cluster, or to the hosts of a lab.
//!
//! ```text
//! verb -> Nodes (port) -> OfCluster: exec into the daemon's pod  \
//!                      -> OfLab: a child process on this machine  > `beemesh-node inspect ...` -> JSON
//! ```

pub(crate) mod cluster;
pub(crate) mod daemons;
pub(crate) mod exec;
pub(crate) mod lab;
pub(crate) mod options;

use console::failure::Failure;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// The port to nodes. Adapters: [`cluster::OfCluster`], [`lab::OfLab`].
pub(crate) trait Nodes {
    /// The nodes that there are.
    fn names(&self) -> BTreeSet<String>;

    /// Reason why a node cannot be asked; `None` for one that can.
    fn away(&self, node: &str) -> Option<String>;

    /// Answers to the questions (node and arguments of `beemesh-node inspect`), in their order; several nodes at once.
    fn ask(&self, questions: &[Question]) -> Vec<Answer>;

    /// Starts something that answers until it is dropped, and returns the first line that it prints.
    ///
    /// # Errors
    /// Why there is no such line.
    fn listen<'a>(
        &'a self,
        question: &Question,
    ) -> Result<(String, Box<dyn Listening + 'a>), String>;
}

/// Process on a node that ends when this is dropped.
pub(crate) trait Listening {}

/// A question to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The node.
    pub(crate) node: String,
    /// Arguments of `beemesh-node inspect`, without those that say where the daemon's files are.
    pub(crate) arguments: Vec<String>,
}

/// Standard output of the answer, or the reason why there is none.
pub(crate) type Answer = Result<Vec<u8>, String>;

impl Question {
    /// Words, split at blanks.
    pub(crate) fn new(node: &str, arguments: &str) -> Self {
        Self {
            node: node.to_owned(),
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        }
    }
}

/// Runs one subcommand of `inspect` on nodes, and parses the answers.
pub(crate) fn ask_each<T: DeserializeOwned>(
    nodes: &dyn Nodes,
    names: &BTreeSet<String>,
    arguments: &str,
) -> Vec<(String, Result<T, String>)> {
    let questions: Vec<Question> = names
        .iter()
        .map(|node| Question::new(node, arguments))
        .collect();
    let answers = nodes.ask(&questions).into_iter().map(read);
    names.iter().cloned().zip(answers).collect()
}

/// Reads an answer.
///
/// # Errors
/// Reason why there is none, or the problem with it.
pub(crate) fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, String> {
    let bytes = answer?;
    serde_json::from_slice(&bytes)
        .map_err(|error| format!("its daemon is of another version: {error}"))
}

/// The port that an `inspect echo` names in its first line.
///
/// # Errors
/// The line that is no port.
pub(crate) fn port(line: &str) -> Result<u16, String> {
    let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let port = value.and_then(|value| value["port"].as_u64()?.try_into().ok());
    port.ok_or_else(|| format!("expected a port, found {line:?}"))
}

/// As a failure of a verb.
pub(crate) fn unasked(node: &str, why: &str) -> Failure {
    Failure::Failed(format!("node {node} cannot be asked: {why}"))
}
