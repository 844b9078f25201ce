//! A replica: what the operator does with a plan, call by call. It sees each kind of object only up to
//! some revision, can be stopped after any call for any time, and can be dropped there.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crds::allocation::VniRangeSpec;
use operator::plan::{Delete, Lag, Observed, Plan, plan};

use super::{
    server::{Refused, Seen, Server, range_name},
    view::{look_at_allocation, look_at_forwarders, parts},
};

type Shared = Rc<RefCell<Server>>;

/// One process of the operator.
pub(crate) struct Replica {
    server: Shared,
    /// State that its watches have delivered.
    pub(crate) seen: Seen,
    pass: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Replica {
    pub(crate) fn new(server: Shared) -> Replica {
        let seen = [server.borrow().revision(); 6];
        Replica {
            server,
            seen,
            pass: None,
        }
    }

    /// Its watch of one kind tells it of some more changes.
    pub(crate) fn hear(&mut self, kind: usize, changes: usize) {
        let newest = self.server.borrow().revision();
        let seen = &mut self.seen[kind % 6];
        *seen = (*seen + changes).min(newest);
    }

    /// Its watches are up to date.
    pub(crate) fn hear_all(&mut self) {
        self.seen = [self.server.borrow().revision(); 6];
    }

    /// Starts on a topology, if it is not on its way with one.
    pub(crate) fn start(&mut self, topology: &str) {
        if self.pass.is_none() {
            let (server, seen, topology) =
                (Rc::clone(&self.server), self.seen, topology.to_owned());
            self.pass = Some(Box::pin(async move {
                let observed = server.borrow().observed(&seen, &topology);
                let alive = observed.as_ref().map(|observed| observed.uid.clone());
                if let Some(observed) = observed {
                    carry_out(&server, observed).await;
                }
                sweep(&server, &seen, &topology, alive.as_deref()).await;
            }));
        }
    }

    /// Makes one more call.
    pub(crate) fn step(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Some(pass) = &mut self.pass
            && pass.as_mut().poll(&mut context).is_ready()
        {
            self.pass = None;
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.pass.is_some()
    }

    /// It dies where it is, and a new process starts, which lists everything.
    pub(crate) fn kill(&mut self) {
        self.pass = None;
        self.hear_all();
    }
}

/// Lets all others act before the next call.
async fn call() {
    let mut is_first = true;
    std::future::poll_fn(|_| {
        if std::mem::take(&mut is_first) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

/// One pass over one topology.
async fn carry_out(server: &Shared, mut observed: Observed) {
    let name = observed.topology.metadata.name.clone();
    let first = plan(&observed);
    if matches!(first.lag, Some(Lag::Watches(_))) {
        return;
    }
    for forwarder in &first.create {
        call().await;
        // That it exists is as good.
        let _ = server
            .borrow_mut()
            .create_forwarder(&name, &observed.uid, forwarder);
    }
    claim(server, &mut observed, &first).await;
    let Some(plan) = (if first.needs_fresh_look() {
        look(server, &mut observed, &first).await
    } else {
        Some(first)
    }) else {
        return;
    };
    for fill in &plan.fill {
        call().await;
        let _ = server.borrow_mut().fill_forwarder(fill);
    }
    for delete in &plan.delete {
        call().await;
        let _ = server.borrow_mut().delete_forwarder(delete, false);
    }
    for delete in plan.delete_allocation.iter().chain(&plan.delete_shards) {
        call().await;
        let _ = server.borrow_mut().delete_allocation(delete);
    }
}

async fn claim(server: &Shared, observed: &mut Observed, plan: &Plan) {
    let mut missing = plan.claim_count;
    for first in &plan.claim {
        if missing == 0 {
            break;
        }
        let range = VniRangeSpec {
            first: *first,
            namespace: "default".to_owned(),
            topology: observed.topology.metadata.name.clone(),
            uid: observed.uid.clone(),
        };
        call().await;
        let claimed = server.borrow_mut().claim(range);
        let is_ours = match claimed {
            Ok(()) => true,
            Err(_) => {
                call().await;
                let ranges = Rc::clone(&server.borrow().now().ranges);
                ranges
                    .get(&range_name(*first))
                    .is_some_and(|range| range.owner == observed.uid)
            }
        };
        if is_ours {
            missing -= 1;
            observed.ranges.push(*first);
            observed.ranges.sort_unstable();
        }
    }
}

/// A fresh look: allocation, Forwarders, nodes, topology, in this order; then the allocation is written.
/// `None` when the topology is not the one that was planned for.
async fn look(server: &Shared, observed: &mut Observed, first: &Plan) -> Option<Plan> {
    call().await;
    look_at_allocation(observed, server.borrow().now());
    call().await;
    look_at_forwarders(observed, server.borrow().now());
    for node in &first.doubtful_nodes {
        call().await;
        let found = server
            .borrow()
            .now()
            .nodes
            .get(node)
            .map(|object| object.spec.clone());
        let nodes = Arc::make_mut(&mut observed.nodes);
        nodes.retain(|known| known.name != *node);
        nodes.extend(found);
    }
    call().await;
    let topology = server
        .borrow()
        .now()
        .topologies
        .get(&observed.topology.metadata.name)
        .cloned()?;
    if topology.uid != observed.uid {
        return None;
    }
    (observed.topology, observed.generation) = (topology.spec.into(), topology.number as i64);
    observed.is_live = true;
    let mut plan = plan(observed);
    // A Forwarder that is moved or deleted only now was not looked at.
    if !plan
        .doubtful_nodes
        .iter()
        .all(|node| first.doubtful_nodes.contains(node))
    {
        return None;
    }
    if let Some(next) = plan.allocation.take() {
        call().await;
        let version = observed
            .allocation
            .as_ref()
            .map(|known| known.resource_version.as_str());
        let (name, uid) = (&observed.topology.metadata.name, &observed.uid);
        let (head, shards) = parts(observed, &next);
        for shard in &shards {
            server.borrow_mut().create_shard(uid, shard);
            call().await;
        }
        let basis = observed.planned_from();
        let written = server
            .borrow_mut()
            .write_allocation(name, uid, version, head, basis);
        written.ok()?;
        // What was written is what is persisted: the answer of the call says so.
        look_at_allocation(observed, server.borrow().now());
        plan = operator::plan::plan(observed);
    }
    Some(plan)
}

/// Frees what a topology that is gone has claimed, after a live look at all that could still use it.
async fn sweep(server: &Shared, seen: &Seen, topology: &str, alive: Option<&str>) {
    let ranges = Rc::clone(&server.borrow().history[seen[3]].ranges);
    let mut by_owner: BTreeMap<String, Vec<Delete>> = BTreeMap::new();
    let is_lost = |range: &VniRangeSpec| range.topology == topology && alive != Some(&range.uid);
    for (name, range) in ranges.iter().filter(|(_, range)| is_lost(&range.spec)) {
        let delete = Delete {
            object: name.clone(),
            uid: range.uid.clone(),
        };
        by_owner
            .entry(range.owner.clone())
            .or_default()
            .push(delete);
    }
    for (owner, deletes) in by_owner {
        call().await;
        let state = server.borrow().now().clone();
        if state
            .topologies
            .get(topology)
            .is_some_and(|object| object.uid == owner)
        {
            continue;
        }
        call().await;
        let state = server.borrow().now().clone();
        if state
            .allocations
            .get(topology)
            .is_some_and(|object| object.owner == owner)
        {
            continue;
        }
        call().await;
        let state = server.borrow().now().clone();
        if state
            .forwarders
            .values()
            .any(|object| object.owner == owner)
        {
            continue;
        }
        for delete in deletes {
            call().await;
            let _: Result<(), Refused> = server.borrow_mut().delete_range(&delete);
        }
    }
}
