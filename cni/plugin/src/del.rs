//! DEL: whatever is there is removed, whatever is not is fine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni::agent::{DEFAULT_SOCKET, DEFAULT_STATE_DIR, Reply, Request};
use cni::error::{Code, Error};
use cni::queue::{self, Record};
use cni::request::Container;
use dataplane::attachment::unwire_pod;
use dataplane::netns::Netns;

use crate::node::{Node, unexpected};
use crate::{log, pod};

/// Every DEL ends within a second, also when the node does not answer.
const DEADLINE: Duration = Duration::from_millis(800);

/// Detaches a container. The interface goes first, then the node is told: so the address is free
/// only once nothing holds it.
///
/// # Errors
/// [`Code::TryAgainLater`] in one case: the node is away *and* that cannot be written down.
pub(crate) fn del(container: &Container) -> Result<(), Error> {
    if let Some(netns) = &container.netns {
        unwire(container, netns);
    }
    let (config, key) = (&container.config, &container.key);
    let Err(error) = release(container) else {
        return Ok(());
    };
    log(format!("{error}; the release is kept for the node"));
    let netns = container
        .netns
        .as_ref()
        .map(|path| path.display().to_string());
    let state_dir = config
        .state_dir()
        .unwrap_or_else(|_| PathBuf::from(DEFAULT_STATE_DIR));
    queue::push(
        &state_dir,
        &Record {
            key: key.clone(),
            netns,
            pod: container.pod.clone(),
        },
    )
    .map_err(|error| {
        let details = format!(
            "no node, and failed to write to {}: {error}",
            state_dir.display()
        );
        Error::new(Code::TryAgainLater, details)
    })
}

/// Removes the container's interfaces. What fails here the node does from its side.
fn unwire(container: &Container, path: &Path) {
    let netns = match Netns::open_path(path) {
        Ok(netns) => netns,
        // Gone, and its interfaces with it.
        Err(_) => return,
    };
    if let Err(error) = unwire_pod(&netns, &pod::owner(&container.key)) {
        log(pod::chain(&error));
    }
}

fn release(container: &Container) -> Result<(), Error> {
    let socket = container
        .config
        .socket()
        .unwrap_or_else(|_| PathBuf::from(DEFAULT_SOCKET));
    let netns = container.netns.as_ref().filter(|path| path.exists());
    let request = Request::Release {
        key: container.key.clone(),
        netns: netns.map(|path| path.display().to_string()),
        pod: container.pod.clone(),
    };
    match Node::connect(&socket, Instant::now() + DEADLINE)?.ask(&request)? {
        Reply::Released(_) => Ok(()),
        reply => Err(unexpected(&reply)),
    }
}
