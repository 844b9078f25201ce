//! Golden stories: `stories/NAME/NN-input.yaml` says what happens, `NN-output.yaml` what the plan is
//! then, what the objects are when it was carried out, and what users are told.
//!
//! `UPDATE_GOLDEN=1 cargo test -p beemesh-operator --test plan` writes the outputs anew; review them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use crds::{
    ForwarderStatus, Node, TopologyStatus,
    forwarder::{LinkHealth, LinkState},
};
use linkstate::LAST_RESORT_WEIGHT;
use operator::{
    plan::{Delete, Memo, Observed, Pod, plan, plan_with},
    status::{self, Now},
};
use serde_json::{Value, json};
use topology::{Change, Graph, Spf, Table};

use super::{
    replica::Replica,
    server::Server,
    shown::{objects, show, summary},
    step::{Report, Step, StoryPod},
};

#[test]
fn stories_end_as_they_did() {
    let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan/stories");
    let folders = entries(&stories);
    assert!(!folders.is_empty());
    folders.iter().for_each(|folder| tell(folder));
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    entries.sort_unstable();
    entries
}

fn tell(folder: &Path) {
    let mut teller = Teller {
        server: Rc::new(RefCell::new(Server::new())),
        reports: BTreeMap::new(),
        status: TopologyStatus::default(),
        memo: Memo::default(),
        name: String::new(),
        steps: 0,
    };
    for path in entries(folder) {
        let name = path.display().to_string();
        let Some(stem) = name.strip_suffix("-input.yaml") else {
            continue;
        };
        let text = fs::read_to_string(&path).expect("it is readable");
        let step: Step =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = serde_saphyr::to_string(&teller.tell(step)).expect("it is YAML");
        let expected = format!("{stem}-output.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(expected, output).expect("the folder is writable");
        } else {
            let before = fs::read_to_string(&expected).unwrap_or_default();
            assert_eq!(output, before, "{expected} (UPDATE_GOLDEN=1 rewrites)");
        }
    }
}

/// One topology and all that is around it.
struct Teller {
    server: Rc<RefCell<Server>>,
    /// Reports of nodes, by uid of the Forwarder.
    reports: BTreeMap<String, ForwarderStatus>,
    status: TopologyStatus,
    memo: Memo,
    name: String,
    steps: u64,
}

impl Teller {
    fn tell(&mut self, step: Step) -> Value {
        self.steps += 1;
        let look_on = step.look_on;
        self.happen(step);
        let Some(observed) = self.observed() else {
            return json!({"plan": "there is no topology"});
        };
        let first = plan(&observed);
        if look_on {
            return json!({"plan": show(&observed, &first)});
        }
        let intended = show(&observed, &first);
        self.carry_out();
        let observed = self.observed().expect("it was there before");
        let last = plan(&observed);
        let remembered = plan_with(&observed, &mut self.memo);
        assert_eq!(
            format!("{remembered:?}"),
            format!("{last:?}"),
            "a memo changes no plan"
        );
        for publish in &last.publish {
            let status = self.reports.entry(publish.uid.clone()).or_default();
            status.computed = Some(publish.computed.clone());
        }
        let time = format!("2026-01-01T00:00:{:02}Z", self.steps);
        let waited = Some(Duration::from_millis(100 * self.steps));
        let now = Now {
            time: &time,
            waited,
        };
        let after = status::next(&last.facts, &self.status, now);
        let again = Now {
            time: "later",
            waited: None,
        };
        assert_eq!(
            status::next(&last.facts, &after, again),
            after,
            "equal facts, equal status"
        );
        let events = status::events(&self.status, &after);
        self.status = after;
        json!({
            "plan": intended,
            "then": objects(&observed),
            "status": summary(&self.status),
            "events": events.iter().map(|event| {
                let kind = if event.warning { "Warning" } else { "Normal" };
                format!("{kind} {}: {}", event.reason, event.message)
            }).collect::<Vec<_>>(),
            "leftOut": last.unattached.iter().map(|left| {
                format!("{}: {}: {}", left.pod.name, left.reason, left.message)
            }).collect::<Vec<_>>(),
        })
    }

