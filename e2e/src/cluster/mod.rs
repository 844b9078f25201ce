//! A real Kubernetes cluster of several nodes on one machine, with no container engine, virtual machine or registry.
//!
//! Knows how nodes are created, broken and removed. Knows nothing of beemesh: installations are charts
//! ([`Access::helm`]), objects are manifests ([`Access::apply`]). Needs root, and Debian's packages that
//! `make e2e` installs.
//!
//! ```text
//!    cp: etcd <- kube-apiserver <- controller-manager, scheduler     kubectl, helm run in its network
//!     |  172.30.0.10
//!    sw: a bridge, default gateway of all (it answers, and forwards nothing)
//!     |  172.30.0.11        |  .12              |  .13
//!    n1: containerd 1.6    n2: containerd 2    n3: containerd 2      each with kubelet, kube-proxy, ptp + host-local
//!        10.244.1.0/24         10.244.2.0/24       10.244.3.0/24     pods; IPv6 everywhere beside it
//! ```
//!
//! - Each place has network, mount, PID, IPC and host name namespaces; its process 1 (`holder.sh`) covers the machine's
//!   `/etc`, `/opt`, `/var/lib`, `/var/log` and `/run`. What dies with process 1 is what a power cut takes.
//! - All of it is below one folder ([`Settings::dir`]); a cluster outlives the program that made it, and any program
//!   may [`Cluster::open`] it. Several clusters live beside each other in different folders.
//! - [`Cluster::down`] leaves no process, mount, cgroup or file, and fails otherwise.
//!
//! A story gets on with: [`Cluster::access`] (kubectl, apply, helm), [`Cluster::node`] and then [`Node::run`],
//! [`Node::kill9`], [`Node::restart`], [`Node::cut_cable`], [`Cluster::reboot`], [`Cluster::add_node`],
//! [`Cluster::remove_node`], [`Cluster::kill9`] of the API server, [`Node::census`], [`Cluster::load_image`].

mod access;
mod census;
mod certificates;
mod cgroups;
mod component;
mod dns;
mod down;
mod dump;
mod image;
mod layout;
mod node;
mod options;
mod place;
mod programs;
mod status;
mod up;
mod wires;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

pub use access::Access;
pub use census::Census;
pub use component::Component;
pub use down::{check_is_cluster, down, exists, kept_logs};
pub use dump::folder as dump_folder;
pub use image::{COREDNS, PAUSE, TEST};
pub use node::Node;
pub use options::{Runtime, Settings, real_dir};
pub use up::needs;

use crate::{ensure, eventually, tools};
use layout::{CONTROL, Layout, MOST_NODES};

/// A cold, busy machine of two cores has been seen to need 20 s.
const READY: Duration = Duration::from_secs(180);

/// Default directory of a cluster.
#[must_use]
pub fn default_dir() -> PathBuf {
    PathBuf::from("/var/tmp/beemesh-e2e")
}

/// A running cluster. It goes on when this value is dropped.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    /// Current number of nodes.
    count: AtomicU8,
    access: Access,
}

impl Cluster {
    /// Makes a cluster and waits until its nodes are ready. What was made is left in place when that fails, for a look.
    ///
    /// # Errors
    /// When a program is missing, ends or does not get ready.
    pub fn up(settings: Settings) -> Result<Self> {
        up::up(&settings)?;
        Self::open(&settings.dir)
    }

