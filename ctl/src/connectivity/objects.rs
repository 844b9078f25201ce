//! The objects of a connectivity test: a namespace, a topology, and a probe pod on each node. Pure.

use super::peer::PORT;
use console::failure::Failure;
use serde_json::{Value, json};

/// Label of everything that a test makes.
pub(super) const LABEL: &str = "beemesh.io/connectivity-test";
/// Addresses for benchmarks (RFC 2544), which no cluster has for its pods, and random ones (RFC 4193).
const CIDRS: [&str; 2] = ["198.18.0.0/16", "fd0b:ee5e:c0de::/48"];

/// Parameters of one test.
#[derive(Clone, Debug)]
pub(super) struct Test {
    /// Its Kubernetes namespace.
    pub(super) namespace: String,
    /// Name of its topology, and value of its label.
    pub(super) topology: String,
    /// The image of its pods.
    pub(super) image: String,
    /// Its nodes, sorted.
    pub(super) nodes: Vec<String>,
}

impl Test {
    /// The Forwarder on a node, and its pod.
    pub(super) fn name(&self, node: &str) -> String {
        let position = self
            .nodes
            .iter()
            .position(|it| it == node)
            .unwrap_or_default();
        format!("{}-{}", self.topology, position + 1)
    }

    /// The node of a pod.
    pub(super) fn node_of(&self, pod: &str) -> Option<&String> {
        self.nodes.iter().find(|node| self.name(node) == pod)
    }

    /// Drained link; `None` where there is no path around it.
    pub(super) fn link(&self) -> Option<String> {
        match self.nodes.as_slice() {
            [a, b, _, ..] => {
                let mut ends = [self.name(a), self.name(b)];
                ends.sort();
                Some(ends.join("/"))
            }
            _ => None,
        }
    }

    /// Refusal where a topology of its name exists.
    pub(super) fn taken(&self) -> Failure {
        let Self {
            namespace,
            topology,
            ..
        } = self;
        Failure::Failed(format!(
            "topology {namespace}/{topology} is there already: expected another name by --topology; what a test \
             that was killed left goes by `kubectl delete mst,pods -n {namespace} -l {LABEL}={topology}`"
        ))
    }

    /// The namespace.
    pub(super) fn namespace(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": self.namespace, "labels": {LABEL: self.topology}},
        })
    }

    /// The topology, with its link drained or not.
    pub(super) fn topology(&self, is_drained: bool) -> Value {
        let forwarder = |node: &String| json!({"name": self.name(node), "node": node});
        let forwarders: Vec<Value> = self.nodes.iter().map(forwarder).collect();
        let shape = if self.nodes.len() > 2 { "Ring" } else { "Line" };
        let mut object = json!({
            "apiVersion": crds::API_VERSION, "kind": "MicroServiceTopology",
            "metadata": {"name": self.topology, "namespace": self.namespace, "labels": {LABEL: self.topology}},
            "spec": {
                "addressing": {"cidrs": CIDRS},
                "forwarders": forwarders,
                "shape": shape,
                "apps": [{"name": "probe", "podSelector": {"matchLabels": {LABEL: self.topology}}}],
            },
        });
        if let (true, Some(link)) = (is_drained, self.link()) {
            object["spec"]["drain"] = json!({"links": [link]});
        }
        object
    }

    /// The probe of a node. It asks for nothing that a restricted namespace refuses, and goes where it is put.
    pub(super) fn pod(&self, node: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name(node), "namespace": self.namespace, "labels": {LABEL: self.topology}},
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "tolerations": [{"operator": "Exists"}],
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "probe",
                    "image": self.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": [crate::nodes::cluster::PROGRAM, "probe", "serve", format!("--port={PORT}")],
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                }],
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(nodes: &[&str]) -> Test {
        Test {
            namespace: "ns".to_owned(),
            topology: "connectivity".to_owned(),
            image: "i".to_owned(),
            nodes: nodes.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn its_topology_is_one_that_admission_takes() {
        for nodes in [&["a"][..], &["a", "b"], &["a", "b", "c.example.org"]] {
            let test = test(nodes);
            for is_drained in [false, true] {
                let text = test.topology(is_drained).to_string();
                let objects = crds::read("test", text.as_bytes()).unwrap();
                assert_eq!(objects.iter().flat_map(crds::lint).count(), 0, "{text}");
            }
            assert_eq!(test.link().is_some(), nodes.len() > 2);
            assert_eq!(test.node_of(&test.name("a")), Some(&"a".to_owned()));
        }
    }
}
