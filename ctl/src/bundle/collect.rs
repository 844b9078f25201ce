//! Content of the archive, with one line for each thing that could not be read.

use super::{archive::Archive, scrub};
use crate::cluster::{Cluster, stored::Stored};
use crate::nodes::{
    Nodes, Question,
    cluster::OfCluster,
    daemons::{self, PART_OF, System},
};
use console::failure::Failure;
use crds::{AllocationObject, ForwarderObject, VniRangeObject};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Event, Node, Pod},
};
use kube::{
    Api, Resource,
    api::{ListParams, LogParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeSet, fmt::Debug, io};

/// Longest log of one container, in bytes.
const LOG_BYTES: i64 = 4 << 20;
/// Questions to each node, each the name of its file.
const QUESTIONS: [&str; 3] = ["kernel", "leases", "census"];

/// Message when no installation of beemesh was found.
const NOT_INSTALLED: &str = "no ClusterRoleBinding of beemesh: expected one, or --system-namespace";

struct Collector<'a> {
    cluster: &'a Cluster,
    archive: &'a mut Archive,
    errors: Vec<String>,
}

/// Adds everything. Returns what could not be had.
///
/// # Errors
/// Errors of the file system when the archive is written.
pub(super) fn all(
    cluster: &Cluster,
    nodes: Result<OfCluster<'_>, Failure>,
    system: &System,
    log_lines: i64,
    archive: &mut Archive,
) -> io::Result<Vec<String>> {
    let mut collector = Collector {
        cluster,
        archive,
        errors: Vec::new(),
    };
    collector.versions()?;
    let mut with_events = collector.objects()?;
    match daemons::namespaces(cluster, system) {
        Ok(namespaces) if namespaces.is_empty() => collector.error("system", NOT_INSTALLED),
        Ok(namespaces) => {
            for namespace in &namespaces {
                collector.system(namespace, log_lines)?;
            }
            with_events.extend(namespaces);
        }
        Err(failure) => collector.error("system", &failure.lines().join("; ")),
    }
    for namespace in &with_events {
        collector.events(namespace)?;
    }
    match nodes {
        Ok(nodes) => collector.nodes(&nodes)?,
        Err(failure) => collector.error("nodes", &failure.lines().join("; ")),
    }
    let Collector {
        archive, errors, ..
    } = collector;
    if !errors.is_empty() {
        archive.add("errors.txt", &(errors.join("\n") + "\n"))?;
    }
    Ok(errors)
}

