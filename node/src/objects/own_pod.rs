//! The daemon's own pod, whose annotation asks for uninstalling.

use std::sync::Arc;

use crds::attach::Pod;
use crds::uninstall::ANNOTATION;

use crate::objects::pods::NodePod;

/// The daemon's own pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the daemon's own pod says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UninstallRequest {
    /// Its pod was not seen yet.
    Unknown,
    /// The node is ours to look after.
    Stay,
    /// The node is to be clean.
    Leave,
}

impl OwnPod {
    /// As the DaemonSet says it in `POD_NAMESPACE` and `POD_NAME`; none elsewhere.
    pub fn from_environment() -> Option<OwnPod> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(OwnPod {
            namespace: read("POD_NAMESPACE")?,
            name: read("POD_NAME")?,
        })
    }

    /// What the pod says, if it is one of these.
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
            // Answered by a daemon before this one: nothing is to come back.
            (vec![pod("node-x", Some(DONE))],                            UninstallRequest::Leave),
        ];
        for (here, expected) in cases {
            assert_eq!(own.word(&here), expected, "{here:?}");
        }
    }
}
