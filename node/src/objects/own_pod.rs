//! The daemon's own pod, whose annotation requests uninstallation.

use std::sync::Arc;

use crds::attach::Pod;
use crds::uninstall::ANNOTATION;

use crate::objects::pods::NodePod;

/// The daemon's own pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Uninstall request in the own pod's annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UninstallRequest {
    /// The pod was not observed yet.
    Unknown,
    /// No uninstallation is requested.
    Stay,
    /// Uninstallation is requested.
    Leave,
}

impl OwnPod {
    /// Own pod from the environment variables `POD_NAMESPACE` and `POD_NAME` of the DaemonSet;
    /// `None` without them.
    pub fn from_environment() -> Option<OwnPod> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(OwnPod {
            namespace: read("POD_NAMESPACE")?,
            name: read("POD_NAME")?,
        })
    }

    /// Uninstall request of the own pod, if it is among the pods `here`.
    pub fn word<'a>(&self, here: impl IntoIterator<Item = &'a Arc<NodePod>>) -> UninstallRequest {
        let is_own = |pod: &Pod| pod.namespace == self.namespace && pod.name == self.name;
        match here.into_iter().find(|here| is_own(&here.pod)) {
            None => UninstallRequest::Unknown,
            Some(own) if own.pod.annotations.contains_key(ANNOTATION) => UninstallRequest::Leave,
            Some(_) => UninstallRequest::Stay,
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::uninstall::{DONE, REQUESTED};

    use super::*;

    #[test]
    fn the_own_pod_says_whether_to_stay() {
        let own = OwnPod {
            namespace: "beemesh-system".to_owned(),
            name: "node-x".to_owned(),
        };
        let pod = |name: &str, annotation: Option<&str>| {
            let mut here = NodePod::default();
            here.pod.namespace = "beemesh-system".to_owned();
            here.pod.name = name.to_owned();
            let annotation = annotation.map(|value| (ANNOTATION.to_owned(), value.to_owned()));
            here.pod.annotations.extend(annotation);
            Arc::new(here)
        };
        #[rustfmt::skip]
        let cases = [
            (vec![],                                                     UninstallRequest::Unknown),
            (vec![pod("node-y", Some(REQUESTED))],                       UninstallRequest::Unknown),
            (vec![pod("node-y", Some(REQUESTED)), pod("node-x", None)],  UninstallRequest::Stay),
            (vec![pod("node-x", Some(REQUESTED))],                       UninstallRequest::Leave),
            // Answered by an earlier daemon process: nothing may be created again.
            (vec![pod("node-x", Some(DONE))],                            UninstallRequest::Leave),
        ];
        for (here, expected) in cases {
            assert_eq!(own.word(&here), expected, "{here:?}");
        }
    }
}
