//! Events of `events.k8s.io/v1`: on transitions only.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, api::PostParams, core::ObjectMeta};

use super::{Error, FIELD_MANAGER, Writer};
use crate::{
    observe::{Entry, Key},
    plan::{Pod, Unattached},
    status,
};

/// Largest note of an event at the API server, in bytes.
const NOTE_MAX: usize = 1024;

impl Writer {
    /// Emits an event on a transition of a topology.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn tell(&self, entry: &Entry, told: &status::Event) -> Result<(), Error> {
        let regarding = ObjectReference {
            api_version: Some(crds::API_VERSION.to_owned()),
            kind: Some(crds::MicroServiceTopology::KIND.to_owned()),
            resource_version: Some(entry.resource_version.clone()),
            ..reference(&entry.key, &entry.uid)
        };
        let mut hasher = DefaultHasher::new();
        (&told.reason, &self.replica).hash(&mut hasher);
        let now = Timestamp::now();
        let moment = now.as_microsecond();
        let name = format!(
            "{}.{moment:x}.{:08x}",
            entry.key.name,
            hasher.finish() >> 32
        );
        self.post(name, regarding, told, now).await
    }

    /// Emits an event about a lasting state of a topology: once, by any replica.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn tell_fact(&self, entry: &Entry, told: &status::Event) -> Result<(), Error> {
        let regarding = ObjectReference {
            api_version: Some(crds::API_VERSION.to_owned()),
            kind: Some(crds::MicroServiceTopology::KIND.to_owned()),
            ..reference(&entry.key, &entry.uid)
        };
        let mut hasher = DefaultHasher::new();
        (&entry.uid, &told.reason, &told.message).hash(&mut hasher);
        let name = format!(
            "{}.{:016x}",
            shortened(&entry.key.name, 230),
            hasher.finish()
        );
        match self.post(name, regarding, told, Timestamp::now()).await {
            Err(error) if error.is_taken() => Ok(()),
            result => result,
        }
    }

    /// Emits an event about an unattached pod: once, by any replica.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn tell_pod(&self, topology: &Key, unattached: &Unattached) -> Result<(), Error> {
        let Unattached {
            pod,
            reason,
            message,
        } = unattached;
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            ..reference(&Key::new(&pod.namespace, &pod.name), &pod.uid)
        };
        let told = status::Event {
            reason: reason.clone(),
            message: message.clone(),
            warning: true,
        };
        let name = pod_event(topology, pod, reason);
        match self.post(name, regarding, &told, Timestamp::now()).await {
            Err(error) if error.is_taken() => Ok(()),
            result => result,
        }
    }

    async fn post(
        &self,
        name: String,
        regarding: ObjectReference,
        told: &status::Event,
        now: Timestamp,
    ) -> Result<(), Error> {
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(shortened(&self.replica, 128).to_owned()),
            action: Some("Reconcile".to_owned()),
            reason: Some(told.reason.clone()),
            note: Some(shortened(&told.message, NOTE_MAX).to_owned()),
            type_: Some(if told.warning { "Warning" } else { "Normal" }.to_owned()),
            regarding: Some(regarding),
            ..Event::default()
        };
        let parameters = PostParams::default();
        let create = api.create(&parameters, &event);
        self.ask("create", "Event", &name, create).await?;
        Ok(())
    }
}

/// Name of the event about one fact of one pod, the same on every replica.
fn pod_event(topology: &Key, pod: &Pod, reason: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (&pod.uid, &pod.node, topology, reason).hash(&mut hasher);
    // Room for the hash within the 253 bytes of a name.
    format!("{}.{:016x}", shortened(&pod.name, 230), hasher.finish())
}

fn reference(key: &Key, uid: &str) -> ObjectReference {
    ObjectReference {
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// Prefix of `text` that fits into `most` bytes.
pub(super) fn shortened(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(shortened("short", NOTE_MAX), "short");
        let long = "ö".repeat(NOTE_MAX);
        assert_eq!(shortened(&long, NOTE_MAX).len(), NOTE_MAX);
        let odd = format!("x{long}");
        assert_eq!(shortened(&odd, NOTE_MAX).len(), NOTE_MAX - 1);
    }
}
