//! Attachment and detachment of App instances by the real plugin.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crds::Forwarder;

use crate::apply::{Apply, remove_namespaces};
use crate::desired::{Desired, pod_labels};
use crate::faults;
use crate::hosts::underlay;
use crate::instances::conflist::{network, plugin_config};
use crate::instances::external;
use crate::instances::plugin;
use crate::state::directory::{Directory, Instance, Record};
use crate::state::names;
use console::failure::Failure;

impl Apply<'_> {
    /// Detaches one instance, and removes its namespace.
    pub(crate) fn detach(&mut self, name: &str) -> Result<(), Failure> {
        let Some(instance) = self.record.instances.get(name).cloned() else {
            return Ok(());
        };
        if let Some(host) = self.record.hosts.get(&instance.node) {
            let program = plugin::find()?;
            let call = Attachment::new(self.directory, self.record, name, &instance, None);
            // DEL succeeds also when a part is gone already, the daemon included.
            plugin::del(&call.call(&program, &host.netns))?;
        }
        remove_namespaces(std::slice::from_ref(&instance.netns))?;
        self.record.instances.remove(name);
        Ok(())
    }

    /// Attaches the instances that are unattached, or differ from the plugin's result, several in
    /// parallel.
    pub(crate) fn attach(&mut self, desired: &Desired) -> Result<(), Failure> {
        let patience = self.deadline.saturating_duration_since(Instant::now());
        let broken = broken(self.directory, self.record, &desired.forwarders, patience)?;
        let waiting: Vec<(&String, &Instance)> = desired
            .instances
            .iter()
            .filter(|(name, wanted)| {
                let known = self.record.instances.get(*name);
                let is_there = probe::namespace::path(&wanted.netns).exists();
                let is_attached = known.is_some_and(|known| !known.addresses.is_empty());
                !(is_there && is_attached) || broken.contains_key(*name)
            })
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        self.progress
            .step(&format!("attaching {} app instances", waiting.len()));
        let attached = self.attach_all(&waiting, &desired.forwarders);
        let mut result = Ok(());
        for (name, outcome) in attached {
            match outcome {
                Ok(instance) => drop(self.record.instances.insert(name, instance)),
                Err(failure) => result = result.and(Err(failure)),
            }
        }
        self.directory.write_record(self.record)?;
        result
    }

    fn attach_all(
        &self,
        waiting: &[(&String, &Instance)],
        forwarders: &[Forwarder],
    ) -> Vec<(String, Result<Instance, Failure>)> {
        let (done_so_far, count) = (AtomicUsize::new(0), waiting.len());
        at_once(waiting, |(name, wanted)| {
            let outcome = self.attach_one(name, wanted, forwarders);
            let so_far = done_so_far.fetch_add(1, Ordering::Relaxed) + 1;
            self.progress
                .update(&format!("attached {so_far} of {count}"));
            ((*name).clone(), outcome)
        })
    }

    fn attach_one(
        &self,
        name: &str,
        wanted: &Instance,
        forwarders: &[Forwarder],
    ) -> Result<Instance, Failure> {
        let mut instance = wanted.clone();
        let selector = selector(name, wanted, forwarders)?;
        underlay::ensure_namespace(&wanted.netns)?;
        prepare_instance(&wanted.netns)?;
        let call = Attachment::new(self.directory, self.record, name, wanted, selector);
        let host = self.record.hosts.get(&wanted.node);
        let host = host.ok_or_else(|| Failure::Failed(format!("{name}: no host for it")))?;
        let program = plugin::find()?;
        let call = call.call(&program, &host.netns);
        // Remains of an `up` that crashed.
        plugin::del(&call)?;
        let patience = self.deadline.saturating_duration_since(Instant::now());
        let attached = plugin::add(&call, patience)?;
        instance.addresses = attached.addresses;
        instance.result = attached.result;
        external::ensure(&mut instance)?;
        Ok(instance)
    }
}

