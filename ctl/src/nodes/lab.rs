//! The hosts of a running lab as nodes that can be asked: all on this machine.

use super::{Answer, Listening, Nodes, Question, exec::Ran};
use crate::cluster::placed::{Placed, Pod, of_forwarders};
use ::lab::{Instance, Running};
use console::failure::Failure;
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// The hosts of a lab.
pub(crate) struct OfLab<'a> {
    running: &'a Running,
}

impl<'a> OfLab<'a> {
    /// Of a lab that runs.
    pub(crate) fn new(running: &'a Running) -> Self {
        Self { running }
    }

    /// This program, with the paths of a host's daemon.
    fn command(&self, question: &Question) -> Command {
        let directory = &self.running.directory;
        let (node, own) = (&question.node, directory.node(&question.node));
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("inspect")
            .args(&question.arguments)
            .args(["--name", node])
            .arg("--state-dir")
            .arg(own.join("state"))
            .arg("--cache-dir")
            .arg(directory.objects())
            .arg("--run-dir")
            .arg(directory.run(node))
            .arg("--socket")
            .arg(directory.socket(node));
        command
    }
}

impl Nodes for OfLab<'_> {
    fn names(&self) -> BTreeSet<String> {
        self.running.record.hosts.keys().cloned().collect()
    }

    fn away(&self, node: &str) -> Option<String> {
        let is_there = self.running.record.hosts.contains_key(node);
        (!is_there).then(|| "the lab has no such host".to_owned())
    }

    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let one = |question: &Question| {
            let output = self.command(question).stdin(Stdio::null()).output();
            let output = output.map_err(|error| error.to_string())?;
            Ran {
                code: output.status.code().unwrap_or(-1),
                stdout: output.stdout,
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            }
            .printed()
        };
        questions.iter().map(one).collect()
    }

    fn listen<'b>(
        &'b self,
        question: &Question,
    ) -> Result<(String, Box<dyn Listening + 'b>), String> {
        let mut command = self.command(question);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| error.to_string())?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut line);
            read.map_err(|error| error.to_string())?;
        }
        let listener = Listener { child };
        match line.is_empty() {
            true => Err("it ended without a word".to_owned()),
            false => Ok((line, Box::new(listener))),
        }
    }
}

struct Listener {
    child: Child,
}

impl Listening for Listener {}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends with its stdin.
        let _ = self.child.wait();
    }
}

/// The topology of a running lab with its instances, and what its daemons report.
///
/// # Errors
/// [`Failure::Failed`] when the lab's objects are no topology.
pub(crate) fn placed(running: &Running) -> Result<Placed, Failure> {
    let record = &running.record;
    let (topology, forwarders) = (running.topology()?, running.reported());
    let mut placed = of_forwarders(&record.namespace, &record.topology, topology, forwarders);
    placed.pods = record
        .instances
        .iter()
        .map(|(name, instance)| pod(name, instance))
        .collect();
    Ok(placed)
}

fn pod(name: &str, instance: &Instance) -> Pod {
    Pod {
        name: name.to_owned(),
        app: instance.app.clone(),
        forwarder: instance.forwarder.clone(),
        node: instance.node.clone(),
        addresses: instance
            .addresses
            .iter()
            .map(ipnetwork::IpNetwork::ip)
            .collect(),
        found_by: ["--netns".to_owned(), instance.netns.clone()],
    }
}
