//! Making what a test needs.

use super::{
    clear::{clear, clear_on_signal},
    objects::Test,
};
use crate::cluster::{Cluster, Connection, stored::Stored, wait::Wanted};
use console::failure::Failure;
use console::note;
use crds::TopologyObject;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Resource, api::PatchParams};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Field manager of what a test makes.
const MANAGER: &str = "beemesh-connectivity";

/// A test in a cluster.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) test: &'a Test,
    /// True where the namespace was made here and is removed too.
    owns_namespace: bool,
    until: Instant,
}

/// Addresses of each probe in the topology, by the name of its pod.
pub(super) type Probes = BTreeMap<String, Vec<IpAddr>>;

impl<'a> Stage<'a> {
    /// Looks whether the namespace is there, makes the topology, and removes everything on ^C from now on.
    ///
    /// # Errors
    /// A topology of this name is there; what the server refuses; a signal that cannot be listened for.
    pub(super) fn new(
        cluster: &'a Cluster,
        test: &'a Test,
        connection: Connection,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        // A user with rights in one namespace only may not read the namespace itself: then it exists.
        let is_there = match cluster.get(&namespaces, &test.namespace) {
            Ok(found) => found.is_some(),
            Err(failure) if connection.namespace.is_none() => return Err(failure),
            Err(_) => true,
        };
        let stage = Self {
            cluster,
            test,
            owns_namespace: !is_there,
            until: Instant::now() + timeout,
        };
        // Where that fails, labelled objects belong to another test, except in a namespace of our own.
        stage
            .claim()
            .or_else(|failure| match stage.owns_namespace {
                true => stage.clear().and(Err(failure)),
                false => Err(failure),
            })?;
        clear_on_signal(connection, test.clone(), stage.owns_namespace)?;
        Ok(stage)
    }

    /// Makes the topology, which must not be there: it is changed and deleted later.
    fn claim(&self) -> Result<(), Failure> {
        let test = self.test;
        if self.owns_namespace {
            let api: Api<Namespace> = Api::all(self.cluster.client());
            self.apply(&api, &test.namespace, &test.namespace())?;
        }
        let topology = serde_json::from_value(test.topology(false));
        let topology: TopologyObject = topology.map_err(|error| Failure::failed(&error))?;
        match self
            .cluster
            .create(&self.cluster.api(&test.namespace), &topology)?
        {
            Some(_) => Ok(()),
            None => Err(test.taken()),
        }
    }

    /// Makes the probes, and waits until every one is attached.
    ///
    /// # Errors
    /// Refusals of the server; [`Failure::TimedOut`] with the missing objects.
    pub(super) fn build(&self) -> Result<Probes, Failure> {
        let test = self.test;
        self.declare(false)?;
        note(&format!(
            "{} probes in namespace {}",
            test.nodes.len(),
            test.namespace
        ));
        for node in &test.nodes {
            let api: Api<Pod> = self.cluster.api(&test.namespace);
            self.apply(&api, &test.name(node), &test.pod(node))?;
        }
        self.attached()
    }

    /// Declares the topology, with its link drained or not, and waits until all nodes have it so.
    ///
    /// # Errors
    /// As [`Stage::build`].
    pub(super) fn declare(&self, is_drained: bool) -> Result<(), Failure> {
        let test = self.test;
        let api: Api<Stored> = self.cluster.api(&test.namespace);
        let stored = self.apply(&api, &test.topology, &test.topology(is_drained))?;
        let wanted = Wanted {
            condition: "Ready",
            generation: stored.generation(),
            timeout: self.left(),
        };
        self.cluster
            .wait_in(&test.namespace, &test.topology, wanted)
            .map(drop)
    }

    pub(super) fn left(&self) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        Duration::from_secs(left.as_secs().max(1))
    }

    fn apply<K>(&self, api: &Api<K>, name: &str, object: &Value) -> Result<K, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let parameters = PatchParams::apply(MANAGER).force();
        self.cluster.apply(api, name, (&parameters, object))
    }

    /// Removes all of it, and waits until it is gone.
    ///
    /// # Errors
    /// Refusals of the server; [`Failure::TimedOut`] with the remaining objects.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        clear(self.cluster, self.test, self.owns_namespace)
    }
}
