//! Connection table: who is admitted, and who has to go for it. Pure.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::network;

/// Peers that share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Processes of this host, such as the kubelet where the server is in the host's network. The kernel takes no
    /// packet from elsewhere with such a source.
    Host,
    /// The network of a remote address.
    Remote(IpAddr),
}

impl Peer {
    /// The peer of a connection between these two addresses.
    pub(super) fn of(remote: SocketAddr, local: Option<SocketAddr>) -> Peer {
        let address = remote.ip().to_canonical();
        let is_own = local.is_some_and(|local| local.ip().to_canonical() == address);
        match address {
            address if is_own || address.is_loopback() => Peer::Host,
            address => Peer::Remote(network(address)),
        }
    }
}

/// State of a connection, the first to be evicted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// No request has come on it.
    Silent,
    /// Between two requests.
    Idle,
    /// A request is being answered.
    Busy,
}

/// Identifier of a connection, never used again.
pub(super) type Id = u64;

#[derive(Debug)]
struct Connection {
    peer: Peer,
    state: State,
    since: Instant,
    /// Dropped when the connection is evicted.
    _evict: oneshot::Sender<()>,
}

/// Connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    most_of_peer: usize,
    next: Id,
    open: BTreeMap<Id, Connection>,
}

impl Connections {
    /// None so far; at most `most` of remote peers, and at most `most_of_peer` of each peer.
    pub(super) fn new(most: usize, most_of_peer: usize) -> Connections {
        Connections {
            most,
            most_of_peer,
            next: 0,
            open: BTreeMap::new(),
        }
    }

    /// Admits a connection. Where there is no room for it another one is evicted: of those that share the limit the
    /// one that has asked least, and of these the oldest.
    ///
    /// The receiver ends when the new connection is evicted in its turn.
    pub(super) fn admit(&mut self, peer: Peer, now: Instant) -> (Id, oneshot::Receiver<()>) {
        self.make_room(self.most_of_peer, |connection| connection.peer == peer);
        if peer != Peer::Host {
            self.make_room(self.most, |connection| connection.peer != Peer::Host);
        }
        let (id, (evict, evicted)) = (self.next, oneshot::channel());
        self.next += 1;
        let connection = Connection {
            peer,
            state: State::Silent,
            since: now,
            _evict: evict,
        };
        self.open.insert(id, connection);
        (id, evicted)
    }

    fn make_room(&mut self, most: usize, shares: impl Fn(&Connection) -> bool) {
        let sharing = self.open.iter().filter(|(_, one)| shares(one));
        let order = sharing.map(|(id, one)| (one.state, one.since, *id));
        let (count, first) = order.fold((0, None), |(count, first), one| {
            (
                count + 1,
                first.map_or(Some(one), |first| Some(one.min(first))),
            )
        });
        if let Some((_, _, id)) = first.filter(|_| count >= most) {
            self.open.remove(&id);
        }
    }

    /// Notes that a connection is in another state from `now` on.
    pub(super) fn set(&mut self, id: Id, state: State, now: Instant) {
        if let Some(connection) = self.open.get_mut(&id) {
            (connection.state, connection.since) = (state, now);
        }
    }

    /// Notes the end of a connection.
    pub(super) fn remove(&mut self, id: Id) {
        self.open.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn remote(last: u8) -> Peer {
        Peer::Remote([192, 0, 2, last].into())
    }

    /// A table of three connections, two for each peer, and a clock.
    fn table() -> (Connections, impl FnMut() -> Instant) {
        let mut now = Instant::now();
        let clock = move || {
            now += Duration::from_secs(1);
            now
        };
        (Connections::new(3, 2), clock)
    }

    fn is_evicted(evicted: &mut oneshot::Receiver<()>) -> bool {
        evicted.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_oldest_silent_one_goes_before_the_idle_and_those_before_the_busy() {
        let (mut table, mut clock) = table();
        let mut open = [1, 2, 3].map(|peer| table.admit(remote(peer), clock()));
        table.set(open[0].0, State::Busy, clock());
        table.set(open[2].0, State::Idle, clock());
        let mut left: Vec<bool> = Vec::new();
        for (peer, expected) in [(4, [false, true, false]), (5, [false, true, false])] {
            let (id, evicted) = table.admit(remote(peer), clock());
            let found = open.each_mut().map(|(_, evicted)| is_evicted(evicted));
            assert_eq!(found, expected, "{peer}");
            // The newcomer asks at once: it is no longer the first to go.
            table.set(id, State::Busy, clock());
            drop(evicted);
            left.extend(found);
            if peer == 4 {
                table.remove(id);
            }
        }
        // Nobody idle is left but the third.
        table.admit(remote(6), clock());
        assert!(is_evicted(&mut open[2].1) && !is_evicted(&mut open[0].1));
    }

    #[test]
    fn where_all_are_busy_the_oldest_request_goes() {
        let (mut table, mut clock) = table();
        let mut open = [1, 2, 3].map(|peer| table.admit(remote(peer), clock()));
        for at in [2, 0, 1] {
            table.set(open[at].0, State::Busy, clock());
        }
        table.admit(remote(4), clock());
        let found = open.each_mut().map(|(_, evicted)| is_evicted(evicted));
        assert_eq!(found, [false, false, true]);
    }

    #[test]
    fn one_peer_evicts_its_own_alone() {
        let (mut table, mut clock) = table();
        let (_, mut other) = table.admit(remote(1), clock());
        let mut own = [(); 3].map(|()| table.admit(remote(2), clock()).1);
        assert!(!is_evicted(&mut other));
        assert_eq!(own.each_mut().map(is_evicted), [true, false, false]);
    }

    #[test]
    fn remote_peers_never_evict_the_hosts_own() {
        let (mut table, mut clock) = table();
        let (_, mut own) = table.admit(Peer::Host, clock());
        for peer in 1..100 {
            table.admit(remote(peer), clock());
        }
        assert!(!is_evicted(&mut own));
        assert_eq!(table.open.len(), 4);
        for _ in 0..2 {
            table.admit(Peer::Host, clock());
        }
        assert!(is_evicted(&mut own), "it has a limit as well");
        assert_eq!(table.open.len(), 5);
    }

    #[test]
    fn peers_are_told_apart_by_what_one_of_them_can_choose() {
        let of = |remote: &str, local: &str| {
            let [remote, local] = [remote, local].map(|it| it.parse().expect("an address"));
            Peer::of(remote, Some(local))
        };
        assert_eq!(of("192.0.2.1:1", "192.0.2.1:80"), Peer::Host);
        assert_eq!(of("127.0.0.1:1", "127.0.0.1:80"), Peer::Host);
        assert_eq!(of("[::ffff:127.0.0.1]:1", "[::]:80"), Peer::Host);
        assert_eq!(of("[::ffff:192.0.2.1]:1", "[::]:80"), remote(1));
        assert_eq!(of("192.0.2.1:1", "192.0.2.9:80"), remote(1));
        let network = |address| of(address, "[2001:db8:9::1]:80");
        assert_eq!(network("[2001:db8::1]:1"), network("[2001:db8::ffff:1]:2"));
        assert_ne!(network("[2001:db8::1]:1"), network("[2001:db8:0:1::1]:1"));
    }
}
