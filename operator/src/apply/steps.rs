//! The steps of a plan, in their order. Each may be the last one.

use std::collections::BTreeMap;

use crds::allocation::shards::{self, Shard};
use futures::{StreamExt, stream};
use kube::{
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::Value;

use super::{Done, Error, FIELD_MANAGER, PARALLEL, Writer, objects::Owner, remove::is_controlled};
use crate::{
    observe::{Key, Kind, existing_allocation, name_of_range},
    plan::{ExistingAllocation, Observed, Plan},
};

impl Writer {
    /// Steps (a) and (b): makes what grants need, Forwarders by name and ranges of VNIs.
    ///
    /// The first Forwarder is made alone: of replicas that begin at once, one goes on and the others find it
    /// made, which is a conflict.
    pub async fn prepare(&self, observed: &Observed, plan: &Plan) -> Done {
        let owner = Owner::of(observed);
        let mut done = Done::default();
        let mut bare = bare(plan).into_iter();
        if let Some((name, node)) = bare.next() {
            match self.create_bare(&owner, name, node).await {
                Ok(true) => done.written += 1,
                Ok(false) => done.conflicts += 1,
                Err(error) => drop(done.count::<()>(Err(error))),
            }
            if done.conflicts > 0 {
                return done;
            }
        }
        let create = bare.map(|(name, node)| self.create_bare(&owner, name, node));
        done.count_all(create.collect()).await;
        if plan.claim_count > 0 {
            done.count(self.claim(&owner, &plan.claim, plan.claim_count).await);
        }
        done
    }

    /// Step (c): persists the grants, and returns them. Only for a plan from a live read.
    pub async fn persist(
        &self,
        observed: &Observed,
        plan: &Plan,
        done: &mut Done,
    ) -> Option<ExistingAllocation> {
        let whole = plan.allocation.as_ref()?;
        let owner = Owner::of(observed);
        let before = observed.allocation.as_ref();
        let known = before.map_or(&[][..], |before| &before.shards);
        let (head, shards) = shards::split(
            (&owner.key.name, &owner.uid),
            whole,
            known,
            observed.limits.shard_bytes,
        );
        let new = shards.iter().filter(|shard| !known.contains(shard));
        let mut written = Done::default();
        let create = new.map(|shard| self.create_shard(&owner, shard));
        written.count_all(create.collect()).await;
        let is_written = written.is_clean();
        done.add(written);
        if !is_written {
            return None;
        }
        let object = owner.allocation(&head, observed.planned_from(), before);
        let written = self
            .write_allocation(&owner.key, object, before.is_some())
            .await;
        let written = done.count(written)?;
        let find = |name: &str| shards.iter().find(|shard| shard.name == name).cloned();
        Some(existing_allocation(written, &owner.uid, find))
    }

    /// Makes a shard. One of this name that is there already has the same content.
    async fn create_shard(&self, owner: &Owner, shard: &Shard) -> Result<(), Error> {
        let kind = Kind::Allocation;
        let created = self.create(kind, &owner.key.namespace, owner.shard(shard));
        match created.await {
            Ok(object) => self.cache.learn_allocation(object),
            Err(error) if error.is_taken() => {
                let key = Key::new(&owner.key.namespace, &shard.name);
                let there = self.read(kind, &key).await?;
                let is_ours = there.filter(|object| is_controlled(object, &owner.uid));
                self.cache.learn_allocation(is_ours.ok_or(error)?);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Steps (d) and (e): fills Forwarders from the persisted grants, and deletes superfluous objects.
    pub async fn fill(&self, observed: &Observed, plan: &Plan, done: &mut Done) {
        let owner = Owner::of(observed);
        let namespace = owner.key.namespace.as_str();
        // Each body is made when it is sent: all together are many times the plan.
        let owner = &owner;
        let fill = plan.fill.iter().map(|fill| async move {
            let body = owner.filled_forwarder(fill);
            self.apply_forwarder(namespace, &fill.object, body).await
        });
        done.count_all(fill.collect()).await;
        let delete = plan.delete.iter().map(|delete| {
            self.delete(
                Kind::Forwarder,
                namespace,
                &delete.object,
                &delete.uid,
                None,
            )
        });
        done.count_all(delete.collect()).await;
        let former = plan.delete_allocation.iter().chain(&plan.delete_shards);
        let delete = former.map(|former| {
            let kind = Kind::Allocation;
            self.delete(kind, namespace, &former.object, &former.uid, None)
        });
        done.count_all(delete.collect()).await;
    }

    /// Makes a Forwarder bare, for this node. One that is there already is as good; false when there is one.
    async fn create_bare(&self, owner: &Owner, name: String, node: String) -> Result<bool, Error> {
        let body = owner.bare_forwarder(&name, &node);
        let created = self.create(Kind::Forwarder, &owner.key.namespace, body);
        match created.await {
            Ok(object) => {
                self.cache.learn_forwarder(object);
                Ok(true)
            }
            Err(error) if error.is_taken() => {
                // Someone else made it: the next plan finds it, as ours or in the way.
                let object = crds::names::object(&owner.key.name, &name);
                let api = self.api(Kind::Forwarder, &owner.key.namespace);
                let there = self
                    .ask("get", crds::Forwarder::KIND, &object, api.get(&object))
                    .await?;
                self.cache.learn_forwarder(there);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Claims `count` of the ranges that begin at `candidates`: as many at once as are missing, in this order.
    async fn claim(&self, owner: &Owner, candidates: &[u32], count: usize) -> Result<(), Error> {
        let (mut missing, mut candidates) = (count, candidates);
        while missing > 0 && !candidates.is_empty() {
            let (now, later) = candidates.split_at(missing.min(candidates.len()));
            let claims: Vec<_> = now
                .iter()
                .map(|first| self.claim_one(owner, *first))
                .collect();
            let mut answers = stream::iter(claims).buffer_unordered(PARALLEL);
            while let Some(is_ours) = answers.next().await {
                missing -= usize::from(is_ours?);
            }
            candidates = later;
        }
        if missing > 0 {
            return Err(Error::NoRange { missing });
        }
        Ok(())
    }

    /// Claims the range that begins at `first`. False when it is another topology's.
    async fn claim_one(&self, owner: &Owner, first: u32) -> Result<bool, Error> {
        let body = owner.range(first);
        match self.create(Kind::VniRange, "", body).await {
            Ok(object) => {
                self.cache.learn_range(object);
                Ok(true)
            }
            Err(error) if error.is_taken() => self.is_ours(owner, first).await,
            Err(error) => Err(error),
        }
    }

    /// True when the existing range was claimed for this topology, perhaps by another replica.
    async fn is_ours(&self, owner: &Owner, first: u32) -> Result<bool, Error> {
        let name = name_of_range(first);
        let api = self.api(Kind::VniRange, "");
        let found = self
            .ask("get", "VniRange", &name, api.get_opt(&name))
            .await?;
        let Some(object) = found else {
            return Ok(false);
        };
        let is_ours = object.data["spec"]["uid"] == owner.uid.as_str();
        self.cache.learn_range(object);
        Ok(is_ours)
    }

    async fn write_allocation(
        &self,
        key: &Key,
        object: Value,
        replaces: bool,
    ) -> Result<DynamicObject, Error> {
        let written = if replaces {
            let api = self.api(Kind::Allocation, &key.namespace);
            let body = dynamic(object);
            let parameters = parameters();
            let replace = api.replace(&key.name, &parameters, &body);
            self.ask("update", "Allocation", &key.name, replace).await?
        } else {
            self.create(Kind::Allocation, &key.namespace, object)
                .await?
        };
        self.cache.learn_allocation(written.clone());
        Ok(written)
    }

    async fn create(
        &self,
        kind: Kind,
        namespace: &str,
        body: Value,
    ) -> Result<DynamicObject, Error> {
        let api = self.api(kind, namespace);
        let body = dynamic(body);
        let name = body.metadata.name.clone().unwrap_or_default();
        let parameters = parameters();
        let create = api.create(&parameters, &body);
        self.ask("create", kind.object(), &name, create).await
    }

    async fn apply_forwarder(&self, namespace: &str, name: &str, body: Value) -> Result<(), Error> {
        let api = self.api(Kind::Forwarder, namespace);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        let apply = api.patch(name, &parameters, &patch);
        let written = self
            .ask("apply", crds::Forwarder::KIND, name, apply)
            .await?;
        self.cache.learn_forwarder(written);
        Ok(())
    }
}

impl Owner {
    pub(super) fn of(observed: &Observed) -> Owner {
        let metadata = &observed.topology.metadata;
        Owner {
            key: Key::new(&metadata.namespace, &metadata.name),
            uid: observed.uid.clone(),
        }
    }
}

/// Names of the Forwarders to create, with their nodes.
fn bare(plan: &Plan) -> Vec<(String, String)> {
    let desired = plan.forwarders.iter();
    let nodes: BTreeMap<&str, &str> = desired
        .map(|f| (f.spec.name.as_str(), f.spec.node.as_str()))
        .collect();
    let node = |name: &String| nodes.get(name.as_str()).copied().unwrap_or_default();
    let create = plan.create.iter();
    create
        .map(|name| (name.clone(), node(name).to_owned()))
        .collect()
}

pub(super) fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

pub(super) fn dynamic(object: Value) -> DynamicObject {
    serde_json::from_value(object).expect("it has kind and metadata: all are made in `objects`")
}
