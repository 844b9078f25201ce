//! Running lab: its parts and their names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::convergence::{computed, watch};
use crds::Forwarder;
use probe::endpoint::{Endpoint, Family};
use topology::Topology;

use crate::faults;
use crate::hosts::rootless;
use crate::instances::external;
use crate::state::directory::{Direction, Directory, Host, Instance, Lock, Record};
use crate::state::names;
use crate::state::paths::Place;
use console::failure::Failure;
use console::input;

/// Longest wait for another verb that changes the same lab.
pub(crate) const LOCK_LIMIT: Duration = Duration::from_secs(30);

/// Running lab.
pub struct Running {
    /// Directory of the lab.
    pub directory: Directory,
    /// Record of its parts.
    pub record: Record,
    /// The Forwarder objects, sorted by name.
    pub forwarders: Vec<Forwarder>,
}

impl Running {
    /// Joins the lab of the topology in `file`.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when it does not run.
    ///
    /// # Assumptions
    /// The process has one thread: without root it joins a user namespace.
    pub fn join(file: &Path) -> Result<Running, Failure> {
        let topology = input::object(file)?;
        let (namespace, name) = (&topology.metadata.namespace, &topology.metadata.name);
        let place = Place::of_this_user()?;
        let directory = Directory::of(&place, namespace, name);
        let not_running = || {
            let file = file.display();
            Failure::NotFound(format!(
                "the lab of {namespace}/{name} is not running: start it by `beemesh lab up -f {file}`"
            ))
        };
        if !rootless::enter_existing(&place)? {
            return Err(not_running());
        }
        match directory.record()? {
            Some(record) if record.is_complete => {
                let forwarders = directory.read_forwarders()?;
                Ok(Running {
                    directory,
                    record,
                    forwarders,
                })
            }
            _ => Err(not_running()),
        }
    }

    /// The declared topology, with all its links.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the lab's objects are no valid topology, after a manual edit.
    pub fn topology(&self) -> Result<Topology, Failure> {
        computed::declared(&self.forwarders)
    }

    /// Forwarders with the statuses that their daemons report.
    pub fn reported(&self) -> Vec<Forwarder> {
        let mut reported = watch::read_all(&self.directory.status());
        let mut forwarders = self.forwarders.clone();
        for forwarder in &mut forwarders {
            let status = reported.remove(&forwarder.metadata.name);
            forwarder.status = status.unwrap_or_default();
        }
        forwarders
    }

    /// As [`Running::join`], for a verb that changes the lab.
    ///
    /// # Errors
    /// As [`Running::join`], and [`Failure::TimedOut`] while another verb holds the lock.
    pub(crate) fn join_to_change(file: &Path) -> Result<(Running, Lock), Failure> {
        Running::join(file)?.locked()
    }

    /// The lab, locked, as the last verb left it.
    ///
    /// # Errors
    /// As [`Running::join_to_change`].
    pub(crate) fn locked(self) -> Result<(Running, Lock), Failure> {
        let lock = self.directory.lock(LOCK_LIMIT)?;
        // The other verb may have changed the lab meanwhile.
        Ok((Running::join_again(self)?, lock))
    }

    fn join_again(running: Running) -> Result<Running, Failure> {
        let record = running
            .directory
            .record()?
            .filter(|record| record.is_complete);
        let gone = || Failure::NotFound("the lab was taken down meanwhile".to_owned());
        let record = record.ok_or_else(gone)?;
        let forwarders = running.directory.read_forwarders()?;
        Ok(Running {
            record,
            forwarders,
            ..running
        })
    }

    /// Endpoint called `name`: an instance, a Forwarder, or an App (its first instance).
    ///
    /// # Errors
    /// [`Failure::NotFound`] with the existing names.
    pub(crate) fn endpoint(&self, name: &str) -> Result<Endpoint, Failure> {
        if let Some(instance) = self.record.instances.get(name) {
            return Ok(endpoint_of_instance(name, instance));
        }
        if let Some(forwarder) = self.forwarders.iter().find(|each| each.spec.name == name) {
            return Ok(endpoint_of_forwarder(forwarder));
        }
        let first = names::instance_of(name, 0);
        if let Some(instance) = self.record.instances.get(&first) {
            return Ok(endpoint_of_instance(&first, instance));
        }
        let instances = self.record.instances.keys().map(String::as_str);
        let forwarders = self
            .forwarders
            .iter()
            .map(|forwarder| forwarder.spec.name.as_str());
        Err(unknown(
            "App instance or forwarder",
            name,
            instances.chain(forwarders),
        ))
    }

    /// Canonical ids of the links with these ends, in either order.
    ///
    /// # Errors
    /// [`Failure::NotFound`] with the existing links.
    pub(crate) fn links(&self, name: &str) -> Result<Vec<String>, Failure> {
        let topology = crate::convergence::computed::declared(&self.forwarders)?;
        let Some(link) = topology.link(name) else {
            return Err(self.unknown_link(name, &topology));
        };
        if name.contains('#') {
            return Ok(vec![topology.link_id(link)]);
        }
        // Without a number all parallel links match, as with `routes --without`.
        let ends = &topology.links()[link.position()];
        Ok(topology
            .links_between(ends.a, ends.b)
            .map(|link| topology.link_id(link))
            .collect())
    }

