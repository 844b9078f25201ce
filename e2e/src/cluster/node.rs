//! One node: operations and observations.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::component::Component;
use super::layout::{CONTROL, Layout, SWITCH, addresses, pod_networks};
use super::options::Settings;
use super::place::Place;
use super::{cgroups, image, programs, wires};
use crate::kubectl::Ran;
use crate::{eventually, tools};

const STARTED: Duration = Duration::from_secs(60);
/// As a plugin folder has them, and what `e2e/tools/fill` calls those that it builds.
const PLUGINS: [(&str, &str); 3] = [
    ("ptp", "cni-ptp"),
    ("host-local", "cni-host-local"),
    ("loopback", "cni-loopback"),
];

/// A node of a [`super::Cluster`].
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) place: Place,
    settings: Settings,
}

impl Node {
    pub(super) fn new(settings: &Settings, name: &str) -> Self {
        let layout = Layout {
            root: settings.dir.clone(),
        };
        Self {
            place: Place {
                name: name.to_owned(),
                layout,
            },
            settings: settings.clone(),
        }
    }

    /// Such as `n1`; the Kubernetes node's name too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Its addresses, IPv4 and IPv6.
    #[must_use]
    pub fn addresses(&self) -> [String; 2] {
        addresses(self.name())
    }

    /// True when its runtime is Debian's containerd 1.6, which never calls a plugin's STATUS.
    #[must_use]
    pub fn has_containerd_1(&self) -> bool {
        self.settings.has_containerd_1(self.name())
    }

    /// Runs `script` (sh) in the node's namespaces, with its files; `ctr`, `ip`, `nft` are there.
    ///
    /// # Errors
    /// The node does not run; a failure of the script is part of the result.
    pub fn run(&self, script: &str) -> Result<Ran> {
        let mut command = self.place.inside()?;
        command
            .args(["sh", "-c", script])
            .env("PATH", programs::path(&self.settings, self.name())?);
        crate::kubectl::run(command, "")
    }

    /// Output of a script that succeeds.
    ///
    /// # Errors
    /// The script fails.
    pub fn ok(&self, script: &str) -> Result<String> {
        self.run(script)?.ok()
    }

