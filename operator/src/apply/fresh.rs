//! The fresh look: what a grant depends on, read live in the order that makes it safe.

use super::{Error, Writer};
use crate::{
    observe::{Key, Kind, existing_allocation, existing_forwarder, read_node, read_topology},
    plan::World,
};

/// What a fresh look found.
#[derive(Debug)]
pub enum Fresh {
    /// The world with everything read live that grants depend on.
    World(Box<World>),
    /// The topology is gone, or another one has its name.
    Gone,
}

impl Writer {
    /// Reads the allocation, the Forwarders, `nodes`, then the topology: see [`crate::plan`] for why in this order.
    ///
    /// # Errors
    /// When the API server cannot be asked, or what it has cannot be read.
    pub async fn look(&self, mut world: World, nodes: &[String]) -> Result<Fresh, Error> {
        let metadata = &world.topology.metadata;
        let key = Key::new(&metadata.namespace, &metadata.name);
        let allocation = self.read(Kind::Allocation, &key).await?;
        let forwarders = self.read_forwarders(&key).await?;
        for name in nodes {
            let node = self.read(Kind::Node, &Key::new("", name)).await?;
            world.nodes.retain(|known| known.name != *name);
            world
                .nodes
                .extend(node.map(|node| read_node(node.metadata)));
        }
        world.nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let Some(object) = self.read(Kind::Topology, &key).await? else {
            return Ok(Fresh::Gone);
        };
        let entry = read_topology(object);
        let Some(topology) = entry.topology.filter(|_| entry.uid == world.uid) else {
            return Ok(Fresh::Gone);
        };
        world.topology = topology.as_ref().clone();
        world.generation = entry.generation;
        world.is_going = entry.is_going;
        world.status = entry.status;
        world.forwarders = forwarders
            .iter()
            .map(|held| existing_forwarder(held, &world.uid))
            .collect();
        world
            .forwarders
            .sort_by(|one, other| one.object.cmp(&other.object));
        world.allocation = allocation.map(|object| existing_allocation(object, &world.uid));
        Ok(Fresh::World(Box::new(world)))
    }
}
