//! Underlay addresses of the node, with the MTU of their interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::sync::watch;

use crate::mailbox::Mailbox;
use crate::objects::Snapshot;

/// Debounce time of a burst of changes.
const SETTLE: Duration = Duration::from_millis(50);
/// Pause before a retry after an error.
const RETRY: Duration = Duration::from_secs(5);
/// Interval of observations without an event: routes to peers raise none here.
const LOOK: Duration = Duration::from_secs(30);

/// Sends the node's addresses to the engine, now and after each change; never ends. `views` is the desired state.
pub async fn watch(node: String, mailbox: Arc<Mailbox>, mut views: watch::Receiver<Arc<Snapshot>>) {
    let mut known = None;
    loop {
        if let Err(error) = follow(&node, &mailbox, &mut views, &mut known).await {
            tracing::warn!(error, "underlay addresses not watched, retried");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(
    node: &str,
    mailbox: &Mailbox,
    views: &mut watch::Receiver<Arc<Snapshot>>,
    known: &mut Option<BTreeMap<IpAddr, u32>>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (connection, _handle, mut messages) = new_multicast_connection(&groups)?;
    let connection = tokio::spawn(connection);
    let result = async {
        loop {
            let peers = peers(node, &views.borrow_and_update());
            let asked = peers.clone();
            let seen = tokio::task::spawn_blocking(move || dataplane::underlay::observe(&asked));
            let seen = seen.await??;
            if known.as_ref() != Some(&seen) {
                tracing::info!(addresses = seen.len(), "underlay addresses changed");
                *known = Some(seen.clone());
                mailbox.tell(|pending| pending.underlay = Some(seen));
            }
            loop {
                tokio::select! {
                    message = messages.next() => match message {
                        Some(_) => break,
                        None => return Ok(()),
                    },
                    changed = views.changed() => {
                        changed?;
                        if self::peers(node, &views.borrow_and_update()) != peers {
                            break;
                        }
                    }
                    () = tokio::time::sleep(LOOK) => break,
                }
            }
            tokio::time::sleep(SETTLE).await;
            while messages.try_recv().is_ok() {}
        }
    };
    let result = result.await;
    connection.abort();
    result
}

/// Addresses of all other nodes.
fn peers(node: &str, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let others = snapshot.nodes.iter().filter(|(name, _)| *name != node);
    others
        .flat_map(|(_, object)| object.internal_addresses())
        .collect()
}
