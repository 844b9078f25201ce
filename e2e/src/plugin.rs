//! The plugin on a node, called as a container runtime calls it.

use anyhow::Result;
use e2e::Ran;
use e2e::cluster::Node;
use serde_json::{Value, json};

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) container: &'a str,
    /// A name that `ip netns exec` takes.
    pub(crate) netns: &'a str,
    pub(crate) interface: &'a str,
    /// `CNI_ARGS`.
    pub(crate) words: &'a str,
    pub(crate) config: &'a Value,
}

impl Call<'_> {
    /// A line of sh that makes the call `verb`; its answer goes to standard output.
    pub(crate) fn line(&self, verb: &str) -> String {
        let Self {
            container,
            netns,
            interface,
            words,
            config,
        } = self;
        format!(
            "printf %s '{config}' | CNI_COMMAND={verb} CNI_CONTAINERID={container} CNI_NETNS=/run/netns/{netns} \
             CNI_IFNAME={interface} CNI_ARGS='{words}' CNI_PATH=/opt/cni/bin /opt/cni/bin/beemesh-cni"
        )
    }

    pub(crate) fn run(&self, node: &Node, verb: &str) -> Result<Ran> {
        node.run(&self.line(verb))
    }
}

/// A configuration for who is no pod: it joins `topology` (`NAMESPACE/NAME`) as an instance of `app`.
pub(crate) fn joining(topology: &str, app: &str) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "outside", "type": "beemesh-cni",
        "args": {"cni": {"labels": [
            {"key": "beemesh.io/topologies", "value": topology}, {"key": "beemesh.io/app", "value": app},
        ]}},
    })
}
