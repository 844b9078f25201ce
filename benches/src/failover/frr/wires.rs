//! Namespaces and links of the diamond, made by hand.

use std::{collections::BTreeMap, fs};

use anyhow::Result;

use super::config::{HOSTS, address, interface};
use crate::{
    failover::{
        diamond::{Kind, LINKS},
        fault::End,
    },
    harness::{bench::Context, netns::Netns},
};

const ROUTERS: [&str; 4] = ["s", "a", "b", "t"];
/// Settings of a router; ports are part of the hash, as in a Forwarder.
const SETTINGS: [(&str, &str); 2] = [("ip_forward", "1"), ("fib_multipath_hash_policy", "1")];
/// Room for the header of VXLAN.
const MTU: u32 = 1_450;

/// Namespaces of routers and hosts, and of nodes with their bridge below.
pub(crate) struct Wires {
    by_name: BTreeMap<&'static str, Netns>,
    _nodes: Vec<Netns>,
}

impl Wires {
    /// Makes all namespaces and links.
    ///
    /// # Errors
    /// Failure of `ip`, with its message.
    pub(crate) fn new(context: &Context, kind: Kind) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for name in ROUTERS.into_iter().chain(["left", "right"]) {
            by_name.insert(name, Netns::new(context)?);
        }
        for router in ROUTERS {
            by_name[router].run(|| {
                for (name, value) in SETTINGS {
                    fs::write(format!("/proc/sys/net/ipv4/{name}"), value)?;
                }
                Ok(())
            })?;
        }
        let mut wires = Self {
            by_name,
            _nodes: vec![],
        };
        match kind {
            Kind::Veth => wires.pairs()?,
            Kind::Vxlan => wires.tunnels(context)?,
        }
        for (number, ends) in LINKS.into_iter().enumerate() {
            for (end, name) in ends.into_iter().enumerate() {
                let device = interface(ends[1 - end]);
                wires.ip(
                    name,
                    &format!("address add {}/30 dev {device}", address(number, end)),
                )?;
                wires.ip(name, &format!("link set {device} mtu {MTU} up"))?;
            }
        }
        wires.hosts()?;
        Ok(wires)
    }

    /// Name of the namespace of a router or host.
    pub(crate) fn netns(&self, name: &str) -> &str {
        self.by_name[name].name()
    }

    /// Runs `ip` on the namespace of a router or host.
    ///
    /// # Errors
    /// Failure of `ip`, with its message.
    pub(crate) fn ip(&self, name: &str, arguments: &str) -> Result<String> {
        self.by_name[name].ip(arguments)
    }

    /// Ends of the link of two routers.
    pub(crate) fn link(&self, near: &str, far: &str) -> [End; 2] {
        [(near, far), (far, near)].map(|(own, other)| End {
            netns: self.netns(own).to_owned(),
            interface: interface(other),
        })
    }

    fn pairs(&self) -> Result<()> {
        for [near, far] in LINKS {
            let (device, peer, netns) = (interface(far), interface(near), self.netns(far));
            let add = format!("link add {device} type veth peer name {peer} netns {netns}");
            self.ip(near, &add)?;
        }
        Ok(())
    }

    /// A node for each router, all on one bridge, and tunnels between them, whose ends are then
    /// moved into the routers' namespaces.
    fn tunnels(&mut self, context: &Context) -> Result<()> {
        let bridge = Netns::new(context)?;
        bridge.ip("link add br0 type bridge")?;
        bridge.ip("link set br0 up")?;
        let mut nodes = BTreeMap::new();
        for (number, router) in ROUTERS.into_iter().enumerate() {
            let node = Netns::new(context)?;
            node.ip(&format!(
                "link add eth0 type veth peer name h{number} netns {}",
                bridge.name()
            ))?;
            bridge.ip(&format!("link set h{number} master br0 up"))?;
            node.ip(&format!("address add {}/24 dev eth0", underlay(router)))?;
            node.ip("link set eth0 up")?;
            nodes.insert(router, node);
        }
        for (number, ends) in LINKS.into_iter().enumerate() {
            for (end, own) in ends.into_iter().enumerate() {
                let (other, vni) = (ends[1 - end], 100 + number);
                let (local, remote, device) = (underlay(own), underlay(other), interface(other));
                nodes[own].ip(&format!(
                    "link add {device} type vxlan id {vni} local {local} remote {remote} dstport 4789"
                ))?;
                nodes[own].ip(&format!("link set {device} netns {}", self.netns(own)))?;
            }
        }
        self._nodes = nodes.into_values().chain([bridge]).collect();
        Ok(())
    }

    fn hosts(&self) -> Result<()> {
        for (number, (router, host)) in [("s", "left"), ("t", "right")].into_iter().enumerate() {
            let netns = self.netns(host);
            self.ip(
                router,
                &format!("link add edge type veth peer name eth0 netns {netns}"),
            )?;
            self.ip(router, &format!("address add 10.93.{number}.1/24 dev edge"))?;
            self.ip(router, &format!("link set edge mtu {MTU} up"))?;
            self.ip(host, &format!("address add {}/24 dev eth0", HOSTS[number]))?;
            self.ip(host, &format!("link set eth0 mtu {MTU} up"))?;
            self.ip(host, &format!("route add default via 10.93.{number}.1"))?;
        }
        Ok(())
    }
}

/// Address of the node of a router.
fn underlay(router: &str) -> String {
    let number = ROUTERS.iter().position(|it| *it == router);
    format!("198.18.9.{}", 1 + number.expect("a router"))
}
