//! The CNI network configuration of a lab, for our own runner and for any other runtime.

use std::collections::BTreeMap;

use crds::Forwarder;
use serde_json::{Value, json};

use super::state::Directory;

/// The version of the CNI specification that is asked for.
const CNI_VERSION: &str = "1.1.0";

/// The name of the CNI network; allowed are `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub(crate) fn network(namespace: &str, topology: &str) -> String {
    format!("beemesh-lab-{namespace}.{topology}")
}

/// A network configuration list with which the daemon of `node` attaches a container that has
/// `labels`, given as `args.cni.labels` (CNI conventions).
pub(crate) fn conflist(
    directory: &Directory,
    network: &str,
    node: &str,
    labels: &BTreeMap<String, String>,
) -> Value {
    json!({
        "cniVersion": CNI_VERSION,
        "name": network,
        "plugins": [plugin(directory, node, labels)],
    })
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
    use crate::lab::place::Place;

    #[test]
    fn the_list_is_what_libcni_makes_the_plugins_input_from() {
        let place = Place {
            base: PathBuf::from("/run/lab"),
            is_privileged: true,
        };
        let directory = Directory::of(&place, "plant", "iot");
        let labels = BTreeMap::from([("app".to_owned(), "sensor".to_owned())]);
        let name = network("plant", "iot");
        let list = conflist(&directory, &name, "n1", &labels);
        assert_eq!(
            list["plugins"][0]["args"]["cni"]["labels"][0]["value"],
            "sensor"
        );
        // libcni adds name and version of the list to the plugin's own object.
        let mut injected = list["plugins"][0].clone();
        injected["name"] = list["name"].clone();
        injected["cniVersion"] = list["cniVersion"].clone();
        assert_eq!(injected, plugin_config(&directory, &name, "n1", &labels));
    }
}
