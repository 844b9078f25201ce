//! Kubernetes events on pods about their attachment, without repetition.

use crds::attach::Pod;

use super::{AttachService, lock};
use crate::attach::leases::{Lease, Share};
use crate::attach::pod_links::PodWiring;
use crate::objects::pods::{News, Told, runtime_uid};

impl<W: PodWiring> AttachService<W> {
    /// Emits an event with the reason why a pod is not attached, unless it is the same as the last
    /// one.
    pub fn tell_failure(&self, pod: &Pod, message: &str) {
        // `kubectl describe` also looks for a static pod's events by that uid.
        let uid = runtime_uid(pod);
        let mut failures = lock(&self.failures);
        if failures.get(uid).is_some_and(|told| told == message) {
            return;
        }
        failures.insert(uid.to_owned(), message.to_owned());
        drop(failures);
        tracing::warn!(
            pod = pod.name,
            namespace = pod.namespace,
            message,
            "pod not attached"
        );
        let name = (pod.namespace.as_str(), pod.name.as_str());
        self.tell(name, uid, true, "FailedAttach", message.to_owned());
    }

    /// Forgets the reported failures of deleted pods.
    pub fn retain_failures(&self, is_there: impl Fn(&str) -> bool) {
        lock(&self.failures).retain(|uid, _| is_there(uid));
    }

    /// Number of pods whose attachment failed and has not succeeded since.
    pub fn failures(&self) -> usize {
        lock(&self.failures).len()
    }

    pub(super) fn tell_attached(&self, lease: &Lease) {
        lock(&self.failures).remove(&lease.uid);
        for share in &lease.shares {
            let to = &share.attachment;
            let message = format!(
                "{} joins topology {} as App {} on forwarder {}: {}",
                to.pod_interface,
                share.network(),
                to.app,
                to.forwarder,
                addresses(share)
            );
            self.tell_of(lease, "Attached", message);
        }
    }

    pub(super) fn tell_detached(&self, lease: &Lease, share: &Share, why: &str) {
        let message = format!(
            "{} left topology {}: {why}",
            share.attachment.pod_interface,
            share.network()
        );
        self.tell_of(lease, "Detached", message);
    }

    fn tell_of(&self, lease: &Lease, reason: &'static str, message: String) {
        if let Some(name) = lease.pod.split_once('/')
            && !lease.uid.is_empty()
        {
            self.tell(name, &lease.uid, false, reason, message);
        }
    }

    fn tell(
        &self,
        (namespace, name): (&str, &str),
        uid: &str,
        is_warning: bool,
        reason: &'static str,
        message: String,
    ) {
        let Some(pods) = &self.pods else { return };
        pods.tell(Told {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            news: News::Event {
                is_warning,
                reason,
                message,
            },
        });
    }
}

fn addresses(share: &Share) -> String {
    let addresses = share.attachment.addresses.iter();
    let addresses: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
    addresses.join(", ")
}
