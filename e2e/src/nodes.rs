//! Observation and disturbance of nodes by stories.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use e2e::cluster::{Census, Node};
use e2e::{Ran, ensure, eventually};
use serde_json::Value;

use crate::mesh::{BACK, Mesh, Place, SETTLED, items};
use crate::world::World;

/// A value of the chart: a daemon that does not answer is killed after ten minutes instead of one.
pub(crate) const PATIENT: &str = "node.livenessProbe.failureThreshold=60";
/// The pods of [`World::pair`].
pub(crate) const PAIR: [&str; 2] = ["one", "two"];

const MIB: f64 = 1024.0 * 1024.0;
/// Mount point of a node's disk, also without beemesh; its content is in a section of its own.
const DISK: &str = "/var/lib/beemesh";
/// All that the Forwarders' namespaces hold, a line for each thing, none of which changes by itself.
const INSIDE: &str = r#"for n in $(ls /run/netns | grep '^bm-'); do
{ ip -n $n -o link | sed 's/^[0-9]*: //; s/@.*//; s/:.*//'; ip -n $n -o address | awk '{print $2, $3, $4}'
ip -n $n route show table all; ip -n $n -6 route show table all; ip -n $n nexthop; } | sed "s/^/$n /"; done"#;

/// Observed state of one node.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    census: Census,
    inside: BTreeSet<String>,
}

impl Held {
    fn of(node: &Node) -> Result<Self> {
        let inside = node.ok(INSIDE)?;
        Ok(Self {
            census: node.census()?,
            inside: inside.lines().map(str::to_owned).collect(),
        })
    }

    /// Differences in `later`, a line each.
    pub(crate) fn changes(&self, later: &Self) -> Vec<String> {
        let more = later.inside.difference(&self.inside);
        let less = self.inside.difference(&later.inside);
        let mut lines = self.census.changes(&later.census);
        // What is started again is another container, and the runtime's matter.
        lines.retain(|line| !line.contains(" /run/containerd/"));
        lines.extend(more.map(|line| format!("inside: + {line}")));
        lines.extend(less.map(|line| format!("inside: - {line}")));
        lines
    }

    /// Content of the Forwarders' namespaces.
    pub(crate) fn inside(&self) -> &BTreeSet<String> {
        &self.inside
    }

    /// Whatever bears our name.
    pub(crate) fn ours(&self) -> Vec<String> {
        let census = self.census.0.iter();
        let lines = census.flat_map(|(section, lines)| {
            let ours = lines
                .iter()
                .filter(|line| line.contains("beemesh") || line.contains("bm-"))
                .filter(|line| *section != "mounts" || *line != DISK);
            ours.map(move |line| format!("{section}: {line}"))
        });
        lines.chain(self.inside.iter().cloned()).collect()
    }
}

/// By node.
pub(crate) type Holdings = BTreeMap<String, Held>;

impl World {
    /// Observed state of all nodes.
    pub(crate) fn holdings(&self) -> Result<Holdings> {
        let nodes = self.cluster()?.nodes();
        let held = nodes
            .iter()
            .map(|node| Ok((node.name().to_owned(), Held::of(node)?)));
        held.collect()
    }

    /// Observed state of all nodes, after deleted objects are gone from them too: the API server
    /// drops them earlier.
    pub(crate) fn settled_holdings(&self) -> Result<Holdings> {
        eventually("nodes hold nothing but what is declared", SETTLED, || {
            self.is_swept()
        })?;
        self.unchanging_holdings()
    }

