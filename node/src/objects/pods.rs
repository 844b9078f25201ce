//! Port to the pods of this node: queries, annotations and events.

use std::sync::Arc;

use crds::attach::Pod;
pub(crate) use crds::attach::runtime_uid;

#[cfg(test)]
pub(crate) mod memory;

/// Port to the pods of this node.
pub trait Pods: Send + Sync {
    /// Looks up a pod. With a `uid`, another pod of the same name does not match.
    fn find(&self, namespace: &str, name: &str, uid: Option<&str>) -> Lookup;

    /// Known pods of this node, in no order.
    fn here(&self) -> Vec<Arc<NodePod>>;

    /// Queues an annotation or event of a pod, without waiting; it is lost when the daemon ends
    /// before it was sent.
    fn tell(&self, told: Told);
}

/// Result of [`Pods::find`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Pod as last observed.
    Found(Arc<NodePod>),
    /// The pod does not exist for certain.
    Absent,
    /// The pod was not observed yet, so its existence is unknown.
    Unknown,
}

/// Pod that is bound to this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePod {
    /// Labels, annotations and names for admission.
    pub pod: Pod,
    /// Annotation `k8s.v1.cni.cncf.io/network-status`.
    pub network_status: Option<String>,
    /// True when it uses the host's network namespace.
    pub is_host_network: bool,
    /// True unless it has succeeded or failed.
    pub is_running: bool,
    /// True when its deletion was requested.
    pub is_leaving: bool,
}

/// True when `uid` is the pod's, in the API or at the runtime.
pub(crate) fn is_called(pod: &Pod, uid: &str) -> bool {
    uid == pod.uid || uid == runtime_uid(pod)
}

/// Update of a pod: annotation or event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Uid of the pod: a later pod of the same name does not match.
    pub uid: String,
    /// Content of the update.
    pub news: News,
}

/// Content of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// New value of the annotation `k8s.v1.cni.cncf.io/network-status`.
    NetworkStatus(String),
    /// Event.
    Event {
        /// True for type `Warning`, false for `Normal`.
        is_warning: bool,
        /// Reason, one CamelCase word.
        reason: &'static str,
        /// Message, a sentence.
        message: String,
    },
}

/// Adapter without Kubernetes: the plugin's request is the only source of pods.
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