/// Instances that differ from the plugin's result, with every difference: the answers of CHECK.
/// Instances of a killed Forwarder or of a daemon that does not work are left out: `heal` brings them back.
///
/// # Errors
/// The plugin was not found.
pub(crate) fn broken(
    directory: &Directory,
    record: &Record,
    forwarders: &[Forwarder],
    patience: Duration,
) -> Result<BTreeMap<String, String>, Failure> {
    let is_attached = |instance: &Instance| {
        let faults = &record.faults;
        let is_dead = faults.killed.contains(&instance.forwarder) || faults.stops(&instance.node);
        !instance.addresses.is_empty() && !is_dead
    };
    let attached: Vec<(&String, &Instance)> = record
        .instances
        .iter()
        .filter(|(_, instance)| is_attached(instance))
        .collect();
    if attached.is_empty() {
        return Ok(BTreeMap::new());
    }
    let program = plugin::find()?;
    let checked = at_once(&attached, |(name, instance)| {
        let Some(host) = record.hosts.get(&instance.node) else {
            return ((*name).clone(), Some("its host does not exist".to_owned()));
        };
        // For a removed Forwarder nothing else is known.
        let Ok(selector) = selector(name, instance, forwarders) else {
            return (
                (*name).clone(),
                Some("its forwarder does not exist".to_owned()),
            );
        };
        let call = Attachment::new(directory, record, name, instance, selector);
        let checked = plugin::check(
            &call.call(&program, &host.netns),
            &instance.result,
            patience,
        );
        ((*name).clone(), checked.err())
    });
    let differing = checked.into_iter();
    Ok(differing
        .filter_map(|(name, why)| Some((name, why?)))
        .collect())
}

/// Selector of the App of `instance`, at its Forwarder.
fn selector<'a>(
    name: &str,
    instance: &Instance,
    forwarders: &'a [Forwarder],
) -> Result<Option<&'a crds::LabelSelector>, Failure> {
    let mut forwarders = forwarders.iter();
    let forwarder = forwarders.find(|each| each.spec.name == instance.forwarder);
    let forwarder =
        forwarder.ok_or_else(|| Failure::Failed(format!("{name}: no forwarder for it")))?;
    let mut apps = forwarder.spec.apps.iter();
    let app = apps.find(|app| app.name == instance.app);
    Ok(app.and_then(|app| app.selector.as_ref()))
}

/// Applies `work` to each item, several in parallel, in no order.
fn at_once<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(all.len()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(all.len()) {
            scope.spawn(|| {
                while let Some(each) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let made = work(each);
                    let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    done.push(made);
                }
            });
        }
    });
    done.into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Number of instances that are attached in parallel: the kernel's link lock limits the gain.
const AT_ONCE: usize = 8;

/// Arguments of the plugin for one instance.
struct Attachment {
    netns: String,
    container: String,
    namespace: String,
    pod: String,
    config: serde_json::Value,
}

impl Attachment {
    fn new(
        directory: &Directory,
        record: &Record,
        name: &str,
        instance: &Instance,
        selector: Option<&crds::LabelSelector>,
    ) -> Attachment {
        let (namespace, topology) = (&record.namespace, &record.topology);
        let labels = pod_labels(topology, &instance.app, selector, Some(&instance.forwarder));
        let network = network(namespace, topology);
        Attachment {
            netns: instance.netns.clone(),
            container: names::container(namespace, topology, name),
            namespace: namespace.clone(),
            pod: name.to_owned(),
            config: plugin_config(directory, &network, &instance.node, &labels),
        }
    }

    fn call<'a>(&'a self, program: &'a Path, host: &'a str) -> plugin::Call<'a> {
        plugin::Call {
            program,
            host,
            netns: &self.netns,
            container: &self.container,
            pod: (&self.namespace, &self.pod),
            config: &self.config,
        }
    }
}

/// Brings loopback up, and lifts the limit of ICMP errors, which answer traces.
fn prepare_instance(netns: &str) -> Result<(), Failure> {
    probe::namespace::within(netns, || {
        fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0")?;
        fs::write("/proc/sys/net/ipv6/icmp/ratelimit", "0")
    })
    .map_err(|error| Failure::Failed(format!("failed to prepare {netns}: {error}")))?;
    faults::set_up(netns, "lo", true)
}
