//! What Kubernetes says of this node's pods, and what is told it about them.

use std::sync::Arc;

use crds::attach::Pod;
pub(crate) use crds::attach::runtime_uid;

#[cfg(test)]
pub(crate) mod memory;

/// The port to whoever knows this node's pods.
pub trait Pods: Send + Sync {
    /// What is known of a pod. With a `uid`, another pod of the same name is not meant.
    fn find(&self, namespace: &str, name: &str, uid: Option<&str>) -> Lookup;

    /// All pods of this node that are known, in no order.
    fn here(&self) -> Vec<Arc<NodePod>>;

    /// Tells something about a pod, once, without waiting; lost when the daemon ends before it was sent.
    fn tell(&self, told: Told);
}

/// The answer to [`Pods::find`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The pod as it was last seen.
    Found(Arc<NodePod>),
    /// It is certain that there is no such pod.
    Absent,
    /// It cannot be told: not seen yet.
    Unknown,
}

/// A pod that is bound to this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePod {
    /// What attaching goes by.
    pub pod: Pod,
    /// Its annotation `k8s.v1.cni.cncf.io/network-status`.
    pub network_status: Option<String>,
    /// It has no network namespace of its own.
    pub is_host_network: bool,
    /// Neither finished nor failed.
    pub is_running: bool,
    /// Its deletion was asked for.
    pub is_leaving: bool,
}

/// Whether this is a pod's uid, in the API or at the runtime.
pub(crate) fn is_called(pod: &Pod, uid: &str) -> bool {
    uid == pod.uid || uid == runtime_uid(pod)
}

/// Something about a pod that others are to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: a later pod of this name is not meant.
    pub uid: String,
    /// What is said.
    pub news: News,
}

/// What is said of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The new value of its annotation `k8s.v1.cni.cncf.io/network-status`.
    NetworkStatus(String),
    /// An event.
    Event {
        /// Of type `Warning`, else `Normal`.
        is_warning: bool,
        /// One CamelCase word.
        reason: &'static str,
        /// A sentence for people.
        message: String,
    },
}

/// Where no Kubernetes is: pods are what the plugin says they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPods;

impl Pods for NoPods {
    fn find(&self, _: &str, _: &str, _: Option<&str>) -> Lookup {
        Lookup::Unknown
    }

    fn here(&self) -> Vec<Arc<NodePod>> {
        Vec::new()
    }

    fn tell(&self, _: Told) {}
}
