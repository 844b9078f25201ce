//! In-memory adapter of [`Pods`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crds::attach::Pod;

use super::{Lookup, News, NodePod, Pods, Told, is_called};

/// Pods of the node `n1`.
#[derive(Debug, Default)]
pub(crate) struct MemoryPods {
    pub(crate) here: Mutex<Vec<NodePod>>,
    pub(crate) is_away: AtomicBool,
    /// Number of lookups.
    pub(crate) asked: AtomicUsize,
    pub(crate) told: Mutex<Vec<Told>>,
}

impl Pods for MemoryPods {
    fn find(&self, namespace: &str, name: &str, uid: Option<&str>) -> Lookup {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let is_meant = |here: &Arc<NodePod>| {
            let pod = &here.pod;
            let is_uid = uid.is_none_or(|uid| is_called(pod, uid));
            pod.namespace == namespace && pod.name == name && is_uid
        };
        match self.here().into_iter().find(is_meant) {
            Some(found) => Lookup::Found(found),
            None if self.is_away.load(Ordering::Relaxed) => Lookup::Unknown,
            None => Lookup::Absent,
        }
    }

    fn here(&self) -> Vec<Arc<NodePod>> {
        let here = self.here.lock().unwrap();
        here.iter().cloned().map(Arc::new).collect()
    }

    fn tell(&self, told: Told) {
        if let News::NetworkStatus(value) = &told.news {
            let mut here = self.here.lock().unwrap();
            let of = here.iter_mut().find(|here| here.pod.uid == told.uid);
            of.expect("it is here").network_status = Some(value.clone());
        }
        self.told.lock().unwrap().push(told);
    }
}

impl MemoryPods {
    /// Puts a running pod in the namespace `default` with these labels, replacing one of its name.
    pub(crate) fn put(&self, name: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter();
        let labels = labels.map(|(key, value)| (key.to_string(), value.to_string()));
        let pod = Pod {
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
            node: "n1".into(),
            labels: labels.collect(),
            annotations: BTreeMap::new(),
        };
        let mut here = self.here.lock().unwrap();
        here.retain(|here| here.pod.name != name);
        here.push(NodePod {
            pod,
            is_running: true,
            ..NodePod::default()
        });
    }

    /// Changes a pod.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut NodePod)) {
        let mut here = self.here.lock().unwrap();
        let of = here.iter_mut().find(|here| here.pod.name == name);
        change(of.expect("it was put"));
    }

    /// Reasons and messages of the queued events.
    pub(crate) fn events(&self) -> Vec<(&'static str, String)> {
        let told = self.told.lock().unwrap();
        let events = told.iter().filter_map(|told| match &told.news {
            News::Event {
                reason, message, ..
            } => Some((*reason, message.clone())),
            News::NetworkStatus(_) => None,
        });
        events.collect()
    }
}
