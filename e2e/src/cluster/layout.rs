//! Names, addresses and paths: everything that follows from a node's name. Pure.

use std::path::{Path, PathBuf};

/// The control plane, among names of nodes.
pub(super) const CONTROL: &str = "cp";
/// The switch that joins them.
pub(super) const SWITCH: &str = "sw";
/// The most nodes that a cluster can have: certificates are made for so many.
pub(super) const MOST_NODES: u8 = 9;
/// Of the bridge, and the default gateway of all: it answers and forwards nothing.
pub(super) const GATEWAYS: [&str; 2] = ["172.30.0.1/24", "fd30::1/64"];
/// Service `kubernetes`.
pub(super) const API_SERVICE: [&str; 2] = ["10.96.0.1", "fd96::1"];
/// Service `kube-dns`.
pub(super) const DNS_SERVICE: [&str; 2] = ["10.96.0.10", "fd96::10"];

/// Addresses of the control plane or of a node, IPv4 and IPv6.
pub(super) fn addresses(name: &str) -> [String; 2] {
    let number = 10 + number(name);
    [format!("172.30.0.{number}"), format!("fd30::{number}")]
}

/// Pod networks of the node `name`, IPv4 and IPv6.
pub(super) fn pod_networks(name: &str) -> [String; 2] {
    let number = number(name);
    [
        format!("10.244.{number}.0/24"),
        format!("fd44:0:0:{number}::/64"),
    ]
}

/// `n3` -> 3; the control plane is 0.
pub(super) fn number(name: &str) -> u8 {
    name.strip_prefix('n')
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// URL of the API server.
pub(super) fn api_url() -> String {
    format!("https://{}:6443", addresses(CONTROL)[0])
}

/// Paths below the one folder that holds all of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
}

impl Layout {
    pub(super) fn settings(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// Certificates, keys and kubeconfigs.
    pub(super) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.keys().join(format!("{user}.kubeconfig"))
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(super) fn log(&self, name: &str, program: &str) -> PathBuf {
        self.logs().join(format!("{name}-{program}.log"))
    }

    /// Directory of a node's state that survives a reboot.
    pub(super) fn state(&self, name: &str) -> PathBuf {
        self.root.join(name).join("state")
    }

    /// Directory of a node's state that a reboot removes, such as process ids.
    pub(super) fn boot(&self, name: &str) -> PathBuf {
        self.root.join(name).join("boot")
    }

    /// Settings of a node's programs.
    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.root.join(name).join("config")
    }
}

/// The folder of cgroups, below each hierarchy, of the cluster in `root`; two clusters do not meet there.
pub(super) fn cgroup(root: &Path) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, root.as_os_str().as_encoded_bytes());
    let short: String = digest.as_ref()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("beemesh-e2e-{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_addresses_of_their_own() {
        #[rustfmt::skip]
        let cases = [
            // place    node network                    pods
            ("n1",      ["172.30.0.11", "fd30::11"],    ["10.244.1.0/24", "fd44:0:0:1::/64"]),
            ("n9",      ["172.30.0.19", "fd30::19"],    ["10.244.9.0/24", "fd44:0:0:9::/64"]),
        ];
        for (name, expected, pods) in cases {
            assert_eq!(addresses(name), expected, "{name}");
            assert_eq!(pod_networks(name), pods, "{name}");
        }
        assert_eq!(addresses(CONTROL), ["172.30.0.10", "fd30::10"]);
    }

    #[test]
    fn clusters_in_two_folders_share_no_cgroup() {
        let names = ["/var/tmp/a", "/var/tmp/b"].map(|dir| cgroup(Path::new(dir)));
        assert_ne!(names[0], names[1]);
    }
}
