//! The CNI network configuration of a lab, for our own runner and for any other runtime.

use std::collections::BTreeMap;

use crds::Forwarder;
use serde_json::{Value, json};

use crate::state::directory::Directory;

/// Versions of the CNI specification that a list may be for, the lowest first.
pub(crate) const CNI_VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The version of lists for runtimes that read `cniVersion` alone: libcni 0.7 to 1.1 know it, and it has CHECK.
const CNI_VERSION_COMMON: &str = "0.4.0";
/// The version of the lab's own attachments.
const CNI_VERSION: &str = "1.1.0";

/// The name of the CNI network; allowed are `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub(crate) fn network(namespace: &str, topology: &str) -> String {
    format!("beemesh-lab-{namespace}.{topology}")
}

/// A network configuration list with which the daemon of `node` attaches a container that has
/// `labels`, given as `args.cni.labels` (CNI conventions).
///
/// Without a `version` it is for all: a runtime that knows `cniVersions` (CNI 1.1.0, section 1) takes the highest
/// of them that it supports, an older one takes `cniVersion`. The plugin answers in the version that it is called with.
pub(crate) fn conflist(
    directory: &Directory,
    network: &str,
    (node, version): (&str, Option<&str>),
    labels: &BTreeMap<String, String>,
) -> Value {
    let mut list = json!({
        "cniVersion": version.unwrap_or(CNI_VERSION_COMMON),
        "name": network,
        "plugins": [plugin(directory, node, labels)],
    });
    if version.is_none() {
        list["cniVersions"] = json!(CNI_VERSIONS);
    }
    list
}

/// The one plugin of the list, as libcni hands it to the program: with name and version.
pub(crate) fn plugin_config(
    directory: &Directory,
    network: &str,
    node: &str,
    labels: &BTreeMap<String, String>,
) -> Value {
    let mut config = plugin(directory, node, labels);
    config["cniVersion"] = json!(CNI_VERSION);
    config["name"] = json!(network);
    config
}

fn plugin(directory: &Directory, node: &str, labels: &BTreeMap<String, String>) -> Value {
    let labels: Vec<Value> = labels
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    json!({
        "type": "beemesh-cni",
        "socket": directory.socket(node),
        "stateDir": directory.node(node).join("state"),
        "args": {"cni": {"labels": labels}},
    })
}

/// The node whose daemon is to attach an instance of `app`: the one asked for, or the first that
/// has a Forwarder on which the App may be. None when there is no such node.
pub(crate) fn node_for<'a>(
    forwarders: &'a [Forwarder],
    app: &str,
    wanted: Option<&str>,
) -> Option<&'a str> {
    let may_be = |forwarder: &Forwarder| forwarder.spec.apps.iter().any(|each| each.name == app);
    forwarders
        .iter()
        .filter(|forwarder| wanted.is_none_or(|node| forwarder.spec.node == node))
        .find(|forwarder| may_be(forwarder))
        .map(|forwarder| forwarder.spec.node.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::state::paths::Place;

    #[test]
    fn the_list_is_what_libcni_makes_the_plugins_input_from() {
        let place = Place {
            base: PathBuf::from("/run/lab"),
            is_privileged: true,
        };
        let directory = Directory::of(&place, "plant", "iot");
        let labels = BTreeMap::from([("app".to_owned(), "sensor".to_owned())]);
        let name = network("plant", "iot");
        let list = conflist(&directory, &name, ("n1", Some("1.1.0")), &labels);
        assert_eq!(
            list["plugins"][0]["args"]["cni"]["labels"][0]["value"],
            "sensor"
        );
        // libcni adds name and version of the list to the plugin's own object.
        let mut injected = list["plugins"][0].clone();
        injected["name"] = list["name"].clone();
        injected["cniVersion"] = list["cniVersion"].clone();
        assert_eq!(injected, plugin_config(&directory, &name, "n1", &labels));
        assert!(list["cniVersions"].is_null(), "one version was asked for");
        let for_all = conflist(&directory, &name, ("n1", None), &labels);
        assert_eq!(for_all["cniVersion"], "0.4.0");
        assert_eq!(for_all["cniVersions"], json!(CNI_VERSIONS));
    }
}
