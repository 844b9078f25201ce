//! Running processes of a cluster, and their resources.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::Result;

use super::layout::{CONTROL, Layout};
use super::{Cluster, Node};
use crate::resident_bytes;

const MIB: f64 = 1024.0 * 1024.0;

impl Cluster {
    /// A table of all nodes, and the memory of all processes by place and program.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn status(&self) -> Result<String> {
        let mut text = match self.access.ok(&["get", "nodes", "-o", "wide"]) {
            Ok(table) => table,
            Err(error) => format!("the API server does not answer: {error:#}\n"),
        };
        let mut total = 0;
        let control = Node::new(&self.settings, CONTROL);
        for node in std::iter::once(control).chain(self.nodes()) {
            writeln!(text)?;
            for (program, (count, bytes)) in memory(&node) {
                total += bytes;
                let mebibytes = bytes as f64 / MIB;
                writeln!(
                    text,
                    "{:4} {mebibytes:7.1} MiB  {count:2} x {program}",
                    node.name()
                )?;
            }
        }
        writeln!(
            text,
            "\n{:.1} MiB in all\nlogs: {}",
            total as f64 / MIB,
            self.logs().display()
        )?;
        Ok(text)
    }
}

/// Number and resident memory by program.
fn memory(node: &Node) -> BTreeMap<String, (u32, u64)> {
    let mut found = BTreeMap::<String, (u32, u64)>::new();
    for pid in node.pids() {
        let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) else {
            continue;
        };
        let entry = found.entry(name.trim().to_owned()).or_default();
        entry.0 += 1;
        entry.1 += resident_bytes(pid).unwrap_or(0);
    }
    found
}

impl Cluster {
    /// Hint on the cluster's files, which `up` prints.
    #[must_use]
    pub fn summary(&self) -> String {
        let layout = Layout {
            root: self.settings.dir.clone(),
        };
        format!(
            "cluster in {}, logs in {}\n\
             beemesh-e2e shell cp kubectl get pods -A    beemesh-e2e shell n1 ip route    beemesh-e2e down",
            layout.root.display(),
            layout.logs().display()
        )
    }
}