    /// The links between two Forwarders with the receiving end of the direction that `name` has: `A/B`, `A/B#2`.
    ///
    /// # Errors
    /// As [`Running::links`].
    pub(crate) fn directions(&self, name: &str) -> Result<Vec<Direction>, Failure> {
        let links = self.links(name)?;
        let (ends, _) = name.split_once('#').unwrap_or((name, ""));
        let (_, to) = ends.split_once('/').unwrap_or_default();
        let direction = |link| Direction {
            link,
            to: to.to_owned(),
        };
        Ok(links.into_iter().map(direction).collect())
    }

    /// Failure for an unknown link, with the existing ones.
    fn unknown_link(&self, name: &str, topology: &Topology) -> Failure {
        let numbers = 0..topology.links().len();
        let all: Vec<String> = numbers
            .map(|number| topology.link_id(topology::LinkIndex(number as u32)))
            .collect();
        unknown("link", name, all.iter().map(String::as_str))
    }

    /// The node called `name`.
    ///
    /// # Errors
    /// [`Failure::NotFound`] with the existing names.
    pub(crate) fn node(&self, name: &str) -> Result<&Host, Failure> {
        let hosts = &self.record.hosts;
        let nodes = || hosts.keys().map(String::as_str);
        hosts
            .get(name)
            .ok_or_else(|| unknown("node", name, nodes()))
    }

    /// The Forwarder called `name`.
    ///
    /// # Errors
    /// [`Failure::NotFound`] with the existing names.
    pub(crate) fn forwarder(&self, name: &str) -> Result<&Forwarder, Failure> {
        let found = self
            .forwarders
            .iter()
            .find(|forwarder| forwarder.spec.name == name);
        found.ok_or_else(|| {
            let all = self
                .forwarders
                .iter()
                .map(|forwarder| forwarder.spec.name.as_str());
            unknown("forwarder", name, all)
        })
    }

    /// Checks that there is a Forwarder or a node called `name`.
    ///
    /// # Errors
    /// [`Failure::NotFound`] with the existing names.
    pub(crate) fn forwarder_or_node(&self, name: &str) -> Result<(), Failure> {
        let forwarders = self.forwarders.iter().map(|it| it.spec.name.as_str());
        let nodes = self.record.hosts.keys().map(String::as_str);
        let known: BTreeSet<&str> = forwarders.chain(nodes).collect();
        match known.contains(name) {
            true => Ok(()),
            false => Err(unknown("forwarder or node", name, known.into_iter())),
        }
    }

    /// Names of Forwarders by their own addresses.
    pub(crate) fn names_by_address(&self) -> BTreeMap<IpAddr, String> {
        let own = |forwarder: &Forwarder| {
            let name = forwarder.spec.name.clone();
            let blocks = forwarder.spec.blocks.clone();
            blocks
                .into_iter()
                .map(move |block| (external::first_host(block), name.clone()))
        };
        self.forwarders.iter().flat_map(own).collect()
    }
}

/// Failure for an unknown name, with the nearest and the existing ones.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    const SHOWN: usize = 12;
    let mut known: Vec<&str> = known.collect();
    let hint = crds::suggest::hint(name, known.iter().copied());
    let count = known.len();
    known.truncate(SHOWN);
    let more = if count > SHOWN { ", ..." } else { "" };
    Failure::NotFound(format!(
        "no {kind} {name:?}{hint}: there are {}{more}",
        known.join(", ")
    ))
}

/// An App instance as an end of a probe.
pub(crate) fn endpoint_of_instance(name: &str, instance: &Instance) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        netns: instance.netns.clone(),
        forwarder: instance.forwarder.clone(),
        addresses: instance
            .addresses
            .iter()
            .map(ipnetwork::IpNetwork::ip)
            .collect(),
        is_instance: true,
    }
}

/// A Forwarder as an end of a probe: the first host of each of its blocks is its own.
pub(crate) fn endpoint_of_forwarder(forwarder: &Forwarder) -> Endpoint {
    Endpoint {
        name: forwarder.spec.name.clone(),
        netns: faults::netns(forwarder),
        forwarder: forwarder.spec.name.clone(),
        addresses: forwarder
            .spec
            .blocks
            .iter()
            .copied()
            .map(external::first_host)
            .collect(),
        is_instance: false,
    }
}

/// Addresses of both ends of the first of `families` that both have.
///
/// # Errors
/// [`Failure::NotFound`] when there is none.
pub fn common(
    from: &Endpoint,
    to: &Endpoint,
    families: &[Family],
) -> Result<(Family, IpAddr, IpAddr), Failure> {
    probe::endpoint::common(from, to, families).ok_or_else(|| {
        let (from, to) = (&from.name, &to.name);
        Failure::NotFound(format!(
            "{from} and {to} have no address of the same family"
        ))
    })
}
