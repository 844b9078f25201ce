//! The nodes of a cluster, asked in the daemons' pods.

use super::{
    Answer, Listening, Nodes, Question,
    daemons::{self, Daemons, System},
    exec,
    options::shared_options,
};
use crate::cluster::Cluster;
use console::failure::Failure;
use exec::Container;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The command in the image.
pub(crate) const PROGRAM: &str = "/beemesh";
/// The daemon in the image, which is its diagnosis too.
const DAEMON: &str = "/beemesh-node";
/// Message when no daemon runs.
const NO_DAEMON: &str = "no daemon runs in this cluster";
/// The same, with the searched objects.
pub(crate) const NO_DAEMON_SET: &str = "no daemon runs in this cluster: expected the DaemonSet of a labelled \
     ClusterRoleBinding's ServiceAccount, or --system-namespace";
/// Number of nodes that are asked in parallel.
const AT_ONCE: usize = 16;
/// Longest time that one node may take.
const ANSWER: Duration = Duration::from_secs(60);

/// The daemon of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Daemon {
    container: Container,
    /// The program that runs: an older release's daemon is not called [`DAEMON`].
    program: String,
    options: Vec<String>,
    /// Reason why it cannot be asked.
    away: Option<String>,
}

/// The nodes of a cluster.
pub(crate) struct OfCluster<'a> {
    cluster: &'a Cluster,
    set: Option<Daemons>,
    daemons: BTreeMap<String, Daemon>,
    without: BTreeSet<String>,
}

impl<'a> OfCluster<'a> {
    /// Finds the pods of the daemons' DaemonSet, and names pods that only carry its labels.
    ///
    /// # Errors
    /// Refusals of the server; several installations.
    pub(crate) fn find(cluster: &'a Cluster, system: &System) -> Result<Self, Failure> {
        let set = Daemons::find(cluster, system)?;
        daemons::note_impostors(cluster, system, set.as_ref());
        let pods = match &set {
            Some(set) => set.pods(cluster)?,
            None => Vec::new(),
        };
        let mut daemons: BTreeMap<String, Daemon> = BTreeMap::new();
        for (node, daemon) in pods.iter().filter_map(daemon) {
            // During an upgrade a node may have two: the one that runs is asked.
            let known = daemons.get(&node);
            if known.is_none_or(|known| known.away.is_some()) {
                daemons.insert(node, daemon);
            }
        }
        // Who may not list nodes asks those with a daemon.
        let all = cluster.nodes().unwrap_or_default();
        let all = all.into_iter().map(|node| node.name);
        let without = all.filter(|node| !daemons.contains_key(node)).collect();
        Ok(Self {
            cluster,
            set,
            daemons,
            without,
        })
    }

    /// Image of the DaemonSet; `None` where no daemon runs.
    pub(crate) fn image(&self) -> Option<&str> {
        self.set.as_ref().map(|set| set.image.as_str())
    }

    /// Nodes with a daemon.
    pub(crate) fn with_daemon(&self) -> BTreeSet<String> {
        self.daemons.keys().cloned().collect()
    }

    fn command(&self, question: &Question) -> Result<(&Container, Vec<String>), String> {
        if let Some(why) = self.away(&question.node) {
            return Err(why);
        }
        let daemon = &self.daemons[&question.node];
        let words = [&daemon.program, "inspect"].map(str::to_owned).into_iter();
        let words = words.chain(question.arguments.iter().cloned());
        Ok((
            &daemon.container,
            words.chain(daemon.options.iter().cloned()).collect(),
        ))
    }
}

impl Nodes for OfCluster<'_> {
    fn names(&self) -> BTreeSet<String> {
        self.daemons.keys().chain(&self.without).cloned().collect()
    }

    fn away(&self, node: &str) -> Option<String> {
        match self.daemons.get(node) {
            Some(daemon) => daemon.away.clone(),
            None if self.daemons.is_empty() => Some(NO_DAEMON.to_owned()),
            None => Some("no daemon runs there".to_owned()),
        }
    }

    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let one = |question: &Question| {
            let (client, command) = (self.cluster.client(), self.command(question));
            async move {
                let (container, command) = command?;
                exec::run(client, container, &command, ANSWER)
                    .await?
                    .printed()
            }
        };
        let answers = futures::stream::iter(questions.iter().map(one)).buffered(AT_ONCE);
        self.cluster.block_on(answers.collect())
    }

    fn listen<'b>(
        &'b self,
        question: &Question,
    ) -> Result<(String, Box<dyn Listening + 'b>), String> {
        let (container, command) = self.command(question)?;
        let client = self.cluster.client();
        let started = exec::listen(client, container, &command, ANSWER);
        let (line, running) = self.cluster.block_on(started)?;
        let listener = Listener {
            cluster: self.cluster,
            running: Some(running),
        };
        Ok((line, Box::new(listener)))
    }
}

struct Listener<'a> {
    cluster: &'a Cluster,
    running: Option<exec::Running>,
}

impl Listening for Listener<'_> {}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.cluster.block_on(running.end());
        }
    }
}

fn daemon(pod: &Pod) -> Option<(String, Daemon)> {
    let spec = pod.spec.as_ref()?;
    let container = daemons::container(pod)?;
    let words = container.command.iter().chain(&container.args).flatten();
    let words: Vec<String> = words.cloned().collect();
    let daemon = Daemon {
        container: Container {
            namespace: pod.metadata.namespace.clone()?,
            pod: pod.metadata.name.clone()?,
            name: container.name.clone(),
        },
        program: words.first().map_or(DAEMON, String::as_str).to_owned(),
        options: shared_options(&words),
        away: away(pod),
    };
    Some((spec.node_name.clone()?, daemon))
}

fn away(pod: &Pod) -> Option<String> {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut containers = status.container_statuses.into_iter().flatten();
    let runs =
        containers.any(|container| container.state.is_some_and(|state| state.running.is_some()));
    match (pod.metadata.deletion_timestamp.is_some(), runs) {
        (true, _) => Some(format!("its daemon {name} is being replaced")),
        (false, false) => Some(format!("its daemon {name} does not run: {phase}")),
        (false, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(state: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": "s"},
            "spec": {"nodeName": "n1", "containers": [{"name": "node", "image": "i",
                "command": ["/beemesh-node"], "args": ["--state-dir=/x", "--http-address=:1"]}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "node", "image": "i", "imageID": "",
                "ready": false, "restartCount": 0, "state": state}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_daemon_is_asked_where_it_keeps_its_files_while_it_runs() {
        let (node, running) = daemon(&pod(json!({"running": {}}))).unwrap();
        assert_eq!((node.as_str(), &running.away), ("n1", &None));
        assert_eq!(running.options, ["--state-dir=/x"]);
        assert_eq!(running.program, "/beemesh-node");
        let (_, waiting) =
            daemon(&pod(json!({"waiting": {"reason": "ImagePullBackOff"}}))).unwrap();
        assert_eq!(waiting.away.unwrap(), "its daemon d does not run: Pending");
    }
}
