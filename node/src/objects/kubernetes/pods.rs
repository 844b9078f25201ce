//! The Kubernetes adapter of [`Pods`].

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::core::ApiResource;

use super::Shared;
use super::read::{WirePod, pod_here};
use crate::objects::pods::{Lookup, NodePod, Pods, Told, is_called};
use watches::code;

/// Timeout of a lookup at the API server.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pods from the watch, with the API server as fallback.
#[derive(Debug)]
pub(super) struct KubernetesPods {
    shared: Arc<Shared>,
}

impl KubernetesPods {
    pub(super) fn new(shared: Arc<Shared>) -> KubernetesPods {
        KubernetesPods { shared }
    }

    /// Asks the API server. Must not be called on a thread that runs tasks.
    fn ask(&self, namespace: &str, name: &str, uid: Option<&str>) -> Lookup {
        let (answer, answered) = mpsc::sync_channel(1);
        let client = self.shared.api.client.clone();
        let resource = ApiResource::erase::<Pod>(&());
        let api: Api<WirePod> = Api::namespaced_with(client, namespace, &resource);
        let name = name.to_owned();
        self.shared.api.handle.spawn(async move {
            let found = tokio::time::timeout(PATIENCE, api.get(&name)).await;
            // The receiver may have timed out.
            let _ = answer.send(found);
        });
        let is_meant = |pod: &NodePod| {
            pod.pod.node == self.shared.node && uid.is_none_or(|uid| is_called(&pod.pod, uid))
        };
        match answered.recv_timeout(PATIENCE) {
            Ok(Ok(Ok(pod))) => match pod_here(pod) {
                pod if is_meant(&pod) => Lookup::Found(Arc::new(pod)),
                _ => Lookup::Absent,
            },
            Ok(Ok(Err(error))) if code(&error) == Some(404) => Lookup::Absent,
            _ => Lookup::Unknown,
        }
    }
}

impl Pods for KubernetesPods {
    fn find(&self, namespace: &str, name: &str, uid: Option<&str>) -> Lookup {
        let held = {
            let store = self.shared.store();
            let is_meant = |pod: &&Arc<NodePod>| {
                pod.pod.namespace == namespace
                    && pod.pod.name == name
                    && uid.is_none_or(|uid| is_called(&pod.pod, uid))
            };
            store.pods().find(is_meant).cloned()
        };
        match held {
            Some(pod) => Lookup::Found(pod),
            None => self.ask(namespace, name, uid),
        }
    }

    fn here(&self) -> Vec<Arc<NodePod>> {
        self.shared.store().pods().cloned().collect()
    }

    fn tell(&self, told: Told) {
        self.shared.tells.add(told);
    }
}
