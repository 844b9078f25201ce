//! Identity of the daemons: the DaemonSet of the installation, and the pods that it controls.
//!
//! ```text
//! ClusterRoleBinding -> ServiceAccount, namespace --.
//! --system-namespace -> namespace -------------------+-> DaemonSet -> pods by uid of their controller
//! ```
//! Labels select candidates and prove nothing: any user who may create a pod may set them. A binding
//! of the cluster and the namespace of the DaemonSet are an administrator's.

use crate::cluster::Cluster;
use console::failure::Failure;
use console::note;
use k8s_openapi::{
    api::{apps::v1::DaemonSet, core::v1::Pod, rbac::v1::ClusterRoleBinding},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::ListParams};
use std::collections::BTreeSet;

/// Labels of the daemons' objects: they select candidates, [`Daemons`] says which are ours.
pub(crate) const DAEMONS: &str =
    "app.kubernetes.io/part-of=beemesh,app.kubernetes.io/component=node";
/// Label of everything of beemesh.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of=beemesh";
/// The daemons' container, as the chart names it.
const CONTAINER: &str = "node";
/// Most names of one list in a message.
const NAMES: usize = 4;

/// Namespace of the daemons, to be flattened into the arguments of a verb that asks nodes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct System {
    /// Kubernetes namespace of beemesh itself [default: that of the daemons' ServiceAccount]
    #[arg(long, value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(crate) system_namespace: Option<String>,
}

/// ServiceAccount of the daemons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Account {
    namespace: String,
    /// `None` where the user names the namespace alone.
    name: Option<String>,
}

/// The DaemonSet of beemesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daemons {
    /// Its Kubernetes namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Image of its pods.
    pub(crate) image: String,
    uid: String,
    account: String,
}

impl Daemons {
    /// Finds the DaemonSet of the installation; `None` where nothing is installed.
    ///
    /// # Errors
    /// Refusals of the server; several installations or DaemonSets, with their names.
    pub(crate) fn find(cluster: &Cluster, system: &System) -> Result<Option<Self>, Failure> {
        let Some(account) = account(cluster, system)? else {
            return Ok(None);
        };
        let selected = ListParams::default().labels(DAEMONS);
        let sets = cluster.list(&cluster.api::<DaemonSet>(&account.namespace), &selected)?;
        let candidates: Vec<Self> = sets.items.iter().filter_map(Self::read).collect();
        one_of(candidates, &account)
    }

    fn read(set: &DaemonSet) -> Option<Self> {
        let template = set.spec.as_ref()?.template.spec.as_ref()?;
        let containers = &template.containers;
        let container = containers.iter().find(|it| it.name == CONTAINER);
        Some(Self {
            namespace: set.metadata.namespace.clone()?,
            name: set.metadata.name.clone()?,
            uid: set.metadata.uid.clone()?,
            account: template.service_account_name.clone().unwrap_or_default(),
            image: container.or(containers.first())?.image.clone()?,
        })
    }

    /// Pods of this DaemonSet.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn pods(&self, cluster: &Cluster) -> Result<Vec<Pod>, Failure> {
        let selected = ListParams::default().labels(DAEMONS);
        let mut pods = cluster.list(&cluster.api::<Pod>(&self.namespace), &selected)?;
        pods.items.retain(|pod| self.controls(pod));
        Ok(pods.items)
    }

    /// True for a pod that this DaemonSet controls and that runs as its ServiceAccount.
    fn controls(&self, pod: &Pod) -> bool {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let is_controlled =
            owners.any(|owner| owner.controller == Some(true) && owner.uid == self.uid);
        let spec = pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.as_deref());
        is_controlled
            && pod.metadata.namespace.as_ref() == Some(&self.namespace)
            && account.unwrap_or_default() == self.account
    }
}

/// The daemons' container of a pod: an injected sidecar may come before it.
pub(super) fn container(pod: &Pod) -> Option<&k8s_openapi::api::core::v1::Container> {
    let containers = &pod.spec.as_ref()?.containers;
    let named = containers.iter().find(|it| it.name == CONTAINER);
    named.or(containers.first())
}

/// Names pods that carry the daemons' labels and are none, wherever they may be listed.
pub(crate) fn note_impostors(cluster: &Cluster, system: &System, daemons: Option<&Daemons>) {
    let api: Api<Pod> = match &system.system_namespace {
        Some(namespace) => cluster.api(namespace),
        None => Api::all(cluster.client()),
    };
    // Who may not list them has no use for their names either.
    let Ok(pods) = cluster.list(&api, &ListParams::default().labels(DAEMONS)) else {
        return;
    };
    let is_foreign = |pod: &&Pod| !daemons.is_some_and(|daemons| daemons.controls(pod));
    let foreign = pods.items.iter().filter(is_foreign);
    let names: Vec<String> = foreign.map(|pod| full_name(&pod.metadata)).collect();
    if names.is_empty() {
        return;
    }
    let of = match daemons {
        Some(daemons) => format!("not of DaemonSet {}/{}", daemons.namespace, daemons.name),
        None => "of no DaemonSet of beemesh".to_owned(),
    };
    note(&format!(
        "left out, with the labels of a daemon but {of}: {}",
        listed(&names)
    ));
}

/// Kubernetes namespaces that beemesh is installed in, by the bindings of operator and daemons.
///
/// # Errors
/// Refusals of the server.
pub(crate) fn namespaces(cluster: &Cluster, system: &System) -> Result<BTreeSet<String>, Failure> {
    if let Some(namespace) = &system.system_namespace {
        return Ok(BTreeSet::from([namespace.clone()]));
    }
    let accounts = accounts(&bindings(cluster, PART_OF)?);
    Ok(accounts.into_iter().map(|it| it.namespace).collect())
}

