//! Start of a cluster: independent steps run in parallel.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, statfs};

use super::layout::{CONTROL, Layout, MOST_NODES};
use super::node::{self, Node};
use super::options::Settings;
use super::{Cluster, Component, certificates, dns, image, node_names, wires};
use crate::tools;

/// All that `e2e/tools/fill` builds for a cluster.
const PROGRAMS: [&str; 15] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "helm",
    "kubelet",
    "kube-proxy",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "coredns",
    "cni-ptp",
    "cni-host-local",
    "cni-loopback",
];

/// Debian packages, each with one of its files.
const PACKAGED: [(&str, &str); 9] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/conntrack", "conntrack"),
    ("/usr/bin/socat", "socat"),
    ("/usr/bin/nsenter", "util-linux"),
];

/// The sentence that says what a cluster in `dir` lacks on this machine; `None` when it can start. Builds nothing.
#[must_use]
pub fn needs(dir: &Path) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root: it makes network namespaces, mounts and cgroups".to_owned());
    }
    if let Some(kind) = file_system(dir)
        && let Some(sentence) = unfit(dir, kind)
    {
        return Some(sentence);
    }
    let missing: Vec<&str> = PACKAGED
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|&(_, package)| package)
        .collect();
    if !missing.is_empty() {
        return Some(format!("needs Debian's packages {}", missing.join(", ")));
    }
    tools::needs(&PROGRAMS)
}

/// Of the folder, or of the one that it will be made in.
fn file_system(dir: &Path) -> Option<FsType> {
    let found = dir.ancestors().find_map(|folder| statfs(folder).ok());
    found.map(|found| found.filesystem_type())
}

/// The sentence about a file system that nodes' disks cannot be on.
fn unfit(dir: &Path, kind: FsType) -> Option<String> {
    (kind == OVERLAYFS_SUPER_MAGIC).then(|| {
        format!(
            "needs a folder on a disk or a volume: {} is on an overlay, as in a container, and no overlay takes another for \
             its upper folder; name one by E2E_DIR of make, or --dir",
            dir.display()
        )
    })
}

/// Says on standard error how long each step took.
struct Clock(Instant);

impl Clock {
    fn tell(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.0.elapsed().as_secs_f64());
    }
}

pub(super) fn up(settings: &Settings) -> Result<()> {
    if let Some(sentence) = needs(&settings.dir) {
        bail!(sentence);
    }
    if !(1..=MOST_NODES).contains(&settings.nodes) {
        bail!("{} nodes: 1 to {MOST_NODES} can be had", settings.nodes);
    }
    for program in PROGRAMS {
        tools::find_of(program, settings.kubernetes.as_deref())?;
    }
    let clock = Clock(Instant::now());
    let layout = prepare(settings)?;
    let names = node_names(settings.nodes);
    let nodes: Vec<Node> = names.iter().map(|name| Node::new(settings, name)).collect();
    thread::scope(|scope| {
        let images = scope.spawn(|| image::write_all(&layout.images()));
        start_control(settings, &names)?;
        let api = scope.spawn(|| start_api(settings, &nodes, &clock));
        joined(images)?;
        clock.tell("the images are made");
        let booted = nodes.iter().map(|node| {
            let boot = || node.boot(&names).and_then(|()| node.import_all());
            scope.spawn(boot)
        });
        // All start before the first is awaited.
        for thread in booted.collect::<Vec<_>>() {
            joined(thread)?;
        }
        clock.tell("the container runtimes have them");
        joined(api)
    })?;
    for node in &nodes {
        node.start_programs()?;
    }
    let cluster = Cluster::open(&settings.dir)?;
    cluster.wait_nodes()?;
    clock.tell("all nodes are ready");
    dns::deploy(&cluster)?;
    clock.tell("names are resolved");
    Ok(())
}

fn prepare(settings: &Settings) -> Result<Layout> {
    let dir = &settings.dir;
    let is_used = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        bail!("{} is in use: take that cluster down first", dir.display());
    }
    fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    let layout = Layout { root: dir.clone() };
    settings.write()?;
    certificates::write(&layout)?;
    Ok(layout)
}

fn start_control(settings: &Settings, names: &[String]) -> Result<()> {
    let switch = node::switch(settings);
    switch.start()?;
    wires::switch(&switch)?;
    let control = node::control(settings);
    control.start()?;
    wires::plug(&switch, &control)?;
    wires::routes(&control, names)?;
    for component in [Component::Etcd, Component::ApiServer] {
        node::start(settings, &control, component)?;
    }
    Ok(())
}

fn start_api(settings: &Settings, nodes: &[Node], clock: &Clock) -> Result<()> {
    let cluster = Cluster::open(&settings.dir)?;
    cluster.wait_api().with_context(|| {
        format!(
            "see {}",
            cluster.layout().log(CONTROL, "kube-apiserver").display()
        )
    })?;
    clock.tell("the API server is ready");
    let control = node::control(settings);
    for component in [Component::ControllerManager, Component::Scheduler] {
        node::start(settings, &control, component)?;
    }
    for node in nodes {
        cluster.access().apply(&node.manifest())?;
    }
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

#[cfg(test)]
mod tests {
    use nix::sys::statfs::{PROC_SUPER_MAGIC, TMPFS_MAGIC};

    use super::*;

    #[test]
    fn an_overlay_is_refused_with_what_to_name_instead() {
        let dir = Path::new("/var/tmp/beemesh-e2e");
        let sentence = unfit(dir, OVERLAYFS_SUPER_MAGIC).unwrap_or_default();
        for word in ["/var/tmp/beemesh-e2e", "E2E_DIR", "--dir"] {
            assert!(sentence.contains(word), "{word}: {sentence}");
        }
        assert_eq!(unfit(dir, TMPFS_MAGIC), None);
    }

    #[test]
    fn a_folder_to_come_is_on_the_file_system_of_the_one_above() {
        let found = file_system(Path::new("/proc/no-such-folder/two"));
        assert_eq!(found, Some(PROC_SUPER_MAGIC));
    }
}
