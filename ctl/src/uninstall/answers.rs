//! Nodes that were asked, and their answers. Pure.

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use crds::uninstall::{ANNOTATION, CENSUS, REQUESTED};

/// State of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Clean: nothing is left.
    Clean,
    /// Objects are left.
    Left,
    /// No answer yet.
    Silent,
}

impl State {
    /// As it is printed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Left => "left",
            Self::Silent => "no answer",
        }
    }
}

/// A node and its last word.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) node: String,
    pod: String,
    pub(crate) state: State,
    census: BTreeMap<String, u64>,
}

/// Answers by node.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    by_node: BTreeMap<String, Answer>,
    /// Pods that were asked, by uid.
    asked: BTreeSet<String>,
}

/// Output for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    nodes: Vec<ShownNode>,
}

#[derive(Debug, Serialize)]
struct ShownNode {
    node: String,
    pod: String,
    state: &'static str,
    left: BTreeMap<String, u64>,
}

impl Answer {
    /// Remaining objects by kind, as text.
    pub(crate) fn left(&self) -> String {
        let left = self.census.iter().filter(|(_, count)| **count > 0);
        let left: Vec<String> = left
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        left.join(", ")
    }
}

impl Answers {
    /// Takes in what the pods say, and returns those that are to be asked. A node stays known also
    /// when its pod goes: another one answers for it.
    pub(crate) fn take(&mut self, pods: &[Pod]) -> Vec<Pod> {
        let mut to_ask = Vec::new();
        for pod in pods {
            let metadata = &pod.metadata;
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            let is_over = matches!(phase, Some("Succeeded" | "Failed"));
            let (Some(node), Some(uid)) = (node, metadata.uid.clone()) else {
                continue;
            };
            if is_over || metadata.deletion_timestamp.is_some() {
                continue;
            }
            let is_new = self.asked.insert(uid);
            // What it says from an earlier time counts no more.
            let state = if is_new { State::Silent } else { state(pod) };
            let pod_name = metadata.name.clone().unwrap_or_default();
            let answer = Answer {
                node: node.clone(),
                pod: pod_name,
                state,
                census: if is_new { BTreeMap::new() } else { census(pod) },
            };
            self.by_node.insert(node, answer);
            if is_new {
                to_ask.push(pod.clone());
            }
        }
        to_ask
    }

    /// True where all nodes are in this state.
    pub(crate) fn all(&self, state: State) -> bool {
        self.by_node.values().all(|answer| answer.state == state)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Answer> {
        self.by_node.values()
    }

    /// Nodes in this state, with the leftovers on them.
    pub(crate) fn named(&self, state: State) -> Vec<String> {
        let named = self.by_node.values().filter(|answer| answer.state == state);
        let name = |answer: &Answer| match answer.left() {
            left if left.is_empty() => answer.node.clone(),
            left => format!("{} ({left})", answer.node),
        };
        named.map(name).collect()
    }

    /// As it is printed for programs.
    pub(crate) fn shown(&self) -> Shown {
        let node = |answer: &Answer| ShownNode {
            node: answer.node.clone(),
            pod: answer.pod.clone(),
            state: answer.state.word(),
            left: answer.census.clone(),
        };
        Shown {
            nodes: self.by_node.values().map(node).collect(),
        }
    }
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    annotations.get(name).map(String::as_str)
}

fn census(pod: &Pod) -> BTreeMap<String, u64> {
    let text = annotation(pod, CENSUS).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

fn state(pod: &Pod) -> State {
    let census = census(pod);
    let is_done = annotation(pod, ANNOTATION) == Some(crds::uninstall::DONE);
    match census.values().any(|count| *count > 0) {
        _ if census.is_empty() => State::Silent,
        true => State::Left,
        false if is_done => State::Clean,
        false => State::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::uninstall::DONE;
    use serde_json::{Value, json};

    fn pod(node: &str, uid: &str, annotations: Value) -> Pod {
        let value = json!({
            "metadata": {"name": format!("beemesh-node-{uid}"), "uid": uid, "annotations": annotations},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running"},
        });
        serde_json::from_value(value).expect("a pod")
    }

    fn asked(answers: &mut Answers, pods: &[Pod]) -> Vec<String> {
        let asked = answers.take(pods).into_iter();
        asked.filter_map(|pod| pod.metadata.uid).collect()
    }

    #[test]
    fn each_pod_is_asked_once_and_only_answers_after_that_count() {
        let mut answers = Answers::default();
        let old = json!({ANNOTATION: DONE, CENSUS: "{\"namespaces\":0}"});
        let before = [pod("n1", "a", old.clone()), pod("n2", "b", json!({}))];
        assert_eq!(asked(&mut answers, &before), ["a", "b"]);
        assert!(answers.all(State::Silent));
        let left = json!({ANNOTATION: REQUESTED, CENSUS: "{\"namespaces\":2,\"stateFiles\":0}"});
        let during = [pod("n1", "a", old.clone()), pod("n2", "b", left)];
        assert_eq!(asked(&mut answers, &during), [""; 0]);
        assert_eq!(answers.named(State::Clean), ["n1"]);
        assert_eq!(answers.named(State::Left), ["n2 (namespaces 2)"]);
        // Its pod was replaced: the new one is asked.
        let after = [pod("n1", "a", old.clone()), pod("n2", "c", json!({}))];
        assert_eq!(asked(&mut answers, &after), ["c"]);
        assert_eq!(answers.named(State::Silent), ["n2"]);
        let done = [pod("n1", "a", old.clone()), pod("n2", "c", old)];
        assert_eq!(asked(&mut answers, &done), [""; 0]);
        assert!(answers.all(State::Clean));
    }

    #[test]
    fn a_node_whose_pod_goes_is_not_forgotten() {
        let mut answers = Answers::default();
        asked(&mut answers, &[pod("n1", "a", json!({}))]);
        asked(&mut answers, &[]);
        assert_eq!(answers.named(State::Silent), ["n1"]);
    }

    #[test]
    fn pods_that_have_ended_or_have_no_node_are_not_asked() {
        let mut answers = Answers::default();
        let mut ended = pod("n1", "a", json!({}));
        ended.status.as_mut().expect("a status").phase = Some("Failed".to_owned());
        let mut waiting = pod("n2", "b", json!({}));
        waiting.spec.as_mut().expect("a spec").node_name = None;
        assert_eq!(asked(&mut answers, &[ended, waiting]), [""; 0]);
        assert!(answers.is_empty() && answers.all(State::Clean));
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        for census in ["", "x", "{}", "[1]"] {
            let pod = pod("n1", "a", json!({ANNOTATION: DONE, CENSUS: census}));
            assert_eq!(state(&pod), State::Silent, "{census:?}");
        }
    }
}
