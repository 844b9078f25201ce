use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crds::Forwarder;
use crds::forwarder::ForwarderSpec;
use hyper::body::{self, Bytes, Frame};
use hyper::{Request, Response};
use kube::client::Body;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::Service;

use super::store::{Declared, Feed, Item, Read, Update};
use super::*;
use crate::objects::pods::{News, NodePod, Told};
use crds::TopologyKey;

/// An API server that answers with this status, never what is asked of the namespace `mute`, and
/// without an end what is asked of `endless`.
struct Server {
    status: u16,
    asked: UnboundedSender<String>,
}

impl Service<Request<Body>> for Server {
    type Response = Response<Words>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Words>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let is_mute = path.contains("/namespaces/mute/");
        let is_endless = path.contains("/namespaces/endless/");
        let status = self.status;
        let _ = self.asked.send(path);
        Box::pin(async move {
            if is_mute {
                std::future::pending::<()>().await;
            }
            let status = if is_endless { 200 } else { status };
            let answer = Response::builder().status(status);
            Ok(answer.body(Words { is_endless }).unwrap())
        })
    }
}

/// Nothing, with or without an end.
struct Words {
    is_endless: bool,
}

impl body::Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_endless {
            return Poll::Pending;
        }
        Poll::Ready(None)
    }
}

/// State of a daemon, and the requests that its API server receives.
pub(super) fn shared(status: u16) -> (Arc<Shared>, UnboundedReceiver<String>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let health = Arc::<Health>::default();
    let (cache, tables) = Cache::open(directory.path(), "n1", Arc::clone(&health));
    let (asked, requests) = unbounded_channel();
    let shared = Shared {
        node: "n1".to_owned(),
        mailbox: Arc::default(),
        store: Mutex::new(Store::new(tables)),
        cache,
        reports: Reports::default(),
        tells: Tells::default(),
        health,
        pace: Arc::default(),
        networks_changed: Notify::new(),
        revisions: Revisions::default(),
        api: Api {
            client: Client::new(Server { status, asked }, "default"),
            handle: Handle::current(),
        },
    };
    (Arc::new(shared), requests, directory)
}

fn told(namespace: &str, uid: &str) -> Told {
    Told {
        namespace: namespace.to_owned(),
        name: "pod".to_owned(),
        uid: uid.to_owned(),
        news: News::NetworkStatus("[]".to_owned()),
    }
}

/// Waits; time that nobody uses passes at once.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(600), waited);
    waited.await.expect(what);
}

fn network() -> TopologyKey {
    network_in("plant")
}

fn network_in(namespace: &str) -> TopologyKey {
    TopologyKey {
        namespace: namespace.to_owned(),
        topology: "iot".to_owned(),
    }
}

const OWN: &str = "plant.iot.a";

/// A Forwarder of this node.
fn own() -> Update {
    Update::One(OWN.to_owned(), Read::Item(Item::Own(network())))
}

#[tokio::test(start_paused = true)]
async fn a_word_that_is_not_answered_keeps_nobody_waiting() {
    let (shared, mut asked, _directory) = shared(409);
    tokio::spawn(events::run(Arc::clone(&shared)));
    shared.tells.add(told("mute", "1"));
    shared.tells.add(told("plant", "2"));
    for namespace in ["mute", "plant", "mute"] {
        let path = asked.recv().await.unwrap();
        assert!(
            path.contains(&format!("/namespaces/{namespace}/")),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_and_is_said_by_now_fails_no_more() {
    let (shared, _asked, _directory) = shared(403);
    tokio::spawn(events::run(Arc::clone(&shared)));
    shared.tells.add(told("plant", "1"));
    let failing = || shared.health.all_failing();
    until("refused", || {
        failing() == ["network status of a pod in plant"]
    })
    .await;
    let mut pod = NodePod {
        network_status: Some("[]".to_owned()),
        ..NodePod::default()
    };
    pod.pod.uid = "1".to_owned();
    let read = Read::Item(Item::Pod(Arc::new(pod)));
    shared.take(&Feed::Pods, Update::One("1".to_owned(), read));
    until("forgotten", || failing().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_forwarder_that_is_gone_fails_no_more() {
    let (shared, _asked, _directory) = shared(403);
    let declared = Declared {
        forwarder: Arc::new(Forwarder::new("plant", ForwarderSpec::default())),
        generation: 1,
        status: None,
        version: 1,
    };
    shared.take(&Feed::Own, own());
    let listing = [(OWN.to_owned(), Read::Item(Item::Forwarder(declared)))];
    shared.take(&Feed::Network(network()), Update::Whole(listing.into()));
    tokio::spawn(reports::run(Arc::clone(&shared)));
    shared.reports.want(OWN, ForwarderStatus::default());
    let failing = || shared.health.all_failing();
    until("refused", || failing() == ["report of a forwarder"]).await;
    shared.take(&Feed::Own, Update::One(OWN.to_owned(), Read::Nothing));
    until("forgotten", || failing().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_wants_any_more_fails_no_more() {
    let (shared, _asked, _directory) = shared(403);
    shared.take(&Feed::Own, own());
    let client = shared.api.client.clone();
    tokio::spawn(watching::run(Arc::clone(&shared), client));
    let failing = || shared.health.all_failing();
    let what = "watch of forwarders of plant/iot".to_owned();
    until("refused", || failing().contains(&what)).await;
    shared.take(&Feed::Own, Update::One(OWN.to_owned(), Read::Nothing));
    until("forgotten", || !failing().contains(&what)).await;
    until("others are asked for", || failing().len() == 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_does_not_end_is_given_up_and_asked_for_again() {
    let (shared, mut asked, _directory) = shared(403);
    let read = Read::Item(Item::Own(network_in("endless")));
    shared.take(&Feed::Own, Update::One("endless.iot.a".to_owned(), read));
    let client = shared.api.client.clone();
    tokio::spawn(watching::run(Arc::clone(&shared), client));
    let what = "watch of forwarders of endless/iot".to_owned();
    let is_failing = || shared.health.all_failing().contains(&what);
    until("given up", is_failing).await;
    while asked.try_recv().is_ok() {}
    let again = async { while !asked.recv().await.unwrap().contains("/endless/") {} };
    let again = tokio::time::timeout(Duration::from_secs(600), again);
    again.await.expect("asked for again");
}
