//! A kernel in memory, with the kernel's own rules as far as they matter for planning: a nexthop needs a link that is up and
//! goes with it, a group goes with its last member, a route goes with its group.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use self::rules::{apply_inside, delete_nexthop, refused};
use crate::{
    Error, Operation,
    diff::is_same,
    groups,
    kernel::{Applied, Kernel},
    observed::{Observed, SeenLink, SeenNexthop},
    settings::SETTINGS,
    state::{Link, LinkKind},
};

/// A kernel that is a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryKernel {
    namespaces: BTreeMap<String, Observed>,
    peer_by_end: BTreeMap<(String, String), (String, String)>,
}

impl MemoryKernel {
    /// A kernel without namespaces.
    pub fn new() -> Self {
        Self::default()
    }

    /// One namespace, for inspection or for changes unknown to the planner.
    pub fn namespace(&mut self, netns: &str) -> Option<&mut Observed> {
        self.namespaces.get_mut(netns)
    }

    /// Puts a link up or down, as an operator would. The other end of a veth loses or gains its carrier.
    pub fn set_link_enabled(&mut self, netns: &str, name: &str, is_enabled: bool) {
        let end = (netns.to_owned(), name.to_owned());
        let peer = self.peer_by_end.get(&end).cloned();
        if let Some(link) = self.link(&end) {
            link.is_enabled = is_enabled;
        }
        let peer_is_enabled = peer
            .as_ref()
            .is_none_or(|peer| self.link(peer).is_some_and(|peer| peer.is_enabled));
        for end in [Some(end), peer].into_iter().flatten() {
            if let Some(link) = self.link(&end) {
                link.is_up = is_enabled && peer_is_enabled;
            }
            self.flush(&end);
        }
    }

    /// Deletes a link and, of a veth, the other end.
    pub fn delete_link(&mut self, netns: &str, name: &str) -> bool {
        let end = (netns.to_owned(), name.to_owned());
        let peer = self.peer_by_end.remove(&end);
        if let Some(peer) = &peer {
            self.peer_by_end.remove(peer);
        }
        let mut existed = false;
        for (netns, name) in [Some(end), peer].into_iter().flatten() {
            let Some(namespace) = self.namespaces.get_mut(&netns) else {
                continue;
            };
            existed |= namespace.links.remove(&name).is_some();
            namespace.neighbours.retain(|(link, _), _| *link != name);
            namespace.fdb.retain(|(link, _), _| *link != name);
            self.flush(&(netns, name));
        }
        existed
    }

    fn link(&mut self, (netns, name): &(String, String)) -> Option<&mut SeenLink> {
        self.namespaces.get_mut(netns)?.links.get_mut(name)
    }

    /// Nexthops go with a link that is not up.
    fn flush(&mut self, (netns, name): &(String, String)) {
        let Some(namespace) = self.namespaces.get_mut(netns) else {
            return;
        };
        if namespace.links.get(name).is_some_and(|link| link.is_up) {
            return;
        }
        let is_on = |nexthop: &SeenNexthop| matches!(nexthop, SeenNexthop::Single { link, .. } if link == name);
        let gone: Vec<u32> = namespace
            .nexthops
            .iter()
            .filter(|(_, nexthop)| is_on(nexthop))
            .map(|(&id, _)| id)
            .collect();
        gone.into_iter()
            .for_each(|id| delete_nexthop(namespace, id));
    }

    fn create_link(&mut self, netns: &str, name: &str, link: &Link) -> Result<(), Error> {
        let mut ends = vec![((netns.to_owned(), name.to_owned()), link.mac)];
        if let LinkKind::Veth {
            peer_netns,
            peer_name,
        } = &link.kind
        {
            ends.push(((peer_netns.clone(), peer_name.clone()), link.peer_mac));
        }
        let object = format!("link {name} in {netns}");
        match self.link(&ends[0].0) {
            Some(now) if !now.is_ours => return Err(Error::Foreign { object }),
            Some(now) if is_same(link, now) => {
                now.alias.clone_from(&link.alias);
                return Ok(());
            }
            Some(_) => return Err(refused(object, libc::EEXIST)),
            None => {}
        }
        for (end, _) in &ends {
            if !self.namespaces.contains_key(&end.0) {
                return Err(Error::NoNamespace {
                    netns: end.0.clone(),
                });
            }
            if self.link(end).is_some() {
                return Err(refused(object, libc::EEXIST));
            }
        }
        for ((netns, name), mac) in &ends {
            let namespace = self
                .namespaces
                .get_mut(netns)
                .expect("looked up just before");
            let index = namespace
                .links
                .values()
                .map(|link| link.index)
                .max()
                .unwrap_or(0)
                + 1;
            let seen = seen(link, *mac, index);
            namespace.links.insert(name.clone(), seen);
        }
        if let [(own, _), (peer, _)] = &ends[..] {
            self.peer_by_end.insert(own.clone(), peer.clone());
            self.peer_by_end.insert(peer.clone(), own.clone());
        }
        Ok(())
    }