    /// Succeeds when nothing is being deleted, and nodes have exactly the namespaces of the
    /// existing Forwarders.
    fn is_swept(&self) -> Result<()> {
        let get = ["get", "pods,mst,fwd", "--all-namespaces"];
        let objects = items(&self.access.json(&get)?);
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let uids: Vec<Value> = objects.iter().map(uid).collect();
        let mut declared = BTreeSet::new();
        for object in &objects {
            let metadata = &object["metadata"];
            ensure(metadata["deletionTimestamp"].is_null(), || {
                format!("being deleted: {metadata}")
            })?;
            if object["kind"] != "Forwarder" {
                continue;
            }
            ensure(
                uids.contains(&metadata["ownerReferences"][0]["uid"]),
                || format!("its topology is gone: {metadata}"),
            )?;
            let (node, netns) = (&object["spec"]["node"], &object["status"]["netns"]);
            if let (Some(node), Some(netns)) = (node.as_str(), netns.as_str()) {
                declared.insert(format!("{node} {netns}"));
            }
        }
        let mut held = BTreeSet::new();
        for node in self.cluster()?.nodes() {
            let names = node.ok("ls /run/netns | grep '^bm-' || :")?;
            held.extend(names.lines().map(|name| format!("{} {name}", node.name())));
        }
        ensure(held == declared, || {
            format!("held are {held:?}, declared {declared:?}")
        })
    }

    /// Observed state of all nodes after a topology and its pods have come and gone: some files are
    /// created with the first one, and stay.
    pub(crate) fn used_holdings(&self) -> Result<Holdings> {
        self.pair("before")?;
        let pods = PAIR.map(|pod| format!("pod/{pod}"));
        self.access
            .ok(&["delete", "mst/before", &pods[0], &pods[1]])?;
        self.no_lease_is_left()?;
        self.settled_holdings()
    }

    /// A topology over all nodes, and [`PAIR`] at both ends of it.
    pub(crate) fn pair(&self, topology: &str) -> Result<()> {
        let nodes = self.nodes()?;
        self.declare(&Mesh::new(topology).on_each(&nodes).app("x"))?;
        self.pod(PAIR[0], &nodes[0], &[("app", "x")])?;
        self.pod(PAIR[1], &nodes[nodes.len() - 1], &[("app", "x")])?;
        self.wait_pods("app=x")?;
        self.reach_all(&PAIR, topology)
    }

    /// Waits until no node has a lease of a pod of this namespace.
    pub(crate) fn no_lease_is_left(&self) -> Result<()> {
        for node in self.nodes()? {
            eventually(&format!("no lease is left on {node}"), SETTLED, || {
                let leases = self.inspect(&node, &["leases"])?.to_string();
                ensure(!leases.contains(&self.namespace), || leases.clone())
            })?;
        }
        Ok(())
    }

    /// Observed state of all nodes, once two observations are equal.
    pub(crate) fn unchanging_holdings(&self) -> Result<Holdings> {
        let mut before = self.holdings()?;
        eventually("nothing changes any more", SETTLED, || {
            let now = self.holdings()?;
            let changes = changes(&before, &now);
            before = now;
            ensure(changes.is_empty(), || changes.join("\n"))
        })?;
        Ok(before)
    }

    /// Waits until the state of all nodes is the earlier one.
    pub(crate) fn wait_holdings(&self, before: &Holdings) -> Result<()> {
        eventually("the nodes hold what they held before", SETTLED, || {
            let changes = changes(before, &self.holdings()?);
            ensure(changes.is_empty(), || changes.join("\n"))
        })
    }

    /// Tells `story` with one node more, which goes afterwards, also when that failed: other stories count on three.
    pub(crate) fn with_one_node_more(&self, story: impl FnOnce(&Node) -> Result<()>) -> Result<()> {
        let cluster = self.cluster()?;
        let before = cluster.nodes().len();
        let outcome = cluster.add_node().and_then(|node| story(&node));
        let taken = match cluster.nodes().len() > before {
            true => cluster.remove_node(),
            false => Ok(()),
        };
        outcome.and(taken)
    }

    /// Runs `script` (sh) in a Forwarder's network namespace, on its node.
    pub(crate) fn in_forwarder(&self, place: &Place, script: &str) -> Result<Ran> {
        let node = self.cluster()?.node(&place.node)?;
        node.run(&format!("ip netns exec {} sh -c '{script}'", place.netns))
    }

    /// Sets the end of a link down or up, in the namespace of the Forwarder that it leads away from.
    pub(crate) fn set_link(&self, from: &Place, to: &str, is_up: bool) -> Result<()> {
        let word = if is_up { "up" } else { "down" };
        self.in_forwarder(from, &format!("ip link set l-{to} {word}"))?
            .ok()
            .map(drop)
    }

