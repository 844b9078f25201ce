//! Brings a lab to what is desired, step by step; each step may be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crds::{Forwarder, NodeObject};

use super::conflist::{network, plugin_config};
use super::desired::{Desired, pod_labels};
use super::progress::Progress;
use super::state::{Directory, Instance, Record, is_object, replace};
use super::watch::{Statuses, Watch};
use super::{computed, daemons, external, faults, names, plugin, processes, underlay};
use crate::failure::Failure;

/// What a step needs.
pub(crate) struct Apply<'a> {
    /// The lab.
    pub(crate) directory: &'a Directory,
    /// What there is; kept on disk as it changes.
    pub(crate) record: &'a mut Record,
    /// Where to tell how it goes.
    pub(crate) progress: &'a Progress,
    /// When to give up.
    pub(crate) deadline: Instant,
}

impl Apply<'_> {
    /// All steps, from what there is to `desired`. `previous` are the objects that there were.
    ///
    /// # Errors
    /// [`Failure::TimedOut`] with what is missing; [`Failure::Failed`] with what was refused.
    pub(crate) fn run(mut self, desired: &Desired, previous: &[Forwarder]) -> Result<(), Failure> {
        let directory = self.directory;
        self.make_directories()?;
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
        for name in ["forwarders", "nodes", "link-states", "status"] {
            fs::create_dir_all(self.directory.objects().join(name))
                .map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    /// Detaches instances that are to go, or to be elsewhere.
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

    fn detach(&mut self, name: &str) -> Result<(), Failure> {
        let Some(instance) = self.record.instances.get(name).cloned() else {
            return Ok(());
        };
        if let Some(host) = self.record.hosts.get(&instance.node) {
            let program = plugin::find()?;
            let call = Attachment::new(self.directory, self.record, name, &instance, None);
            // DEL succeeds whenever anything is gone already, the daemon included.
            plugin::del(&call.call(&program, &host.netns))?;
        }
        remove_namespaces(std::slice::from_ref(&instance.netns))?;
        self.record.instances.remove(name);
        Ok(())
    }

    /// Takes away the Forwarders that are to go or to be on another node, and waits until their
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
            remove_file(&self.directory.forwarders(), &forwarder.metadata.name)?;
        }
        let namespaces: Vec<String> = moved
            .iter()
            .map(|forwarder| faults::netns(forwarder))
            .collect();
        let is_there = |name: &String| crate::probe::namespace::path(name).exists();
        let patience = self.deadline.min(Instant::now() + WITHDRAWAL);
        while namespaces.iter().any(is_there) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        // A daemon that is dead, or never had it, does not take it away.
        remove_namespaces(&namespaces)?;
        for forwarder in &moved {
            remove_file(&self.directory.status(), &forwarder.metadata.name)?;
            self.record.faults.killed.remove(&forwarder.spec.name);
        }
        Ok(())
    }

    /// Notes every namespace that will be made, by anyone, then makes underlay and hosts.
    fn make_hosts(&mut self, desired: &Desired) -> Result<(), Failure> {
        self.progress
            .step(&format!("making {} hosts", desired.hosts.len()));
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
        underlay::ensure_bridge(&self.record.underlay)?;
        desired
            .hosts
            .values()
            .try_for_each(|host| underlay::ensure_host(&self.record.underlay, host))
    }

    fn write_objects(&self, desired: &Desired) -> Result<(), Failure> {
        let nodes = self.directory.objects().join("nodes");
        let mut written = BTreeSet::new();
        for (name, host) in &desired.hosts {
            let mut node = NodeObject::new(name.clone(), &underlay::addresses(host.number));
            node.metadata.labels = host.labels.clone();
            write_object(&nodes, name, &node)?;
            written.insert(name.clone());
        }
        remove_others(&nodes, &written)?;
        let forwarders = self.directory.forwarders();
        let mut written = BTreeSet::new();
        for forwarder in &desired.forwarders {
            write_object(&forwarders, &forwarder.metadata.name, forwarder)?;
            written.insert(forwarder.metadata.name.clone());
        }
        remove_others(&forwarders, &written)
    }

    fn start_daemons(&self) -> Result<(), Failure> {
        self.progress.step(&format!(
            "starting {} node daemons",
            self.record.hosts.len()
        ));
        let mut hosts = self.record.hosts.iter();
        hosts.try_for_each(|(node, host)| daemons::start(self.directory, node, host))
    }

    /// Waits until each status shows what was computed.
    fn wait_programmed(&self, watch: &mut Watch, forwarders: &[Forwarder]) -> Result<(), Failure> {
        self.progress.step("waiting for links and tables");
        let expected = computed::expected(forwarders, self.record)?;
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
        Err(Failure::TimedOut(explain(
            &missing,
            &expected,
            watch.statuses(),
        )))
    }

    fn dead_daemon(&self) -> Option<String> {
        let mut nodes = self.record.hosts.keys();
        nodes
            .find(|node| daemons::running(self.directory, node).is_none())
            .cloned()
    }

    /// Attaches the instances that are not attached yet, several at a time.
    fn attach(&mut self, desired: &Desired) -> Result<(), Failure> {
        let waiting: Vec<(&String, &Instance)> = desired
            .instances
            .iter()
            .filter(|(name, wanted)| {
                let known = self.record.instances.get(*name);
                let is_there = crate::probe::namespace::path(&wanted.netns).exists();
                !(is_there && known.is_some_and(|known| !known.addresses.is_empty()))
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
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let (done_so_far, count) = (AtomicUsize::new(0), waiting.len());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(count) {
                scope.spawn(|| {
                    while let Some((name, wanted)) =
                        waiting.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let outcome = self.attach_one(name, wanted, forwarders);
                        let so_far = done_so_far.fetch_add(1, Ordering::Relaxed) + 1;
                        self.progress
                            .update(&format!("attached {so_far} of {count}"));
                        let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        done.push(((*name).clone(), outcome));
                    }
                });
            }
        });
        done.into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn attach_one(
        &self,
        name: &str,
        wanted: &Instance,
        forwarders: &[Forwarder],
    ) -> Result<Instance, Failure> {
        let mut instance = wanted.clone();
        let forwarder = forwarders
            .iter()
            .find(|each| each.spec.name == wanted.forwarder);
        let forwarder =
            forwarder.ok_or_else(|| Failure::Failed(format!("{name}: no forwarder for it")))?;
        underlay::ensure_namespace(&wanted.netns)?;
        prepare_instance(&wanted.netns)?;
        let app = forwarder
            .spec
            .apps
            .iter()
            .find(|app| app.name == wanted.app);
        let selector = app.and_then(|app| app.selector.as_ref());
        let call = Attachment::new(self.directory, self.record, name, wanted, selector);
        let host = self.record.hosts.get(&wanted.node);
        let host = host.ok_or_else(|| Failure::Failed(format!("{name}: no host for it")))?;
        let program = plugin::find()?;
        let call = call.call(&program, &host.netns);
        // What an `up` that crashed has left behind.
        plugin::del(&call)?;
        let patience = self.deadline.saturating_duration_since(Instant::now());
        instance.addresses = plugin::add(&call, patience)?;
        external::ensure(&mut instance)?;
        Ok(instance)
    }

    /// Links and Forwarders that are out stay out, also where they were made anew.
    fn reapply_faults(&mut self, forwarders: &[Forwarder]) -> Result<(), Failure> {
        let faults = self.record.faults.clone();
        for id in &faults.cut {
            match faults::ends(forwarders, id) {
                Some(ends) => faults::set_up(&ends, false)?,
                None => drop(self.record.faults.cut.remove(id)),
            }
        }
        for id in &faults.silent {
            match faults::ends(forwarders, id) {
                Some(ends) => faults::set_silent(&ends, true)?,
                None => drop(self.record.faults.silent.remove(id)),
            }
        }
        Ok(())
    }
}