    fn apply_one(&mut self, netns: &str, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::CreateNamespace => {
                self.namespaces
                    .entry(netns.to_owned())
                    .or_insert_with(fresh);
                return Ok(());
            }
            Operation::DeleteNamespace => {
                let links = self
                    .namespaces
                    .get(netns)
                    .map(|namespace| namespace.links.clone());
                for name in links.unwrap_or_default().keys() {
                    self.delete_link(netns, name);
                }
                self.namespaces.remove(netns);
                return Ok(());
            }
            Operation::CreateLink { name, link } => return self.create_link(netns, name, link),
            Operation::DeleteLink { name } => {
                self.delete_link(netns, name);
                return Ok(());
            }
            _ => {}
        }
        match self.namespaces.get_mut(netns) {
            Some(namespace) => apply_inside(namespace, netns, operation),
            None => Err(Error::NoNamespace {
                netns: netns.to_owned(),
            }),
        }
    }
}

impl Kernel for MemoryKernel {
    fn namespaces(&mut self, prefix: &str) -> Result<Vec<String>, Error> {
        Ok(self
            .namespaces
            .keys()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect())
    }

    fn observe(&mut self, netns: &str) -> Result<Option<Observed>, Error> {
        Ok(self.namespaces.get(netns).cloned())
    }

    fn apply(&mut self, operations: Vec<(String, Vec<Operation>)>) -> Applied {
        let mut applied = Applied::default();
        for phase in 0..=3 {
            for (netns, operations) in &operations {
                for operation in operations
                    .iter()
                    .filter(|operation| self::phase(operation) == phase)
                {
                    applied.writes += 1;
                    if let Err(source) = self.apply_one(netns, operation) {
                        applied.fail(netns, operation, source);
                    }
                }
            }
        }
        applied
    }

    fn evict(&mut self, netns: &str, link: &str) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let Some(namespace) = self.namespaces.get_mut(netns) else {
            return Err(Error::NoNamespace {
                netns: netns.to_owned(),
            });
        };
        let is_on = |nexthop: &SeenNexthop| matches!(nexthop, SeenNexthop::Single { link: on, is_ours: true, .. } if on == link);
        let member = namespace
            .nexthops
            .iter()
            .find(|(_, nexthop)| is_on(nexthop))
            .map(|(&id, _)| id);
        let sets = namespace
            .nexthops
            .iter()
            .filter_map(|(&id, nexthop)| match nexthop {
                SeenNexthop::Group {
                    members,
                    is_ours: true,
                    ..
                } => Some((id, members.clone())),
                _ => None,
            });
        let sets: BTreeMap<u32, groups::Set> = sets.collect();
        for (id, set) in member
            .map(|member| groups::evict(&sets, member))
            .unwrap_or_default()
        {
            if let Some(SeenNexthop::Group { members, .. }) = namespace.nexthops.get_mut(&id) {
                *members = set;
                applied.writes += 1;
            }
        }
        Ok(applied)
    }
}

/// The phases of [`crate::LinuxKernel`].
fn phase(operation: &Operation) -> u8 {
    match operation {
        Operation::CreateNamespace
        | Operation::WriteSetting { .. }
        | Operation::DeleteLink { .. } => 0,
        Operation::CreateLink { .. } => 1,
        Operation::DeleteNamespace => 3,
        _ => 2,
    }
}

/// A namespace as the kernel makes it, with `lo` up.
fn fresh() -> Observed {
    let lo = SeenLink {
        index: 1,
        is_enabled: true,
        is_up: true,
        ..SeenLink::default()
    };
    Observed {
        links: BTreeMap::from([("lo".to_owned(), lo)]),
        wrong_settings: BTreeSet::from(SETTINGS),
        ..Observed::default()
    }
}

fn seen(link: &Link, mac: [u8; 6], index: u32) -> SeenLink {
    let (kind, vxlan) = match &link.kind {
        LinkKind::Veth { .. } => ("veth", None),
        LinkKind::Vxlan {
            vni, port, local, ..
        } => ("vxlan", Some((*vni, *port, Some(*local)))),
        LinkKind::Attachment => ("veth", None),
    };
    SeenLink {
        index,
        kind: kind.to_owned(),
        mac,
        mtu: link.mtu,
        alias: link.alias.clone(),
        is_ours: true,
        is_enabled: true,
        is_up: true,
        vxlan,
        wrong_settings: BTreeSet::new(),
    }
}
