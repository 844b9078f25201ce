//! Convergence of a lab to its desired state, step by step; each step may be repeated.

pub(crate) mod attach;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use crds::{Forwarder, NodeObject};

use crate::convergence::wait::{self, explain, missing};
use crate::convergence::watch::Watch;
use crate::desired::Desired;
use crate::faults;
use crate::hosts::daemons;
use crate::hosts::processes;
use crate::hosts::underlay;
use crate::objects::{self, broken};
use crate::progress::Progress;
use crate::state::directory::{Directory, Instance, Record};
use crate::state::names;
use console::failure::Failure;

/// State of a convergence.
pub(crate) struct Apply<'a> {
    /// Directory of the lab.
    pub(crate) directory: &'a Directory,
    /// Record of the lab; written to disk on each change.
    pub(crate) record: &'a mut Record,
    /// Progress output.
    pub(crate) progress: &'a Progress,
    /// Deadline of the whole convergence.
    pub(crate) deadline: Instant,
}

impl Apply<'_> {
    /// Runs all steps towards `desired`. `previous` are the existing objects.
    ///
    /// # Errors
    /// [`Failure::TimedOut`] with the missing parts; [`Failure::Failed`] with the refused
    /// operation.
    pub(crate) fn run(mut self, desired: &Desired, previous: &[Forwarder]) -> Result<(), Failure> {
        let directory = self.directory;
        refuse_foreign(&directory.journaled(), &desired.forwarders)?;
        self.make_directories()?;
        self.end_faults_of_nodes()?;
        self.detach_departing(desired)?;
        self.withdraw_moved(desired, previous)?;
        self.make_hosts(desired)?;
        self.progress.step(&format!(
            "declaring {} forwarders",
            desired.forwarders.len()
        ));
        let mut watch = Watch::new(&directory.status()).map_err(|error| broken(&error))?;
        self.write_objects(desired)?;
        self.start_daemons()?;
        self.wait_programmed(&mut watch, &desired.forwarders)?;
        self.attach(desired)?;
        self.reapply_faults(&desired.forwarders)?;
        self.wait_programmed(&mut watch, &desired.forwarders)?;
        self.record.is_complete = true;
        directory.write_record(self.record)
    }

    fn make_directories(&self) -> Result<(), Failure> {
        for name in ["forwarders", "nodes", "status"] {
            fs::create_dir_all(self.directory.objects().join(name))
                .map_err(|error| broken(&error))?;
        }
        self.directory.make_key().map_err(|error| broken(&error))?;
        Ok(())
    }

    /// Detaches instances that are unwanted or move to another Forwarder.
    fn detach_departing(&mut self, desired: &Desired) -> Result<(), Failure> {
        let stays = |name: &str, instance: &Instance| {
            desired.instances.get(name).is_some_and(|wanted| {
                wanted.forwarder == instance.forwarder
                    && wanted.node == instance.node
                    && wanted.external == instance.external
            })
        };
        let departing: Vec<String> = self
            .record
            .instances
            .iter()
            .filter(|(name, instance)| !stays(name, instance))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &departing {
            self.detach(name)?;
        }
        self.directory.write_record(self.record)
    }

    /// Withdraws the Forwarders that are unwanted or move to another node, and waits until their
    /// namespaces are gone: two daemons must never work on one namespace.
    fn withdraw_moved(&mut self, desired: &Desired, previous: &[Forwarder]) -> Result<(), Failure> {
        let node_of: BTreeMap<&str, &str> = desired
            .forwarders
            .iter()
            .map(|forwarder| {
                (
                    forwarder.metadata.name.as_str(),
                    forwarder.spec.node.as_str(),
                )
            })
            .collect();
        let moved: Vec<&Forwarder> = previous
            .iter()
            .filter(|forwarder| {
                let node = node_of.get(forwarder.metadata.name.as_str());
                node != Some(&forwarder.spec.node.as_str())
            })
            .collect();
        for forwarder in &moved {
            objects::remove(&self.directory.forwarders(), &forwarder.metadata.name)?;
        }
        let namespaces: Vec<String> = moved
            .iter()
            .map(|forwarder| faults::netns(forwarder))
            .collect();
        let is_there = |name: &String| probe::namespace::path(name).exists();
        let patience = self.deadline.min(Instant::now() + WITHDRAWAL);
        while namespaces.iter().any(is_there) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        // A daemon that is dead, or never had the Forwarder, does not remove its namespace.
        remove_namespaces(&namespaces)?;
        for forwarder in &moved {
            objects::remove(&self.directory.status(), &forwarder.metadata.name)?;
            self.record.faults.killed.remove(&forwarder.spec.name);
        }
        Ok(())
    }

    /// Records every namespace in the journal before its creation, then creates underlay and hosts.
    fn make_hosts(&mut self, desired: &Desired) -> Result<(), Failure> {
        self.progress
            .step(&format!("creating {} hosts", desired.hosts.len()));
        let departing: Vec<String> = self
            .record
            .hosts
            .iter()
            .filter(|(node, _)| !desired.hosts.contains_key(*node))
            .map(|(_, host)| host.netns.clone())
            .collect();
        remove_namespaces(&departing)?;
        let (namespace, topology) = (&self.record.namespace, &self.record.topology);
        self.record.underlay = names::underlay(namespace, topology);
        self.record.hosts = desired.hosts.clone();
        let forwarders: Vec<String> = desired.forwarders.iter().map(faults::netns).collect();
        let hosts = desired.hosts.values().map(|host| host.netns.as_str());
        let instances = desired
            .instances
            .values()
            .map(|instance| instance.netns.as_str());
        let all = std::iter::once(self.record.underlay.as_str()).chain(hosts);
        self.directory.journal(
            all.chain(forwarders.iter().map(String::as_str))
                .chain(instances),
        )?;
        self.directory.write_record(self.record)?;
        let (underlay, mtu) = (&self.record.underlay, self.record.mtu());
        underlay::ensure_bridge(underlay)?;
        let mut hosts = desired.hosts.values();
        hosts.try_for_each(|host| underlay::ensure_host(underlay, host, mtu))
    }

    fn write_objects(&self, desired: &Desired) -> Result<(), Failure> {
        let nodes = self.directory.objects().join("nodes");
        let mut written = BTreeSet::new();
        for (name, host) in &desired.hosts {
            let mut node = NodeObject::new(name.clone(), &underlay::addresses(host.number));
            node.metadata.labels = host.labels.clone();
            objects::write(&nodes, name, &node)?;
            written.insert(name.clone());
        }
        objects::remove_others(&nodes, &written)?;
        let forwarders = self.directory.forwarders();
        let mut written = BTreeSet::new();
        for forwarder in &desired.forwarders {
            objects::write(&forwarders, &forwarder.metadata.name, forwarder)?;
            written.insert(forwarder.metadata.name.clone());
        }
        objects::remove_others(&forwarders, &written)
    }

    fn start_daemons(&self) -> Result<(), Failure> {
        self.progress.step(&format!(
            "starting {} node daemons",
            self.record.hosts.len()
        ));
        let mut hosts = self.record.hosts.iter();
        hosts.try_for_each(|(node, host)| daemons::start(self.directory, node, host))
    }

    /// Waits until each status shows the computed table.
    fn wait_programmed(&self, watch: &mut Watch, forwarders: &[Forwarder]) -> Result<(), Failure> {
        self.progress.step("waiting for links and tables");
        let expected = wait::expected(forwarders, self.record)?;
        let mut dead = None;
        let done = watch
            .wait(self.deadline, |statuses| {
                let missing = missing(&expected, statuses);
                let total = expected.len();
                self.progress
                    .update(&format!("programmed {} of {total}", total - missing.len()));
                dead = self.dead_daemon();
                missing.is_empty() || dead.is_some()
            })
            .map_err(|error| broken(&error))?;
        if let Some(node) = dead {
            let words = daemons::last_words(self.directory, &node);
            return Err(Failure::Failed(format!(
                "the daemon of {node} ended:\n{words}"
            )));
        }
        if done {
            return Ok(());
        }
        let missing = missing(&expected, watch.statuses());
        let words = explain(&missing, &expected, watch.statuses());
        Err(Failure::TimedOut(format!(
            "not programmed in time:\n  {words}"
        )))
    }

    fn dead_daemon(&self) -> Option<String> {
        let mut nodes = self.record.hosts.keys();
        nodes
            .find(|node| daemons::running(self.directory, node).is_none())
            .cloned()
    }

    /// Ends the faults of nodes: a stopped daemon, or one that is apart, cannot converge.
    fn end_faults_of_nodes(&mut self) -> Result<(), Failure> {
        let before = self.record.faults.clone();
        self.record.faults.heal_nodes();
        if self.record.faults != before {
            faults::nodes::enforce(self.directory, self.record, &before)?;
        }
        Ok(())
    }

    /// Applies the recorded faults to recreated links and Forwarders.
    fn reapply_faults(&mut self, forwarders: &[Forwarder]) -> Result<(), Failure> {
        let links = forwarders.iter().flat_map(|it| &it.spec.links);
        let links = links.map(|link| link.id.as_str()).collect();
        let names = forwarders.iter().map(|it| it.spec.name.as_str()).collect();
        self.record.faults.keep(&links, &names);
        let faults = &self.record.faults;
        faults::enforce(forwarders, faults, faults)
    }
}