    /// The cluster that was made in the folder `dir`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        let settings = Settings::read(dir.to_owned())?;
        let place = node::control(&settings);
        let kubeconfig = place.layout.kubeconfig("admin");
        let access = Access::within(place, kubeconfig);
        let count = settings.nodes.into();
        Ok(Self {
            settings,
            count,
            access,
        })
    }

    /// Ends all of it; see [`down()`].
    ///
    /// # Errors
    /// Something is left, with its name.
    pub fn down(self) -> Result<()> {
        down(&self.settings.dir)
    }

    /// kubectl and helm.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// All nodes, `n1` first.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        let names = self.names();
        names
            .iter()
            .map(|name| Node::new(&self.settings, name))
            .collect()
    }

    /// The node `name`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn node(&self, name: &str) -> Result<Node> {
        let found = self.nodes().into_iter().find(|node| node.name() == name);
        found.with_context(|| format!("no node {name}"))
    }

    /// Directory of programs' logs, images and nodes' disks.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.settings.dir
    }

    /// Directory of programs' logs, `PLACE-PROGRAM.log`.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.layout().logs()
    }

    /// SIGKILL to a program of the control plane.
    ///
    /// # Errors
    /// When the control plane does not run.
    pub fn kill9(&self, component: Component) -> Result<()> {
        node::control(&self.settings).kill(component.program())
    }

    /// Kills a program of the control plane if it runs, starts it, and waits until the API server is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn restart(&self, component: Component) -> Result<()> {
        self.start(component)?;
        self.wait_api()
    }

    /// The same, but without waiting for the API server.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, component: Component) -> Result<()> {
        node::start(&self.settings, &node::control(&self.settings), component)
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_api(&self) -> Result<()> {
        eventually("the API server is ready", READY, || {
            self.access.ok(&["get", "--raw=/readyz"]).map(drop)
        })
    }

    /// Waits until each node is `Ready`. Of one whose kubelet has just died that is still said for 40 s.
    ///
    /// # Errors
    /// When one does not get ready.
    pub fn wait_nodes(&self) -> Result<()> {
        let nodes = self.nodes();
        let mut arguments = vec!["wait", "--for=condition=Ready", "--timeout=10s", "node"];
        arguments.extend(nodes.iter().map(Node::name));
        eventually("all nodes are ready", READY, || {
            self.access.ok(&arguments).map(drop)
        })
    }

    /// Power off and on of the node `name`; see [`Node::reboot`]. Waits until the kubelet has reported the new boot.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn reboot(&self, name: &str) -> Result<()> {
        let boot_id = || -> Result<String> {
            let node = self.access.json(&["get", "node", name])?;
            Ok(node["status"]["nodeInfo"]["bootID"].to_string())
        };
        let before = boot_id()?;
        self.node(name)?.reboot(&self.names())?;
        eventually(&format!("{name} is back"), READY, || {
            ensure(boot_id()? != before, || {
                "its status is of before".to_owned()
            })
        })?;
        self.wait_nodes()
    }

    /// One node more, with all images; waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up, or there are nine.
    pub fn add_node(&self) -> Result<Node> {
        let count = self.count.load(Ordering::SeqCst) + 1;
        ensure(count <= MOST_NODES, || format!("{MOST_NODES} are the most"))?;
        let settings = Settings {
            nodes: count,
            ..self.settings.clone()
        };
        settings.write()?;
        self.count.store(count, Ordering::SeqCst);
        let names = self.names();
        let node = Node::new(&self.settings, &format!("n{count}"));
        node.boot(&names)?;
        for name in wires::all_places(&names) {
            let place = Node::new(&self.settings, &name).place;
            if name != layout::SWITCH {
                wires::routes(&place, &names)?;
            }
        }
        self.access.apply(&node.manifest())?;
        node.import_all()?;
        node.start_programs()?;
        self.wait_nodes()?;
        Ok(node)
    }

    /// Takes the last node away, for good: its power, its disk, its Kubernetes node and what pods it still has.
    ///
    /// # Errors
    /// When something of it goes on, or it is the only one.
    pub fn remove_node(&self) -> Result<()> {
        let count = self.count.load(Ordering::SeqCst) - 1;
        ensure(count > 0, || "no cluster without nodes".to_owned())?;
        let node = self.nodes().pop().context("no nodes")?;
        let name = node.name().to_owned();
        node.power_off()?;
        self.access
            .ok(&["delete", "node", &name, "--ignore-not-found"])?;
        // No kubelet will say that they have ended, and their controllers wait for that.
        let here = format!("--field-selector=spec.nodeName={name}");
        let pods = ["delete", "pods", "--all-namespaces", &here];
        self.access
            .ok(&[&pods[..], &["--force", "--grace-period=0"]].concat())?;
        std::fs::remove_dir_all(self.settings.dir.join(&name))?;
        let settings = Settings {
            nodes: count,
            ..self.settings.clone()
        };
        settings.write()?;
        self.count.store(count, Ordering::SeqCst);
        Ok(())
    }

    /// Makes the image in `archive` known to all nodes, and to those that come.
    ///
    /// # Errors
    /// When a runtime refuses it.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let name = archive.file_name().context("an archive has a name")?;
        let kept = self.layout().images().join(name);
        std::fs::copy(archive, &kept)
            .with_context(|| format!("failed to read {}", archive.display()))?;
        for node in self.nodes() {
            node.import(&kept)?;
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        node_names(self.count.load(Ordering::SeqCst))
    }

    fn layout(&self) -> Layout {
        Layout {
            root: self.settings.dir.clone(),
        }
    }

    /// A command on a node, or, at `cp`, in the control plane's network with the caller's own files, and with kubectl, helm
    /// and an administrator's `KUBECONFIG`.
    ///
    /// # Errors
    /// When there is no such place, or it does not run.
    pub fn command(&self, place: &str, words: &[&str]) -> Result<Command> {
        let (program, arguments) = words.split_first().context("no command")?;
        if place != CONTROL {
            let mut command = self.node(place)?.place.inside()?;
            command.args(words);
            command.env("PATH", programs::path(&self.settings, place)?);
            return Ok(command);
        }
        let mut command = self.access.command(program, arguments)?;
        let kubectl = tools::find("kubectl")?;
        let mut path = kubectl
            .parent()
            .context("a program has a folder")?
            .as_os_str()
            .to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        Ok(command)
    }
}

fn node_names(count: u8) -> Vec<String> {
    (1..=count).map(|number| format!("n{number}")).collect()
}