    /// Drops, in silence, all that arrives at a Forwarder over the link from `peer`, or no longer: its interface stays up.
    pub(crate) fn set_silent(&self, at: &Place, peer: &str, is_silent: bool) -> Result<()> {
        let rules = match is_silent {
            true => format!(
                "add table netdev story-{peer}; \
                 add chain netdev story-{peer} from-link {{ type filter hook ingress device l-{peer} priority 0; policy drop; }}"
            ),
            false => format!("delete table netdev story-{peer}"),
        };
        self.in_forwarder(at, &format!("nft \"{rules}\""))?
            .ok()
            .map(drop)
    }

    /// SIGKILL to the daemon of `node`. Between two lives there is none: it is awaited.
    pub(crate) fn kill_daemon(&self, node: &str) -> Result<()> {
        eventually("the daemon runs, and is killed", BACK, || {
            self.kill9(node, "/beemesh-node --kubernetes")
        })
    }

    /// SIGKILL to each process on `node` whose command line begins with `line`.
    pub(crate) fn kill9(&self, node: &str, line: &str) -> Result<()> {
        self.signal(node, line, "KILL")
    }

    /// The same with another signal, such as `STOP`.
    pub(crate) fn signal(&self, node: &str, line: &str, signal: &str) -> Result<()> {
        let script = format!(
            "for p in /proc/[0-9]*; do c=$(tr '\\0' ' ' <$p/cmdline 2>/dev/null) || continue
            case \"$c\" in '{line}'*) kill -{signal} ${{p#/proc/}} && echo sent ${{p#/proc/}};; esac; done"
        );
        let sent = self.cluster()?.node(node)?.ok(&script)?;
        ensure(!sent.is_empty(), || format!("no {line} on {node}"))
    }

    /// Process id, on its node, of a running container of a pod: of its `sandbox`, or of its `container`.
    pub(crate) fn task(&self, node: &str, uid: &str, kind: &str) -> Result<String> {
        let labels = format!(
            "labels.\"io.kubernetes.pod.uid\"=={uid},labels.\"io.cri-containerd.kind\"=={kind}"
        );
        let script = format!(
            "for c in $(ctr -n k8s.io containers ls -q '{labels}'); do \
             ctr -n k8s.io tasks ls | awk -v c=$c '$1 == c && $3 == \"RUNNING\" {{print $2}}'; done"
        );
        let pids = self.cluster()?.node(node)?.ok(&script)?;
        let pid = pids.lines().last().map(str::to_owned);
        pid.with_context(|| format!("no running {kind} of pod {uid} on {node}"))
    }
}

impl World {
    /// Adds the memory of each of beemesh's processes to the figures, where the nodes are ours.
    pub(crate) fn memory(&self) -> Result<()> {
        let Ok(cluster) = self.cluster() else {
            return Ok(());
        };
        for node in cluster.nodes() {
            for pid in node.pids() {
                let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
                let line = line.unwrap_or_default().replace('\0', " ");
                if !line.starts_with("/beemesh") {
                    continue;
                }
                let words: Vec<&str> = line.split(' ').take(2).collect();
                let words: Vec<&str> = words
                    .into_iter()
                    .filter(|it| !it.starts_with('-'))
                    .collect();
                let bytes = e2e::resident_bytes(pid).unwrap_or(0) as f64;
                let what = format!("memory of {} on {}", words.join(" "), node.name());
                self.figures.add(&what, format!("{:.1} MiB", bytes / MIB));
            }
        }
        Ok(())
    }
}

/// A shell command that creates the network namespace `name`, and replaces one that a killed run has left.
pub(crate) fn new_netns(name: &str) -> String {
    format!("{{ ip netns delete {name} 2>/dev/null || :; ip netns add {name}; }}")
}

/// Lines `NODE SECTION: + ENTRY`.
pub(crate) fn changes(before: &Holdings, after: &Holdings) -> Vec<String> {
    let mut lines = Vec::new();
    for (node, held) in before {
        let Some(later) = after.get(node) else {
            continue;
        };
        lines.extend(
            held.changes(later)
                .iter()
                .map(|line| format!("{node} {line}")),
        );
    }
    lines
}
