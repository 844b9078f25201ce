//! From the pods of an App to its EndpointSlices.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crds::names;
use k8s_openapi::api::{
    core::v1::ObjectReference,
    discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
};
use kube::{Resource, ResourceExt};

use super::{
    AttachedPod, Delete, NamesWorld, SERVICE_LABEL, Write,
    objects::{deletes, has_metadata, on},
};

/// Endpoints of one slice.
pub const SLICE_MAX: usize = 100;

#[derive(Default)]
pub(super) struct Sharding {
    pub(super) write: Vec<Write<EndpointSlice>>,
    pub(super) delete: Vec<Delete>,
}

#[derive(Clone, Copy)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn word(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Family::V4 => "v4",
            Family::V6 => "v6",
        }
    }
}

impl NamesWorld {
    /// The endpoints of one App, by family and address.
    pub(super) fn endpoints(
        &self,
        pods: &[&AttachedPod],
    ) -> [(Family, BTreeMap<IpAddr, Endpoint>); 2] {
        let mut sorted: Vec<&&AttachedPod> = pods.iter().collect();
        // Of pods with one name, that of the topology's own namespace is the one that the name means.
        sorted.sort_by_key(|pod| (pod.namespace != self.namespace, **pod));
        let mut owner_of_name: BTreeMap<&str, &str> = BTreeMap::new();
        let mut families = [(Family::V4, BTreeMap::new()), (Family::V6, BTreeMap::new())];
        for pod in sorted {
            let owner = owner_of_name.entry(&pod.name).or_insert(&pod.namespace);
            let has_name = *owner == pod.namespace && names::is_dns_label(&pod.name);
            for address in pod.addresses.iter().filter(|address| can_serve(**address)) {
                let (_, endpoints) = &mut families[usize::from(address.is_ipv6())];
                endpoints.insert(*address, endpoint(pod, *address, has_name));
            }
        }
        families
    }

    /// Distributes endpoints over slices, so that as few slices as possible change.
    pub(super) fn shard(
        &self,
        app: &str,
        service: &str,
        family: Family,
        mut wanted: BTreeMap<IpAddr, Endpoint>,
    ) -> Sharding {
        let is_ours = |slice: &&Arc<EndpointSlice>| {
            self.is_own(slice.meta())
                && slice.address_type == family.word()
                && slice
                    .labels()
                    .get(SERVICE_LABEL)
                    .is_some_and(|of| of == service)
        };
        let there: Vec<&Arc<EndpointSlice>> = self.slices.iter().filter(is_ours).collect();
        let mut shards: Vec<BTreeMap<IpAddr, Endpoint>> = Vec::with_capacity(there.len());
        for slice in &there {
            let addresses = slice
                .endpoints
                .iter()
                .flat_map(|endpoint| &endpoint.addresses);
            let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
            let still = addresses.filter_map(|address| wanted.remove_entry(&address));
            shards.push(still.take(SLICE_MAX).collect());
        }
        let mut rest = wanted.into_iter();
        for shard in &mut shards {
            let room = SLICE_MAX - shard.len();
            shard.extend(rest.by_ref().take(room));
        }
        let mut sharding = Sharding::default();
        for (slice, shard) in there.iter().zip(shards) {
            if shard.is_empty() {
                sharding.delete.extend(deletes([*slice]));
                continue;
            }
            let wanted = self.slice(app, service, &slice.name_any(), family, shard);
            if slice.endpoints != wanted.endpoints || !has_metadata(slice.meta(), &wanted.metadata)
            {
                sharding
                    .write
                    .push(Write::Apply(on(wanted, slice.as_ref())));
            }
        }
        let used: BTreeSet<String> = self.slices.iter().map(|slice| slice.name_any()).collect();
        let free = (0_u32..)
            .map(|number| format!("{service}-{}-{number}", family.suffix()))
            .filter(|name| !used.contains(name));
        for name in free {
            let shard: BTreeMap<IpAddr, Endpoint> = rest.by_ref().take(SLICE_MAX).collect();
            if shard.is_empty() {
                break;
            }
            let slice = self.slice(app, service, &name, family, shard);
            sharding.write.push(Write::Create(slice));
        }
        sharding
    }

    fn slice(
        &self,
        app: &str,
        service: &str,
        name: &str,
        family: Family,
        endpoints: BTreeMap<IpAddr, Endpoint>,
    ) -> EndpointSlice {
        let labels = [
            (SERVICE_LABEL, service),
            ("endpointslice.kubernetes.io/managed-by", "beemesh.io"),
            // It has no address that kube-proxy would have to see to.
            ("service.kubernetes.io/headless", ""),
        ];
        EndpointSlice {
            address_type: family.word().to_owned(),
            endpoints: endpoints.into_values().collect(),
            metadata: self.metadata(app, name, &labels),
            ports: None,
        }
    }
}

fn endpoint(pod: &AttachedPod, address: IpAddr, has_name: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            ..EndpointConditions::default()
        }),
        hostname: has_name.then(|| pod.name.clone()),
        node_name: (!pod.node.is_empty()).then(|| pod.node.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// True when the API server accepts `address` in a slice; a refused one would hold back the others.
fn can_serve(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_link_local)
}
