//! NetworkAttachmentDefinitions, where the cluster has such a kind.

use crds::forwarder::TOPOLOGY_LABEL;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{
    Error, FIELD_MANAGER, Writer,
    steps::{dynamic, parameters},
};
use crate::{
    observe::Key,
    plan::network_attachment::{KIND, Step, step},
};

impl Writer {
    /// Own NetworkAttachmentDefinitions in a namespace, or in all; empty where the kind does not
    /// exist.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn network_attachments(&self, namespace: Option<&str>) -> Result<Vec<Key>, Error> {
        let api = self.network_attachments_api(namespace);
        let parameters = ListParams::default().labels(TOPOLOGY_LABEL);
        let listed = match self.ask("list", KIND, "", api.list(&parameters)).await {
            Ok(listed) => listed,
            Err(error) if error.code() == Some(404) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let key = |object: DynamicObject| {
            let name = object.labels().get(TOPOLOGY_LABEL)?.clone();
            Some(Key::new(object.namespace()?, name))
        };
        Ok(listed.items.into_iter().filter_map(key).collect())
    }

    /// Writes the `wanted` definition of the topology `key` with this uid, or deletes it; returns the step that was needed.
    ///
    /// # Errors
    /// When the API server refuses; code 404 where it has no such kind.
    pub async fn attach_by_name(
        &self,
        key: &Key,
        uid: &str,
        wanted: Option<&Value>,
    ) -> Result<Step, Error> {
        let (api, name) = (
            self.network_attachments_api(Some(&key.namespace)),
            &key.name,
        );
        let there = self.ask("get", KIND, name, api.get_opt(name)).await?;
        let step = step(there.as_ref(), wanted, uid);
        match (&step, wanted, there) {
            (Step::Create, Some(wanted), _) => {
                let (body, parameters) = (dynamic(wanted.clone()), parameters());
                let create = api.create(&parameters, &body);
                self.ask("create", KIND, name, create).await?;
            }
            (Step::Apply, Some(wanted), Some(there)) => {
                let mut body = wanted.clone();
                body["metadata"]["uid"] = json!(there.metadata.uid);
                body["metadata"]["resourceVersion"] = json!(there.metadata.resource_version);
                let parameters = PatchParams::apply(FIELD_MANAGER).force();
                let patch = Patch::Apply(&body);
                let apply = api.patch(name, &parameters, &patch);
                self.ask("apply", KIND, name, apply).await?;
            }
            (Step::Delete, _, Some(there)) => {
                let parameters = DeleteParams::background().preconditions(Preconditions {
                    uid: there.metadata.uid.clone(),
                    resource_version: None,
                });
                let delete = api.delete(name, &parameters);
                match self.ask("delete", KIND, name, delete).await {
                    Err(error) if !error.is_absent() => return Err(error),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(step)
    }

    fn network_attachments_api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", KIND);
        let plural = "network-attachment-definitions";
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}
