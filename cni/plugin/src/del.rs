//! DEL: removes the interfaces of one attachment; absent ones are success.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni::error::{Code, Error};
use cni::node_protocol::{DEFAULT_SOCKET, DEFAULT_STATE_DIR, Reply, Request};
use cni::queue::{self, Record};
use cni::request::Container;
use dataplane::attachment::unwire_pod;
use dataplane::netns::Netns;

use crate::node::{Node, unexpected};
use crate::{log, pod};

/// Every DEL ends within a second, also when the node does not answer.
const DEADLINE: Duration = Duration::from_millis(800);

/// Detaches a container. The interface is removed first, then the lease is released, so the address is free
/// only once nothing holds it.
///
/// # Errors
/// [`Code::TryAgainLater`] in one case: the node does not answer, the DEL cannot be queued, *and* the
/// interface may still exist.
pub(crate) fn del(container: &Container) -> Result<(), Error> {
    let netns = container.netns.as_deref().and_then(open);
    let is_gone = netns.as_ref().is_none_or(|netns| unwire(container, netns));
    let (config, key) = (&container.config, &container.key);
    // Of a namespace that is there still: a path that leads elsewhere says nothing to the node either.
    let path = container.netns.as_ref().filter(|_| netns.is_some());
    let path = path.map(|path| path.display().to_string());
    let Err(error) = release(container, path.clone()) else {
        return Ok(());
    };
    log(format!("{error}; the release is kept for the node"));
    let state_dir = config
        .state_dir()
        .unwrap_or_else(|_| PathBuf::from(DEFAULT_STATE_DIR));
    let record = Record {
        key: key.clone(),
        netns: path,
        pod: container.pod.clone(),
    };
    let Err(error) = queue::push(&state_dir, &record) else {
        return Ok(());
    };
    let details = format!(
        "no node, and failed to write to {}: {error}",
        state_dir.display()
    );
    if is_gone {
        // The node frees the lease of a deleted namespace by itself, and other leases by the runtime's GC.
        log(details);
        return Ok(());
    }
    Err(Error::new(Code::TryAgainLater, details))
}

fn open(path: &Path) -> Option<Netns> {
    match pod::open_in_time(path) {
        Some(Ok(netns)) => Some(netns),
        // Gone, and its interfaces with it.
        Some(Err(_)) => None,
        None => {
            log(format!(
                "{}: no answer from its file system",
                path.display()
            ));
            None
        }
    }
}

/// Removes the container's interfaces; false when one may be left. What fails here the node does from its side.
fn unwire(container: &Container, netns: &Netns) -> bool {
    let unwired = unwire_pod(netns, &pod::owner(&container.key));
    unwired.inspect_err(|error| log(pod::chain(error))).is_ok()
}

fn release(container: &Container, netns: Option<String>) -> Result<(), Error> {
    let socket = container
        .config
        .socket()
        .unwrap_or_else(|_| PathBuf::from(DEFAULT_SOCKET));
    let request = Request::Release {
        key: container.key.clone(),
        netns,
        pod: container.pod.clone(),
    };
    match Node::connect(&socket, Instant::now() + DEADLINE)?.ask(&request)? {
        Reply::Released(_) => Ok(()),
        reply => Err(unexpected(&reply)),
    }
}
