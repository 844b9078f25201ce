//! Underlay addresses of the node, with the MTU of their interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::netlink::Socket;
use dataplane::underlay::observe;
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

/// Sends the addresses of the node's object to the engine, now and after each change; never ends. `views` is the desired state.
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
            let asked = asked(node, &views.borrow_and_update());
            if let Some([own, peers]) = asked.clone() {
                let observe = move || observe(&mut Socket::open()?, &own, &peers);
                let seen = tokio::task::spawn_blocking(observe).await??;
                if known.as_ref() != Some(&seen) {
                    tracing::info!(addresses = seen.len(), "underlay addresses changed");
                    *known = Some(seen.clone());
                    mailbox.tell(|pending| pending.underlay = Some(seen));
                }
            }
            loop {
                tokio::select! {
                    message = messages.next() => match message {
                        Some(_) => break,
                        None => return Ok(()),
                    },
                    changed = views.changed() => {
                        changed?;
                        if self::asked(node, &views.borrow_and_update()) != asked {
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

/// Addresses of this node and of all others; none before this node's object is known: its MTU would be a wrong one at first.
fn asked(node: &str, snapshot: &Snapshot) -> Option<[BTreeSet<IpAddr>; 2]> {
    let of = |is_own| {
        let nodes = snapshot.nodes.iter();
        let nodes = nodes.filter(|(name, _)| (*name == node) == is_own);
        nodes
            .flat_map(|(_, node)| node.internal_addresses())
            .collect()
    };
    let is_known = snapshot.is_complete || snapshot.nodes.contains_key(node);
    is_known.then(|| [of(true), of(false)])
}
