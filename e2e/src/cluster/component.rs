//! The programs that make a cluster.

/// A program of the control plane or of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Component {
    /// The store, on the control plane.
    Etcd,
    /// On the control plane.
    ApiServer,
    /// On the control plane.
    ControllerManager,
    /// On the control plane.
    Scheduler,
    /// The container runtime of a node. Pods live on without it.
    Containerd,
    /// Of a node.
    Kubelet,
    /// Of a node.
    KubeProxy,
}

impl Component {
    /// Components of the control plane, in the order of their start.
    pub const CONTROL: [Self; 4] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
    ];
    /// Components of a node, in the order of their start.
    pub const NODE: [Self; 3] = [Self::Containerd, Self::Kubelet, Self::KubeProxy];

    /// The program's name, also that of its log.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }
}
