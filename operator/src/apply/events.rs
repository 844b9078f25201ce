//! Events of `events.k8s.io/v1`: on transitions only.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::PostParams,
    core::ObjectMeta,
};

use super::{Error, FIELD_MANAGER, Writer};
use crate::{
    observe::{Entry, Key},
    plan::Pod,
};

/// Longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1024;

/// Something to be told of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether someone should do something about it.
    pub is_warning: bool,
    /// One CamelCase word.
    pub reason: String,
    /// What was done or found, one CamelCase word such as `Computing`.
    pub action: String,
    /// A sentence for people.
    pub message: String,
}

impl Writer {
    /// Tells of a transition of a topology.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn tell(&self, entry: &Entry, note: &Note) -> Result<(), Error> {
        let regarding = ObjectReference {
            api_version: Some(crds::API_VERSION.to_owned()),
            kind: Some(crds::MicroServiceTopology::KIND.to_owned()),
            resource_version: Some(entry.resource_version.clone()),
            ..reference(&entry.key, &entry.uid)
        };
        let now = Timestamp::now();
        let name = format!("{}.{:x}", entry.key.name, now.as_nanosecond());
        self.post(name, regarding, note, now).await
    }

    /// Tells of what befell a pod: once, whichever replica does it.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn tell_pod(&self, pod: &Pod, topology: &Key, note: &Note) -> Result<(), Error> {
        let mut hasher = DefaultHasher::new();
        (&pod.uid, &pod.node, topology, &note.reason).hash(&mut hasher);
        let name = format!("{}.{:016x}", pod.name, hasher.finish());
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            ..reference(&Key::new(&pod.namespace, &pod.name), &pod.uid)
        };
        match self.post(name, regarding, note, Timestamp::now()).await {
            Err(error) if error.is_taken() => Ok(()),
            result => result,
        }
    }

    async fn post(
        &self,
        name: String,
        regarding: ObjectReference,
        note: &Note,
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
            reporting_instance: Some(self.replica.clone()),
            action: Some(note.action.clone()),
            reason: Some(note.reason.clone()),
            note: Some(shortened(&note.message).to_owned()),
            type_: Some(if note.is_warning { "Warning" } else { "Normal" }.to_owned()),
            regarding: Some(regarding),
            ..Event::default()
        };
        let parameters = PostParams::default();
        let create = api.create(&parameters, &event);
        self.ask("create", "events", &name, create).await?;
        Ok(())
    }
}

fn reference(key: &Key, uid: &str) -> ObjectReference {
    ObjectReference {
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// As much of `text` as an event holds.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(NOTE_MAX);
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
        assert_eq!(shortened("short"), "short");
        let long = "ö".repeat(NOTE_MAX);
        assert_eq!(shortened(&long).len(), NOTE_MAX);
        let odd = format!("x{long}");
        assert_eq!(shortened(&odd).len(), NOTE_MAX - 1);
    }
}