/// How many instances are attached at a time: the kernel's link lock lets hardly more through.
const AT_ONCE: usize = 8;

/// How long a daemon may take to take a Forwarder down.
const WITHDRAWAL: Duration = Duration::from_secs(5);

/// What the plugin is told about one instance.
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

    fn call<'a>(&'a self, program: &'a std::path::Path, host: &'a str) -> plugin::Call<'a> {
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

/// Loopback up, and no limit on the errors that it answers traces with.
fn prepare_instance(netns: &str) -> Result<(), Failure> {
    crate::probe::namespace::within(netns, || {
        fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0")?;
        fs::write("/proc/sys/net/ipv6/icmp/ratelimit", "0")
    })
    .map_err(|error| Failure::Failed(format!("failed to prepare {netns}: {error}")))?;
    faults::set_up(
        &[faults::End {
            netns: netns.to_owned(),
            interface: "lo".to_owned(),
        }],
        true,
    )
}

/// Ends what runs in the namespaces, and removes their names.
pub(crate) fn remove_namespaces(names: &[String]) -> Result<(), Failure> {
    let left = processes::end_all(names, super::STOP_LIMIT);
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

/// The objects whose status does not show yet what it should.
fn missing<'a>(
    expected: &'a BTreeMap<String, computed::Expected>,
    statuses: &Statuses,
) -> Vec<&'a str> {
    expected
        .iter()
        .filter(|(name, expected)| {
            !statuses.get(*name).is_some_and(|status| {
                status.epoch == expected.epoch && status.links.up == expected.up
            })
        })
        .map(|(name, _)| name.as_str())
        .collect()
}