    /// Process ids, as the machine counts, of all that runs on the node.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.place.pids()
    }

    /// SIGKILL. It stays dead until [`Node::restart`].
    ///
    /// # Errors
    /// When the node does not run.
    pub fn kill9(&self, component: Component) -> Result<()> {
        self.place.kill(component.program())
    }

    /// Kills it if it runs, and starts it with the same command line. Readiness is the caller's to await; but for the
    /// container runtime's, without which a kubelet ends at once.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&self, component: Component) -> Result<()> {
        start(&self.settings, &self.place, component)?;
        if component != Component::Containerd {
            return Ok(());
        }
        eventually("containerd answers", STARTED, || {
            self.ok("ctr version").map(drop)
        })
    }

    /// Pulls its cable: it is unreachable, and loses its carrier.
    ///
    /// # Errors
    /// When the cluster does not run.
    pub fn cut_cable(&self) -> Result<()> {
        wires::cable(&self.switch(), self.name(), false)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// When the cluster does not run.
    pub fn heal_cable(&self) -> Result<()> {
        wires::cable(&self.switch(), self.name(), true)
    }

    /// Power off and on: all processes, network namespaces, mounts and `/run` are lost, disks stay.
    ///
    /// The node's `/proc/sys/kernel/random/boot_id` is another one afterwards; in containers, which mount a `/proc` of
    /// their own, it is the machine's, so a program there must read the node's by a hostPath.
    ///
    /// # Errors
    /// When it does not come up; that its Kubernetes node gets ready is the caller's to await.
    pub fn reboot(&self, all: &[String]) -> Result<()> {
        self.power_off()?;
        self.boot(all)?;
        self.start_programs()
    }

    /// Ends all of the node but its disk.
    ///
    /// # Errors
    /// When a process goes on.
    pub fn power_off(&self) -> Result<()> {
        self.place.power_off()?;
        wires::unplug(&self.switch(), self.name())?;
        cgroups::remove_node(&self.settings.dir, self.name())?;
        let boot = self.place.layout.boot(self.name());
        if boot.exists() {
            fs::remove_dir_all(boot)?;
        }
        Ok(())
    }

    /// Namespaces, cable, routes and the container runtime. `all` are the names of all nodes.
    pub(super) fn boot(&self, all: &[String]) -> Result<()> {
        let name = self.name();
        self.place.start()?;
        cgroups::create(&self.settings.dir, name)?;
        wires::plug(&self.switch(), &self.place)?;
        wires::routes(&self.place, all)?;
        let layout = &self.place.layout;
        let config = layout.config(name);
        fs::create_dir_all(&config)?;
        fs::write(config.join("containerd.toml"), programs::CONTAINERD)?;
        fs::write(
            config.join("kubelet.json"),
            programs::kubelet_config(layout, name),
        )?;
        fs::write(
            config.join("kube-proxy.json"),
            programs::proxy_config(layout, name),
        )?;
        self.install_primary()?;
        self.restart(Component::Containerd)
    }

    /// The kubelet and kube-proxy.
    pub(super) fn start_programs(&self) -> Result<()> {
        start(&self.settings, &self.place, Component::Kubelet)?;
        start(&self.settings, &self.place, Component::KubeProxy)
    }

    /// Makes the image in the OCI or docker archive `archive` known to the node's runtime.
    ///
    /// # Errors
    /// When the runtime refuses it.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let script = format!("ctr -n k8s.io images import '{}'", archive.display());
        self.ok(&script).map(drop)
    }

    pub(super) fn import_all(&self) -> Result<()> {
        for archive in image::archives(&self.place.layout.images())? {
            self.import(&archive)?;
        }
        Ok(())
    }

    /// The Kubernetes node, made by an administrator so that its pods' networks are known before it starts.
    pub(super) fn manifest(&self) -> String {
        let networks = pod_networks(self.name());
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name()},
            "spec": {"podCIDR": networks[0], "podCIDRs": networks},
        })
        .to_string()
    }

    /// ptp and host-local: Debian's (CNI 1.0.0) beside its containerd, which knows no later words; 1.1.0 elsewhere, so
    /// that the runtime calls STATUS.
    fn install_primary(&self) -> Result<()> {
        let own = self.place.layout.state(self.name()).join("own");
        let version = if self.has_containerd_1() {
            "1.0.0"
        } else {
            "1.1.0"
        };
        for (plugin, program) in PLUGINS {
            let from = match self.has_containerd_1() {
                true => Path::new("/usr/lib/cni").join(plugin),
                false => tools::find(program)?,
            };
            let to = own.join("opt/cni/bin").join(plugin);
            if !to.exists() {
                fs::copy(from, to)?;
            }
        }
        let [v4, v6] = pod_networks(self.name());
        let list = json!({"cniVersion": version, "name": "primary", "plugins": [{
            "type": "ptp", "mtu": 1500, "ipMasq": false,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": v4}], [{"subnet": v6}]],
                     "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]},
        }]});
        let text = serde_json::to_string_pretty(&list)?;
        Ok(fs::write(
            own.join("etc/cni/net.d/10-primary.conflist"),
            text,
        )?)
    }

    fn switch(&self) -> Place {
        Place {
            name: SWITCH.to_owned(),
            layout: self.place.layout.clone(),
        }
    }
}

/// Kills `component` of `place` if it runs, and starts it.
pub(super) fn start(settings: &Settings, place: &Place, component: Component) -> Result<()> {
    place.kill(component.program())?;
    let line = programs::line(settings, component, &place.name)?;
    let path = programs::path(settings, &place.name)?;
    place.launch(component.program(), &line, &path)
}

/// The control plane's place.
pub(super) fn control(settings: &Settings) -> Place {
    Node::new(settings, CONTROL).place
}

/// The switch's place.
pub(super) fn switch(settings: &Settings) -> Place {
    Node::new(settings, SWITCH).place
}