/// Refuses a Forwarder whose namespace exists and is not in the lab's journal. A cluster gives its Forwarders the same names: two
/// daemons would work on one namespace, and `down` would end the cluster's pods.
fn refuse_foreign(journaled: &BTreeSet<String>, forwarders: &[Forwarder]) -> Result<(), Failure> {
    for forwarder in forwarders {
        let netns = faults::netns(forwarder);
        if !journaled.contains(&netns) && probe::namespace::path(&netns).exists() {
            return Err(Failure::Failed(format!(
                "network namespace {netns} of forwarder {} exists already and is not of this lab: it belongs to the \
                 topology of the same name in a cluster, whose node daemon runs on this host, or to a lab whose \
                 directory was lost. Give the topology another name, or run the lab as a user other than root",
                forwarder.spec.name
            )));
        }
    }
    Ok(())
}

/// Longest time in which a daemon removes a Forwarder.
const WITHDRAWAL: Duration = Duration::from_secs(5);

/// Ends the processes in the namespaces, and removes their names.
pub(crate) fn remove_namespaces(names: &[String]) -> Result<(), Failure> {
    let left = processes::end_all(names, crate::STOP_LIMIT);
    if !left.is_empty() {
        let ids: Vec<String> = left.iter().map(|process| process.id.to_string()).collect();
        return Err(Failure::Failed(format!(
            "failed to end processes {}",
            ids.join(", ")
        )));
    }
    for name in names {
        dataplane::netns::delete(name)
            .map_err(|error| Failure::Failed(format!("failed to remove {name}: {error}")))?;
    }
    Ok(())
}
