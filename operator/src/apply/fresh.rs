//! Live read of the objects that a grant depends on, in a safe order.

use std::sync::Arc;

use kube::{
    Api,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};

use super::{Error, Writer};
use crate::{
    observe::{
        Key, Kind, existing_allocation, existing_forwarder, read_node, read_topology, shards_of,
    },
    plan::{ExistingAllocation, Observed, Plan},
};

/// Result of a live read.
#[derive(Debug)]
pub enum Fresh {
    /// Observed state with live versions of all objects that grants depend on.
    Observed(Box<Observed>),
    /// The topology is gone, or replaced by another of its name.
    Gone,
}

impl Writer {
    /// Reads the allocation, the Forwarders, the nodes that `plan` needs, then the topology: see
    /// [`crate::plan`] for the order.
    ///
    /// # Errors
    /// The API server does not answer, or an object is undecodable.
    pub async fn look(&self, mut observed: Observed, plan: &Plan) -> Result<Fresh, Error> {
        let metadata = &observed.topology.metadata;
        let key = Key::new(&metadata.namespace, &metadata.name);
        let allocation = self.read(Kind::Allocation, &key).await?;
        let allocation = match allocation {
            Some(head) => Some(self.with_shards(&key, head, &observed.uid).await?),
            None => None,
        };
        let forwarders = self.read_forwarders(&key).await?;
        self.look_at_nodes(&mut observed, plan).await?;
        let Some(object) = self.read(Kind::Topology, &key).await? else {
            return Ok(Fresh::Gone);
        };
        let entry = read_topology(object.clone());
        // A read caused by a late watch is not repeated.
        self.cache.learn_topology(object);
        let Some(topology) = entry.topology.filter(|_| entry.uid == observed.uid) else {
            return Ok(Fresh::Gone);
        };
        observed.topology = topology;
        observed.ignored = entry.ignored;
        observed.generation = entry.generation;
        observed.is_live = true;
        observed.is_going = entry.is_going;
        observed.status = entry.status;
        observed.forwarders = forwarders
            .iter()
            .map(|held| existing_forwarder(held, &observed.uid))
            .collect();
        observed
            .forwarders
            .sort_by(|one, other| one.object.cmp(&other.object));
        observed.allocation = allocation;
        Ok(Fresh::Observed(Box::new(observed)))
    }

    async fn look_at_nodes(&self, observed: &mut Observed, plan: &Plan) -> Result<(), Error> {
        for name in &plan.doubtful_nodes {
            let node = self.read(Kind::Node, &Key::new("", name)).await?;
            let nodes = Arc::make_mut(&mut observed.nodes);
            nodes.retain(|known| known.name != *name);
            nodes.extend(node.map(|node| read_node(node.metadata)));
            nodes.sort_by(|one, other| one.name.cmp(&other.name));
        }
        for name in &plan.crowded_nodes {
            let count = match self.count_forwarders(name).await {
                // An operator for some namespaces only may not list all: it counts the watched
                // ones.
                Err(error) if error.code() == Some(403) => continue,
                count => count?,
            };
            Arc::make_mut(&mut observed.load).insert(name.clone(), count);
        }
        Ok(())
    }

    /// Current number of Forwarder objects of all topologies on a node.
    async fn count_forwarders(&self, node: &str) -> Result<u32, Error> {
        let resource = ApiResource::erase::<crds::ForwarderObject>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let parameters = ListParams::default().fields(&format!("spec.node={node}"));
        let list = api.list_metadata(&parameters);
        let listed = self.ask("list", crds::Forwarder::KIND, node, list).await?;
        Ok(u32::try_from(listed.items.len()).unwrap_or(u32::MAX))
    }

    /// The allocation with its shards: those that are cached are as they were written, others are read.
    async fn with_shards(
        &self,
        topology: &Key,
        head: DynamicObject,
        uid: &str,
    ) -> Result<ExistingAllocation, Error> {
        for name in shards_of(&head) {
            let key = Key::new(&topology.namespace, &name);
            if !self.cache.has_allocation(&key)
                && let Some(shard) = self.read(Kind::Allocation, &key).await?
            {
                self.cache.learn_allocation(shard);
            }
        }
        let find = |name: &str| self.cache.shard(topology, name, uid);
        Ok(existing_allocation(head, uid, find))
    }
}