impl Collector<'_> {
    fn error(&mut self, what: &str, why: &str) {
        self.errors.push(format!("{what}: {why}"));
    }

    fn versions(&mut self) -> io::Result<()> {
        let mut text = format!("beemesh {}\n", env!("CARGO_PKG_VERSION"));
        match self
            .cluster
            .block_on(self.cluster.client().apiserver_version())
        {
            Ok(version) => text += &format!("kubernetes {}\n", version.git_version),
            Err(error) => self.error("version of the API server", &error.to_string()),
        }
        self.archive.add("versions.txt", &text)
    }

    /// Objects of our kinds, and nodes. Returns the namespaces of topologies and Forwarders.
    fn objects(&mut self) -> io::Result<BTreeSet<String>> {
        let topologies = self.list::<Stored>("topologies")?;
        let forwarders = self.list::<ForwarderObject>("forwarders")?;
        self.list::<AllocationObject>("allocations")?;
        self.list::<VniRangeObject>("vniranges")?;
        self.list::<Node>("nodes")?;
        let objects = topologies.iter().chain(&forwarders);
        let namespaces = objects.filter_map(|it| it["metadata"]["namespace"].as_str());
        Ok(namespaces.map(str::to_owned).collect())
    }

    fn events(&mut self, namespace: &str) -> io::Result<()> {
        let events = self.cluster.list(
            &self.cluster.api::<Event>(namespace),
            &ListParams::default(),
        );
        match events {
            Ok(events) => self
                .add_objects(&format!("events/{namespace}.yaml"), &events.items)
                .map(drop),
            Err(failure) => {
                self.error(
                    &format!("events of {namespace}"),
                    &failure.lines().join("; "),
                );
                Ok(())
            }
        }
    }

    /// The pods of beemesh itself, what makes them, and their logs.
    fn system(&mut self, namespace: &str, log_lines: i64) -> io::Result<()> {
        self.labelled::<Deployment>("deployments", namespace)?;
        self.labelled::<DaemonSet>("daemonsets", namespace)?;
        self.labelled::<ConfigMap>("configmaps", namespace)?;
        let pods = self.labelled::<Pod>("pods", namespace)?;
        for pod in &pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            for container in containers.filter_map(|it| it["name"].as_str()) {
                self.log((namespace, name, container), log_lines, false)?;
                self.log((namespace, name, container), log_lines, true)?;
            }
        }
        Ok(())
    }

    fn log(
        &mut self,
        (namespace, pod, container): (&str, &str, &str),
        lines: i64,
        previous: bool,
    ) -> io::Result<()> {
        let parameters = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines),
            limit_bytes: Some(LOG_BYTES),
            previous,
            timestamps: true,
            ..LogParams::default()
        };
        let api: Api<Pod> = self.cluster.api(namespace);
        let suffix = if previous { ".previous" } else { "" };
        match self.cluster.block_on(api.logs(pod, &parameters)) {
            Ok(text) => self
                .archive
                .add(&format!("logs/{pod}.{container}{suffix}.log"), &text),
            // Most containers have not run before.
            Err(kube::Error::Api(status)) if previous && status.code == 400 => Ok(()),
            Err(error) => {
                self.error(
                    &format!("log of {namespace}/{pod}{suffix}"),
                    &error.to_string(),
                );
                Ok(())
            }
        }
    }

    fn nodes(&mut self, nodes: &OfCluster<'_>) -> io::Result<()> {
        let mut asked = Vec::new();
        for node in nodes.names() {
            match nodes.away(&node) {
                Some(why) => self.error(&format!("node {node}"), &why),
                None => asked.extend(QUESTIONS.map(|question| Question::new(&node, question))),
            }
        }
        for (question, answer) in asked.iter().zip(nodes.ask(&asked)) {
            let (node, what) = (&question.node, question.arguments.join(" "));
            match answer {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    self.archive
                        .add(&format!("nodes/{node}/{what}.json"), &text)?;
                }
                Err(why) => self.error(&format!("{what} of node {node}"), &why),
            }
        }
        Ok(())
    }

    /// All objects of a kind in all namespaces, in one file.
    fn list<K>(&mut self, name: &str) -> io::Result<Vec<Value>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let api = Api::<K>::all(self.cluster.client());
        self.add_list(name, &api, &ListParams::default())
    }

    /// Objects of beemesh of a kind in its own namespace, in one file.
    fn labelled<K>(&mut self, name: &str, namespace: &str) -> io::Result<Vec<Value>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let ours = ListParams::default().labels(PART_OF);
        self.add_list(
            &format!("{namespace}/{name}"),
            &self.cluster.api::<K>(namespace),
            &ours,
        )
    }

    fn add_list<K>(
        &mut self,
        name: &str,
        api: &Api<K>,
        parameters: &ListParams,
    ) -> io::Result<Vec<Value>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        match self.cluster.list(api, parameters) {
            Ok(objects) => self.add_objects(&format!("objects/{name}.yaml"), &objects.items),
            Err(failure) => {
                self.error(name, &failure.lines().join("; "));
                Ok(Vec::new())
            }
        }
    }

    fn add_objects<K: Serialize>(&mut self, file: &str, objects: &[K]) -> io::Result<Vec<Value>> {
        let value = |object: &K| scrub::object(serde_json::to_value(object).unwrap_or_default());
        let values: Vec<Value> = objects.iter().map(value).collect();
        let text = console::output::to_yaml(&values).unwrap_or_else(|failure| failure.to_string());
        self.archive.add(file, &text)?;
        Ok(values)
    }
}