fn explain(
    missing: &[&str],
    expected: &BTreeMap<String, computed::Expected>,
    statuses: &Statuses,
) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = missing
        .iter()
        .take(SHOWN)
        .map(|name| {
            let expected = &expected[*name];
            match statuses.get(*name) {
                None => format!("{name}: its node has not reported"),
                Some(status) if status.links.up != expected.up => {
                    let down: Vec<String> = status
                        .link_states
                        .iter()
                        .filter(|link| !link.up)
                        .map(|link| format!("{} {}", link.id, link.reason))
                        .collect();
                    let (up, wanted) = (status.links.up, expected.up);
                    format!(
                        "{name}: {up} links up, expected {wanted}; {}",
                        down.join(", ")
                    )
                }
                Some(status) => {
                    let (has, wanted) = (&status.epoch, &expected.epoch);
                    format!("{name}: table of epoch {has:?}, expected {wanted}")
                }
            }
        })
        .collect();
    if missing.len() > SHOWN {
        lines.push(format!("and {} more", missing.len() - SHOWN));
    }
    format!("not all is programmed in time:\n  {}", lines.join("\n  "))
}

fn write_object<T: serde::Serialize>(
    directory: &std::path::Path,
    name: &str,
    object: &T,
) -> Result<(), Failure> {
    let yaml = crate::output::to_yaml(object)?;
    let path = directory.join(format!("{name}.yaml"));
    // Unchanged, it is not touched: nobody need look at it again.
    if fs::read(&path).is_ok_and(|there| there == yaml.as_bytes()) {
        return Ok(());
    }
    replace(&path, yaml.as_bytes()).map_err(|error| broken(&error))
}

fn remove_others(directory: &std::path::Path, keep: &BTreeSet<String>) -> Result<(), Failure> {
    let entries = fs::read_dir(directory).map_err(|error| broken(&error))?;
    for path in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_object(path))
    {
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if !keep.contains(name) {
            remove_file(directory, name)?;
        }
    }
    Ok(())
}

fn remove_file(directory: &std::path::Path, name: &str) -> Result<(), Failure> {
    match fs::remove_file(directory.join(format!("{name}.yaml"))) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(broken(&error)),
        _ => Ok(()),
    }
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::Failed(format!("the lab's directory: {error}"))
}
