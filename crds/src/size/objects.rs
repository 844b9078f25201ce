//! Sizes of Forwarder objects that are there.

use super::{
    OBJECT,
    parts::{details, end},
};
use crate::ForwarderSpec;

/// JSON of the Forwarder object with this spec, about, in bytes.
pub fn stored(spec: &ForwarderSpec) -> usize {
    let namespaces: usize = spec.allowed_namespaces.iter().map(|it| it.len() + 3).sum();
    let app = |external: usize, name: &str| 200 + name.len() + 46 * external;
    let apps = spec.apps.iter();
    let apps: usize = apps.map(|it| app(it.external.len(), &it.name)).sum();
    let ends = spec.links.iter().map(|it| (&*it.peer, it.peer_node.len()));
    let links: usize = ends
        .map(|(peer, node)| end(&spec.name, peer, node).stored)
        .sum();
    OBJECT.stored
        + details(spec.links.len()).stored
        + namespaces
        + 46 * spec.external.len()
        + apps
        + links
}
