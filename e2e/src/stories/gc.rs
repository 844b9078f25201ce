//! Orphaned objects are listed and removed, and nothing else.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use e2e::cluster::Node;
use e2e::{ensure, eventually};
use serde_json::{Value, json};

use super::Story;
use crate::mesh::{Mesh, Place, SETTLED, list};
use crate::nodes::{PATIENT, new_netns};
use crate::plugin::{Call, joining};
use crate::world::{SYSTEM, World};

pub(super) const STORIES: &[Story] = &[story!(
    gc_names_what_nobody_needs_and_removes_exactly_that,
    nodes
)];

/// One of each kind that gc removes by itself; of objects the one kind that Kubernetes does not collect.
const LEAKS: [&str; 8] = [
    "namespace bm-gc-gone",
    "link l-nobody",
    "attachment app0dead",
    "pod-interface gone0",
    "queue-file /var/lib/beemesh/cni/del/00000000000000aa.json",
    "link-state /run/beemesh/link-states/gone.nobody.json",
    "stray-file /var/lib/beemesh/cni/stray.tmp",
    "VniRange vni-16776960",
];
/// Lease that only the daemon may free.
const LEASE: &str = "lease outside/gc-guest/eth0";
/// Against these there is but one proof.
const KEPT: [&str; 2] = ["attachment app0live", "namespace bm-gc-other"];
const DAEMON: &str = "/beemesh-node --kubernetes";
const OPERATORS: &str = "--selector=app.kubernetes.io/component=operator";

fn gc_names_what_nobody_needs_and_removes_exactly_that(world: &World) -> Result<()> {
    world.install()?;
    // A daemon is frozen for a while: it must not be started again meanwhile.
    world.helm_upgrade(&["--set", PATIENT])?;
    let mesh = Mesh::new("swept").forwarder("a", &world.nodes()?[0]);
    world.declare(&mesh.push("apps", json!({"name": "guests"})))?;
    let get = ["get", "deployment", "--namespace", SYSTEM, OPERATORS];
    let words = "jsonpath={.items[0].spec.replicas}";
    let replicas = world.access.ok(&[&get[..], &["-o", words]].concat())?;
    eventually("nothing is left of other stories", SETTLED, || {
        nothing_is_left(world)
    })?;
    // An operator deletes orphaned objects by itself.
    let outcome = scale_operators(world, "0").and_then(|()| swept(world));
    scale_operators(world, &replicas)?;
    outcome?;
    world.helm_upgrade(&[])
}

fn scale_operators(world: &World, replicas: &str) -> Result<()> {
    let count = format!("--replicas={replicas}");
    let scale = ["scale", "deployment", "--namespace", SYSTEM, OPERATORS];
    world.access.ok(&[&scale[..], &[&count]].concat())?;
    eventually("so many operators are ready", SETTLED, || {
        let get = ["get", "pods", "--namespace", SYSTEM, OPERATORS, "-o"];
        let ready = "jsonpath={range .items[*]}{.status.containerStatuses[0].ready}{\"\\n\"}{end}";
        let ready = world.access.ok(&[&get[..], &[ready]].concat())?;
        let is_so = ready.lines().all(|line| line == "true");
        let count = ready.lines().count().to_string();
        ensure(is_so && count == replicas, || ready.clone())
    })
}

fn swept(world: &World) -> Result<()> {
    let place = world.place("swept", "a")?;
    let node = world.cluster()?.node(&place.node)?;
    let before = world.settled_holdings()?;
    let config = joining(&format!("{}/swept", world.namespace), "guests");
    let guest = Call {
        container: "gc-guest",
        netns: "gc-guest",
        interface: "eth0",
        words: "",
        config: &config,
    };
    node.ok(&new_netns("gc-guest"))?;
    let attached = guest.run(&node, "ADD")?.ok();
    // It would take away most of it before anybody looks.
    freeze(world, &node)?;
    let outcome = attached.and_then(|_| collected(world, &node, &place));
    world.signal(&place.node, DAEMON, "CONT")?;
    outcome?;
    world.wait_holdings(&before)?;
    eventually("the daemon has freed the lease", SETTLED, || {
        nothing_is_left(world)
    })
}

/// Stops the daemon, but not while it writes its cache: then orphans could not be identified.
fn freeze(world: &World, node: &Node) -> Result<()> {
    eventually("the daemon is stopped at rest", SETTLED, || {
        world.signal(node.name(), DAEMON, "STOP")?;
        let is_at_rest = node.ok("! test -e /var/lib/beemesh/objects/changing");
        if is_at_rest.is_err() {
            world.signal(node.name(), DAEMON, "CONT")?;
        }
        is_at_rest.map(drop)
    })
}