fn bindings(cluster: &Cluster, labels: &str) -> Result<Vec<ClusterRoleBinding>, Failure> {
    let api: Api<ClusterRoleBinding> = Api::all(cluster.client());
    let bindings = cluster.list(&api, &ListParams::default().labels(labels));
    bindings.map(|it| it.items).map_err(unlisted)
}

fn account(cluster: &Cluster, system: &System) -> Result<Option<Account>, Failure> {
    if let Some(namespace) = &system.system_namespace {
        return Ok(Some(Account {
            namespace: namespace.clone(),
            name: None,
        }));
    }
    let accounts = accounts(&bindings(cluster, DAEMONS)?);
    let names: Vec<String> = accounts.iter().map(|it| it.namespace.clone()).collect();
    match accounts.len() {
        0 | 1 => Ok(accounts.into_iter().next()),
        _ => Err(Failure::Failed(format!(
            "several installations of beemesh, in the namespaces {}: expected --system-namespace",
            listed(&names)
        ))),
    }
}

/// Adds a hint for users without the right to list bindings.
fn unlisted(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(why) => Failure::Failed(format!(
            "{why}; with --system-namespace the namespace of beemesh is not looked for"
        )),
        other => other,
    }
}

fn accounts(bindings: &[ClusterRoleBinding]) -> BTreeSet<Account> {
    let subjects = bindings.iter().flat_map(|it| it.subjects.iter().flatten());
    let accounts = subjects.filter(|subject| subject.kind == "ServiceAccount");
    let account = |subject: &k8s_openapi::api::rbac::v1::Subject| {
        Some(Account {
            namespace: subject.namespace.clone()?,
            name: Some(subject.name.clone()),
        })
    };
    accounts.filter_map(account).collect()
}

fn one_of(candidates: Vec<Daemons>, account: &Account) -> Result<Option<Daemons>, Failure> {
    let is_bound = |daemons: &Daemons| {
        let name = account.name.as_ref();
        name.is_none_or(|name| *name == daemons.account)
    };
    let mut bound: Vec<Daemons> = candidates.into_iter().filter(is_bound).collect();
    if bound.len() > 1 {
        let names: Vec<String> = bound.into_iter().map(|it| it.name).collect();
        return Err(Failure::Failed(format!(
            "several DaemonSets of beemesh in namespace {}: {}: expected one",
            account.namespace,
            listed(&names)
        )));
    }
    Ok(bound.pop())
}

fn full_name(metadata: &ObjectMeta) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("pod {}/{}", text(&metadata.namespace), text(&metadata.name))
}

fn listed(names: &[String]) -> String {
    match names.get(..NAMES) {
        Some(first) if names.len() > NAMES => {
            format!("{} and {} more", first.join(", "), names.len() - NAMES)
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(name: &str, account: &str) -> Daemons {
        let set = json!({
            "metadata": {"name": name, "namespace": "system", "uid": format!("uid-{name}")},
            "spec": {"selector": {}, "template": {"spec": {"serviceAccountName": account, "containers": [
                {"name": "proxy", "image": "injected"}, {"name": "node", "image": "beemesh:1"}]}}},
        });
        Daemons::read(&serde_json::from_value(set).unwrap()).unwrap()
    }

    fn pod(namespace: &str, owner: &Value, account: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": namespace, "ownerReferences": [owner]},
            "spec": {"serviceAccountName": account, "containers": []},
        }))
        .unwrap()
    }

    fn owner(uid: &str, controller: bool) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": uid, "controller": controller})
    }

    #[test]
    fn the_image_is_that_of_the_daemons_container() {
        assert_eq!(set("d", "a").image, "beemesh:1");
    }

    #[test]
    fn a_pod_is_controlled_by_uid_namespace_and_account() {
        let daemons = set("d", "account");
        #[rustfmt::skip]
        let cases = [
            ("its own",               pod("system", &owner("uid-d", true), "account"),  true),
            ("another namespace",     pod("a", &owner("uid-d", true), "account"),       false),
            ("another set",           pod("system", &owner("uid-e", true), "account"),  false),
            ("owned, not controlled", pod("system", &owner("uid-d", false), "account"), false),
            ("another account",       pod("system", &owner("uid-d", true), "default"),  false),
        ];
        for (what, pod, expected) in cases {
            assert_eq!(daemons.controls(&pod), expected, "{what}");
        }
    }

    #[test]
    fn one_daemonset_with_the_bound_account_is_expected() {
        let account = |name: Option<&str>| Account {
            namespace: "system".to_owned(),
            name: name.map(str::to_owned),
        };
        let both = || vec![set("d", "a"), set("e", "b")];
        assert_eq!(one_of(Vec::new(), &account(None)).unwrap(), None);
        assert_eq!(one_of(both(), &account(Some("c"))).unwrap(), None);
        let found = one_of(both(), &account(Some("b"))).unwrap();
        assert_eq!(found, Some(set("e", "b")));
        let refused = one_of(both(), &account(None)).unwrap_err().to_string();
        assert!(refused.contains("d, e: expected one"), "{refused}");
    }

    #[test]
    fn accounts_are_those_that_bindings_name_once_each() {
        let binding = |subjects: Value| {
            let binding = json!({"metadata": {}, "subjects": subjects,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "n"}});
            serde_json::from_value::<ClusterRoleBinding>(binding).unwrap()
        };
        let of = json!([{"kind": "ServiceAccount", "name": "n", "namespace": "system"}]);
        let user = json!([{"kind": "User", "name": "n"}]);
        let found = accounts(&[binding(of.clone()), binding(of), binding(user)]);
        assert_eq!(found.len(), 1);
    }
}
