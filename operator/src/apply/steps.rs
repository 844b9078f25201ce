//! The steps of a plan, in their order. Each may be the last one.

use kube::{
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::Value;

use super::{Done, Error, FIELD_MANAGER, Writer, objects::Owner};
use crate::{
    observe::{Key, Kind, existing_allocation, name_of_range},
    plan::{ExistingAllocation, Plan, World},
};

impl Writer {
    /// Steps (a) and (b): makes what grants need, Forwarders by name and ranges of VNIs.
    pub async fn prepare(&self, world: &World, plan: &Plan) -> Done {
        let owner = Owner::of(world);
        let mut done = Done::default();
        let create = plan
            .create
            .iter()
            .map(|name| self.create_bare(&owner, name));
        done.count_all(create.collect()).await;
        if plan.claim_count > 0 {
            done.count(self.claim(&owner, &plan.claim, plan.claim_count).await);
        }
        done
    }

    /// Step (c): persists what is given, and returns it. Only for a plan that was made from a fresh look.
    pub async fn persist(
        &self,
        world: &World,
        plan: &Plan,
        done: &mut Done,
    ) -> Option<ExistingAllocation> {
        let spec = plan.allocation.as_ref()?;
        let owner = Owner::of(world);
        let before = world.allocation.as_ref().map(versions);
        let object = owner.allocation(spec, before);
        let written = self
            .write_allocation(&owner.key, object, before.is_some())
            .await;
        let written = done.count(written)?;
        Some(existing_allocation(written, &owner.uid))
    }

    /// Steps (d) and (e): writes Forwarders out of what is persisted, and takes away what should not be.
    pub async fn fill(&self, world: &World, plan: &Plan, done: &mut Done) {
        let owner = Owner::of(world);
        let namespace = owner.key.namespace.as_str();
        let fill = plan.fill.iter().map(|fill| {
            let body = owner.filled_forwarder(fill);
            self.apply_forwarder(namespace, &fill.object, body)
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
        if let Some(former) = &plan.delete_allocation {
            let kind = Kind::Allocation;
            let deleted = self.delete(kind, namespace, &former.object, &former.uid, None);
            done.count(deleted.await);
        }
    }

    /// Makes a Forwarder bare. One that is there already is as good.
    async fn create_bare(&self, owner: &Owner, name: &str) -> Result<(), Error> {
        let body = owner.bare_forwarder(name);
        let created = self.create(Kind::Forwarder, &owner.key.namespace, body);
        match created.await {
            Ok(object) => self.cache.learn_forwarder(object),
            Err(error) if error.is_taken() => {
                // Someone else made it: the next plan finds it, as ours or in the way.
                let object = crds::names::object(&owner.key.name, name);
                let api = self.api(Kind::Forwarder, &owner.key.namespace);
                let there = self
                    .ask("get", crds::Forwarder::KIND, &object, api.get(&object))
                    .await?;
                self.cache.learn_forwarder(there);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Claims `count` of the ranges that begin at `candidates`, in this order.
    async fn claim(&self, owner: &Owner, candidates: &[u32], count: usize) -> Result<(), Error> {
        let mut missing = count;
        for first in candidates {
            if missing == 0 {
                break;
            }
            let body = owner.range(*first);
            match self.create(Kind::VniRange, "", body).await {
                Ok(object) => {
                    self.cache.learn_range(object);
                    missing -= 1;
                }
                Err(error) if error.is_taken() => {
                    missing -= usize::from(self.is_ours(owner, *first).await?);
                }
                Err(error) => return Err(error),
            }
        }
        if missing > 0 {
            return Err(Error::NoRange { missing });
        }
        Ok(())
    }

    /// Whether the range that is there was claimed for this topology, perhaps by another replica.
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
    pub(super) fn of(world: &World) -> Owner {
        let metadata = &world.topology.metadata;
        Owner {
            key: Key::new(&metadata.namespace, &metadata.name),
            uid: world.uid.clone(),
        }
    }
}

fn versions(existing: &ExistingAllocation) -> (&str, &str) {
    (&existing.uid, &existing.resource_version)
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