fn collected(world: &World, node: &Node, place: &Place) -> Result<()> {
    plant(world, node, place)?;
    let with_lease: BTreeSet<String> = LEAKS
        .into_iter()
        .chain([LEASE])
        .map(str::to_owned)
        .collect();
    // The kernel takes the guest's other end away a moment later. That nothing is removed yet is seen each time.
    eventually("all that was planted is named", SETTLED, || {
        let told = gc(world, &["--dry-run"])?;
        ensure(
            names(&told, "removed", "orphansRemoved") == with_lease,
            || told.to_string(),
        )?;
        is_kept(&told)
    })?;
    let told = gc(world, &[])?;
    let removed = names(&told, "removed", "orphansRemoved");
    ensure(removed == LEAKS.map(str::to_owned).into(), || {
        told.to_string()
    })?;
    // The lease too: whose it is to free is not to be asked.
    ensure(names(&told, "kept", "orphansKept").contains(LEASE), || {
        told.to_string()
    })?;
    is_kept(&told)?;
    node.ok(&format!(
        "ip -n {} link delete app0live && ip netns delete bm-gc-other && ip netns delete gc-pod",
        place.netns
    ))
    .map(drop)
}

/// All of [`LEAKS`], [`LEASE`] and [`KEPT`]. 3054 is the group that all interfaces of ours are in.
fn plant(world: &World, node: &Node, place: &Place) -> Result<()> {
    let range = json!({
        "apiVersion": "beemesh.io/v1alpha1", "kind": "VniRange", "metadata": {"name": "vni-16776960"},
        "spec": {"first": 16_776_960, "namespace": world.namespace, "topology": "gone", "uid": "gone"},
    });
    world.access.apply(&range.to_string())?;
    let netns = &place.netns;
    let [other, gone, pod] = ["bm-gc-other", "bm-gc-gone", "gc-pod"].map(new_netns);
    let script = format!(
        r#"set -e
        ip netns delete gc-guest
        {other}
        {gone}
        sed -i 's/^{{/{{"bm-gc-gone":"gc.gone",/' /var/lib/beemesh/cni/namespaces.json
        ip -n {netns} link add l-nobody type vxlan id 16776960 local 127.0.0.1 remote 127.0.0.2 dstport 14789
        ip -n {netns} link set l-nobody group 3054
        for name in app0dead app0live; do
            ip -n {netns} link add $name type veth peer name p$name
            ip -n {netns} link set $name group 3054 alias beemesh:swept/guests/x
        done
        ip -n {netns} link set app0live up
        ip -n {netns} link set papp0live up
        {pod}
        ip -n gc-pod link add gone0 type veth peer name gone1
        ip -n gc-pod link set gone0 group 3054
        cd /var/lib/beemesh/cni
        echo '{{"key": {{"containerId": "c", "ifname": "eth0", "network": "gone"}}}}' >del/00000000000000aa.json
        echo '{{}}' >/run/beemesh/link-states/gone.nobody.json
        echo >stray.tmp
        touch -d '-1 hour' stray.tmp del/00000000000000aa.json /run/beemesh/link-states/gone.nobody.json"#
    );
    node.ok(&script).map(drop)
}

/// Output of `beemesh gc`, with any exit code.
fn gc(world: &World, words: &[&str]) -> Result<Value> {
    let ran = world.beemesh(&[&["gc", "-o", "json"], words].concat())?;
    serde_json::from_str(&ran.stdout).with_context(|| ran.stderr)
}

fn nothing_is_left(world: &World) -> Result<()> {
    let told = world.beemesh(&["gc", "-o", "json"])?.json()?;
    let removed = names(&told, "removed", "orphansRemoved");
    ensure(removed.is_empty(), || told.to_string())
}

fn is_kept(told: &Value) -> Result<()> {
    let kept = names(told, "kept", "orphansKept");
    let is_so = KEPT.iter().all(|name| kept.contains(*name));
    ensure(is_so, || told.to_string())
}

/// `KIND NAME` of all in two lists.
fn names(told: &Value, leaks: &str, orphans: &str) -> BTreeSet<String> {
    let entries = list(&told[leaks]).into_iter().chain(list(&told[orphans]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| format!("{} {}", text(&entry["kind"]), text(&entry["name"])))
        .collect()
}
