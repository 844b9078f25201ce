//! ADD: claim, wire, confirm; undone as a whole when any of it fails.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni::config::Config;
use cni::error::{Code, Error};
use cni::known;
use cni::node_protocol::{Attachment, Claim, Key, Reply, Request};
use cni::queue::{self, Record};
use cni::request::Container;
use cni::result;
use dataplane::attachment::{unwire, wire};
use dataplane::netns::Netns;
use serde_json::Value;

use crate::node::{Failure, Node, unexpected};
use crate::{log, pod};

/// Timeout of the node's answer. Runtimes wait some 90 s.
const DEADLINE: Duration = Duration::from_secs(10);
/// Timeout of the abort after a failed wiring.
const UNDO_DEADLINE: Duration = Duration::from_secs(1);

/// Attaches a container and prints the result.
pub(crate) fn add(
    container: &Container,
    print: impl FnOnce(&Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let deadline = Instant::now() + DEADLINE;
    let (config, key) = (&container.config, &container.key);
    if let Some(wish) = container.wish() {
        let details = format!("{wish}: the topology gives addresses");
        return Err(Error::new(Code::UnsupportedField, details));
    }
    let path = container.netns.as_deref().unwrap_or(Path::new(""));
    let (netns, netns_id) = pod::open(path)?;
    let previous = config.prev_result.as_ref();
    let claim = Claim {
        key: key.clone(),
        netns: path.display().to_string(),
        netns_id,
        labels: config.labels()?,
        annotations: config.annotations(),
        pod: container.pod.clone(),
        chained: previous.is_some(),
        topology: config.topology()?,
    };
    // A result that cannot be written must not be found out after the wiring.
    let unchanged = result::added(config.version, previous, &[], &claim.netns)?;
    let (node, reply) = match ask(config, &claim, deadline) {
        // A node that hangs answers no more than one that is away.
        Err(Failure::Silence(error)) if known::passes(&config.state_dir()?, &claim) => {
            log(format!(
                "{error}; passed through: the pod is known not to be ours"
            ));
            return print(&unchanged);
        }
        asked => asked?,
    };
    let attachments = match reply {
        Reply::Claimed(attachments) => attachments,
        Reply::NotOurs if claim.chained => return print(&unchanged),
        Reply::NotOurs => {
            let details = format!("network {} has no place for it", key.network);
            return Err(Error::new(Code::NoTopology, details));
        }
        reply => return Err(unexpected(&reply)),
    };
    let mut undo = Undo {
        node,
        socket: config.socket()?,
        state_dir: config.state_dir()?,
        key,
        netns: &claim.netns,
        wired: Vec::new(),
        is_confirmed: false,
        is_done: false,
    };
    let result = result::added(config.version, previous, &attachments, &claim.netns)?;
    for attachment in &attachments {
        undo.wire(&netns, attachment)?;
    }
    match undo.node.ask(&Request::Confirm { key: key.clone() })? {
        Reply::Done => undo.is_confirmed = true,
        reply => return Err(unexpected(&reply)),
    }
    print(&result)?;
    undo.is_done = true;
    Ok(())
}

/// Claims the attachment from the node.
fn ask(config: &Config, claim: &Claim, deadline: Instant) -> Result<(Node, Reply), Failure> {
    let mut node = Node::connect(&config.socket()?, deadline)?;
    replay(&mut node, &config.state_dir()?, &claim.key)?;
    let reply = node.ask(&Request::Claim(claim.clone()))?;
    Ok((node, reply))
}

/// A DEL of this key that the node missed must not reach it after this ADD.
fn replay(node: &mut Node, state_dir: &Path, key: &Key) -> Result<(), Failure> {
    if !queue::path(state_dir, key).exists() {
        return Ok(());
    }
    match node.ask(&Request::Release {
        key: key.clone(),
        netns: None,
        pod: None,
    })? {
        Reply::Released(_) => queue::remove(state_dir, key).map_err(|error| {
            Error::new(Code::Io, format!("{}: {error}", state_dir.display())).into()
        }),
        reply => Err(unexpected(&reply).into()),
    }
}

/// Progress of an ADD, undone when dropped before `is_done`.
struct Undo<'a> {
    node: Node,
    socket: PathBuf,
    state_dir: PathBuf,
    key: &'a Key,
    netns: &'a str,
    wired: Vec<(Netns, &'a Attachment)>,
    is_confirmed: bool,
    is_done: bool,
}

impl<'a> Undo<'a> {
    fn wire(&mut self, netns: &Netns, attachment: &'a Attachment) -> Result<(), Error> {
        let path = Path::new(&attachment.forwarder_netns);
        // The node moves Forwarders; a namespace that is gone now is one that it knows of soon.
        let forwarder = Netns::open_path(path)
            .map_err(|error| Error::new(Code::TryAgainLater, pod::chain(&error)))?;
        wire(netns, &forwarder, &pod::attachment(self.key, attachment)?)
            .map_err(|error| pod::wiring(&error))?;
        self.wired.push((forwarder, attachment));
        Ok(())
    }

    fn tell(&mut self) -> Result<(), Error> {
        let (key, netns) = (self.key.clone(), Some(self.netns.to_owned()));
        let request = match self.is_confirmed {
            // Of this key alone: what the node attached by itself stays.
            true => Request::Release {
                key,
                netns,
                pod: None,
            },
            false => Request::Abort { key },
        };
        self.node.set_deadline(Instant::now() + UNDO_DEADLINE);
        self.node.ask(&request).or_else(|_| {
            // The connection may be what failed.
            let mut node = Node::connect(&self.socket, Instant::now() + UNDO_DEADLINE)?;
            node.ask(&request)
        })?;
        Ok(())
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        for (forwarder, attachment) in &self.wired {
            let (name, alias) = (&attachment.forwarder_interface, &attachment.alias);
            if let Err(error) = unwire(forwarder, name, alias) {
                log(pod::chain(&error));
            }
        }
        if let Err(error) = self.tell() {
            log(&error);
            let record = Record {
                key: self.key.clone(),
                netns: Some(self.netns.to_owned()),
                pod: None,
            };
            if let Err(error) = queue::push(&self.state_dir, &record) {
                log(format!(
                    "failed to queue the release in {}: {error}",
                    self.state_dir.display()
                ));
            }
        }
    }
}
