//! Dump of the cluster's state when a story fails.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::down::artifacts;
use super::{Access, Cluster};

const OBJECTS: &str =
    "pods,deployments,daemonsets,replicasets,services,endpointslices,configmaps,events";
const NODE: [(&str, &str); 6] = [
    ("addresses", "ip address"),
    (
        "routes",
        "ip route show table all; ip -6 route show table all; ip nexthop",
    ),
    (
        "namespaces",
        "ls -la /run/netns; for n in $(ls /run/netns); do echo \"== $n\"; ip -n $n address; ip -n $n route; ip -n $n -6 route; done",
    ),
    ("nftables", "nft list ruleset"),
    ("cni", "head -c 4096 /etc/cni/net.d/*; ls -la /opt/cni/bin"),
    (
        "beemesh",
        "find /run/beemesh /var/lib/beemesh -type f -size -64k -exec head -c 65536 {} +",
    ),
];

/// Directory of the dump of `story`.
#[must_use]
pub fn folder(story: &str) -> PathBuf {
    artifacts().join(story)
}

impl Access {
    /// Writes what the API server knows of `namespace` to `folder`. What cannot be had is left out, with the reason.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn dump(&self, namespace: &str, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let questions: [(&str, Vec<&str>); 7] = [
            ("nodes.txt", vec!["get", "nodes", "-o", "wide"]),
            ("all-pods.txt", vec!["get", "pods", "-A", "-o", "wide"]),
            (
                "objects.yaml",
                vec!["get", OBJECTS, "-n", namespace, "-o", "yaml"],
            ),
            ("pods.txt", vec!["describe", "pods", "-n", namespace]),
            (
                "beemesh.yaml",
                vec![
                    "get",
                    "forwarders,microservicetopologies",
                    "-A",
                    "-o",
                    "yaml",
                ],
            ),
            ("events.txt", vec!["get", "events", "-A"]),
            (
                "describe-beemesh.txt",
                vec!["describe", "pods", "-n", "beemesh-system"],
            ),
        ];
        for (file, question) in questions {
            let ran = self.kubectl(&question)?;
            fs::write(folder.join(file), ran.stdout + &ran.stderr)?;
        }
        for namespace in [namespace, "beemesh-system", "kube-system"] {
            self.dump_logs(namespace, folder)?;
        }
        Ok(())
    }

    fn dump_logs(&self, namespace: &str, folder: &Path) -> Result<()> {
        let pods = self.kubectl(&["get", "pods", "-n", namespace, "-o", "name"])?;
        for pod in pods.stdout.lines() {
            let log = [
                "logs",
                "-n",
                namespace,
                pod,
                "--all-containers",
                "--tail=2000",
            ];
            let now = self.kubectl(&log)?;
            let name = format!("{namespace}-{}.log", pod.trim_start_matches("pod/"));
            let before = self.kubectl(&[&log[..], &["--previous"]].concat())?;
            let before = if before.is_success {
                before.stdout
            } else {
                String::new()
            };
            fs::write(folder.join(name), before + &now.stdout + &now.stderr)?;
        }
        Ok(())
    }
}

impl Cluster {
    /// Writes what the nodes hold to `folder`, beside the logs of all programs.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn dump(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for node in self.nodes() {
            for (what, script) in NODE {
                let said = match node.run(script) {
                    Ok(ran) => ran.stdout + &ran.stderr,
                    Err(error) => format!("{error:#}\n"),
                };
                fs::write(folder.join(format!("{}-{what}.txt", node.name())), said)?;
            }
        }
        for entry in fs::read_dir(self.logs())?.flatten() {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(())
    }
}
