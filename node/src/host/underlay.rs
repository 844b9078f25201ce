//! Underlay addresses of the node, with the MTU of their interfaces.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};

use crate::mailbox::Mailbox;

/// Debounce time of a burst of changes.
const SETTLE: Duration = Duration::from_millis(50);
/// Pause before a retry after an error.
const RETRY: Duration = Duration::from_secs(5);

/// Sends the node's addresses to the engine, now and after each change; never ends.
pub async fn watch(mailbox: Arc<Mailbox>) {
    let mut known = None;
    loop {
        if let Err(error) = follow(&mailbox, &mut known).await {
            tracing::warn!(%error, "underlay addresses not watched, retried");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(
    mailbox: &Mailbox,
    known: &mut Option<BTreeMap<IpAddr, u32>>,
) -> Result<(), rtnetlink::Error> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (connection, handle, mut messages) =
        new_multicast_connection(&groups).map_err(rtnetlink_error)?;
    let connection = tokio::spawn(connection);
    let result = async {
        loop {
            let seen = observe(&handle).await?;
            if known.as_ref() != Some(&seen) {
                tracing::info!(addresses = seen.len(), "underlay addresses changed");
                *known = Some(seen.clone());
                mailbox.tell(|pending| pending.underlay = Some(seen));
            }
            if messages.next().await.is_none() {
                return Ok(());
            }
            tokio::time::sleep(SETTLE).await;
            while messages.try_recv().is_ok() {}
        }
    };
    let result = result.await;
    connection.abort();
    result
}

fn rtnetlink_error(error: io::Error) -> rtnetlink::Error {
    rtnetlink::Error::NamespaceError(error.to_string())
}

/// MTU in bytes of each address' interface.
async fn observe(handle: &Handle) -> Result<BTreeMap<IpAddr, u32>, rtnetlink::Error> {
    let mut mtu_by_index = HashMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await? {
        let mtu = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            });
        mtu_by_index.insert(link.header.index, mtu.unwrap_or(1500));
    }
    let mut mtu_by_address = BTreeMap::new();
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        let address = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
        let mtu = mtu_by_index.get(&message.header.index);
        if let (Some(address), Some(mtu)) = (address, mtu) {
            mtu_by_address.insert(address, *mtu);
        }
    }
    Ok(mtu_by_address)
}