    fn happen(&mut self, step: Step) {
        let mut server = self.server.borrow_mut();
        if step.delete_topology {
            server.delete_topology(&self.name);
            self.status = TopologyStatus::default();
        }
        if let Some(document) = step.topology {
            let topology = crds::read::from_value(document).expect("it can be read");
            self.name.clone_from(&topology.metadata.name);
            server.apply_topology(topology);
        }
        for (name, labels) in step.nodes {
            let node = labels.map(|labels| Node {
                name: name.clone(),
                labels,
            });
            server.set_node(&name, node);
        }
        for name in step.hold {
            let object = crds::names::object(&self.name, &name);
            let uid = server.now().forwarders[&object].uid.clone();
            let delete = Delete { object, uid };
            server.delete_forwarder(&delete, true).expect("it is there");
        }
        if step.lose_allocation {
            let uid = server.now().allocations[&self.name].uid.clone();
            let delete = Delete {
                object: self.name.clone(),
                uid,
            };
            server.delete_allocation(&delete).expect("it is there");
        }
        for name in step.lose {
            let object = crds::names::object(&self.name, &name);
            let uid = server.now().forwarders[&object].uid.clone();
            let delete = Delete { object, uid };
            let deleted = server.delete_forwarder(&delete, false);
            deleted.expect("it is there");
        }
        if let Some(edit) = step.edit_allocation {
            server.edit_allocation(&self.name, |spec| edit.apply(spec));
        }
        for (name, revision) in step.annotate {
            server.annotate(&crds::names::object(&self.name, &name), revision);
        }
        while step.collect && server.collect() {}
        drop(server);
        let pod = |pod: StoryPod| Pod {
            namespace: "default".to_owned(),
            uid: format!("uid-of-{}", pod.name),
            name: pod.name,
            node: pod.node,
            labels: pod.labels,
            annotations: pod.annotations,
        };
        if let Some(pods) = step.pods {
            let mut server = self.server.borrow_mut();
            let before: Vec<String> = server.now().pods.keys().cloned().collect();
            for name in before
                .iter()
                .filter(|name| pods.iter().all(|pod| pod.name != **name))
            {
                server.set_pod(name, None);
            }
            for story in pods {
                server.set_pod(&story.name.clone(), Some(pod(story)));
            }
        }
        if let Some(report) = step.report {
            self.report(&report);
        }
    }

    fn observed(&self) -> Option<Observed> {
        let server = self.server.borrow();
        let mut observed = server.observed(&[server.revision(); 6], &self.name)?;
        for forwarder in &mut observed.forwarders {
            let report = self.reports.get(&forwarder.uid).cloned();
            forwarder.status = report.unwrap_or_default().into();
        }
        observed.status = self.status.clone();
        Some(observed)
    }

    /// One calm replica, until it writes nothing.
    fn carry_out(&self) {
        let mut replica = Replica::new(Rc::clone(&self.server));
        loop {
            let before = self.server.borrow().writes;
            replica.hear_all();
            replica.start(&self.name);
            while replica.is_busy() {
                replica.step();
            }
            if self.server.borrow().writes == before {
                return;
            }
        }
    }

    /// Reports of nodes on the existing Forwarders: their tables, computed as nodes do.
    fn report(&mut self, report: &Report) {
        let Some((observed, computed)) = self.observed().and_then(|observed| {
            let computed = plan(&observed).computed?;
            Some((observed, computed))
        }) else {
            return;
        };
        let mut graph = Graph::new(&computed.graph);
        let last = Some((LAST_RESORT_WEIGHT, LAST_RESORT_WEIGHT));
        let down = report.down.keys().map(|id| (id, None));
        for (id, weights) in down.chain(report.suspect.keys().map(|id| (id, last))) {
            let link = computed.graph.link(id).expect("a link");
            graph.change(Change::Link { link, weights });
        }
        for forwarder in observed.forwarders {
            let name = &forwarder.spec.name;
            let index = computed
                .graph
                .forwarder(name)
                .filter(|_| !report.silent.contains(name));
            let Some(index) = index else { continue };
            let spf = Spf::compute(&graph, index);
            let table = Table::new(&computed.graph, &graph, &spf, computed.max_paths);
            let status = self.reports.entry(forwarder.uid).or_default();
            let digest = table.digest().to_string();
            if status.digest != digest {
                (status.epoch, status.digest) = (table.epoch.to_string(), digest);
            }
            let state = |link: &crds::forwarder::ForwarderLink| {
                let reason = |all: &BTreeMap<String, BTreeMap<String, String>>| {
                    all.get(&link.id).and_then(|all| all.get(name)).cloned()
                };
                let (down, suspect) = (reason(&report.down), reason(&report.suspect));
                LinkState {
                    id: link.id.clone(),
                    up: down.is_none() && suspect.is_none(),
                    state: suspect.as_ref().map(|_| LinkHealth::Suspect),
                    reason: down.or(suspect).unwrap_or_default(),
                    ..LinkState::default()
                }
            };
            status.link_states = forwarder.spec.links.iter().map(state).collect();
        }
    }
}
