//! Two replicas, one of which hears late over one watch: a proxy holds it back.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use e2e::{ApiServer, ensure, eventually};
use futures::StreamExt;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

use crate::bed::{Bed, SOON, ring};
use crate::chaos::put_pod;
use crate::cluster::{Kind, NAMESPACE, text};
use crate::snapshot::{names, settled};
use crate::steady::RECONCILED;

/// Passes everything on to an API server, but keeps watches of one kind waiting.
struct Proxy {
    kubeconfig: PathBuf,
    /// Plural name of the kind whose watches wait; empty: none.
    held: watch::Sender<&'static str>,
    _runtime: Runtime,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    held: watch::Receiver<&'static str>,
}

impl Proxy {
    fn start(server: &ApiServer) -> Result<Proxy> {
        let runtime = Runtime::new()?;
        let file = Kubeconfig::read_from(server.kubeconfig())?;
        let (held, hold) = watch::channel("");
        let address = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await?;
            let shared = Shared {
                client: Client::try_from(config)?,
                held: hold,
            };
            let router = Router::new().fallback(pass).with_state(shared);
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            tokio::spawn(async move { axum::serve(listener, router).await });
            Ok::<_, anyhow::Error>(address)
        })?;
        let kubeconfig = server.folder().join("kubeconfig-proxy");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "late",
            "clusters": [{"name": "late", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "late", "user": {}}],
            "contexts": [{"name": "late", "context": {"cluster": "late", "user": "late"}}],
        });
        fs::write(&kubeconfig, config.to_string())?;
        Ok(Proxy {
            kubeconfig,
            held,
            _runtime: runtime,
        })
    }
}

async fn pass(State(shared): State<Shared>, request: Request) -> Response {
    match forward(shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn forward(shared: Shared, request: Request) -> Result<Response> {
    let (asked, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    let is_watch = asked
        .uri
        .query()
        .is_some_and(|query| query.contains("watch="));
    let kind = asked
        .uri
        .path()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let uri = asked.uri.path_and_query().context("a path")?.as_str();
    let mut passed = axum::http::Request::builder().method(asked.method).uri(uri);
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if let Some(value) = asked.headers.get(&name) {
            passed = passed.header(name, value);
        }
    }
    let passed = passed.body(kube::client::Body::from(body.to_vec()))?;
    let (answer, body) = shared.client.send(passed).await?.into_parts();
    let chunks = Body::new(body).into_data_stream();
    let chunks = chunks.then(move |chunk| {
        let (mut held, kind) = (shared.held.clone(), kind.clone());
        async move {
            // Without a sender the test is over.
            let _ = held.wait_for(|held| !is_watch || *held != kind).await;
            chunk
        }
    });
    let mut response = Body::from_stream(chunks).into_response();
    *response.status_mut() = answer.status;
    if let Some(value) = answer.headers.get(header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, value.clone());
    }
    Ok(response)
}

pub(crate) fn one_watch_is_held_back() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 3)?;
    let proxy = Proxy::start(&bed.server)?;
    bed.replica(&[])?;
    bed.replica_as(&proxy.kubeconfig, &["--resync=1"])?;
    let spec = |weight: u32| {
        let mut spec = ring(&[0, 1, 2]);
        let selector = json!({"matchLabels": {"app": "app-1"}});
        spec["apps"] = json!([{"name": "app-1", "podSelector": selector}]);
        spec["links"] = json!([{"a": "f0", "b": "f1", "weight": weight}]);
        spec
    };
    bed.apply("t", &spec(1))?;
    settled(&mut bed, &names(["t"]))?;

    // A pod of which the second replica does not hear: what the first one makes of it stays.
    let before = generation(&bed, "t.f0")?;
    proxy.held.send_replace("pods");
    put_pod(&bed, "pod-x", 0)?;
    written(&bed, before, |forwarder| {
        let apps = forwarder["spec"]["apps"].as_array();
        apps.into_iter()
            .flatten()
            .any(|app| app["attached"] == true)
    })?;
    proxy.held.send_replace("");
    settled(&mut bed, &names(["t"]))?;
    let now = generation(&bed, "t.f0")?;
    ensure(now == before + 1, || {
        format!("written {} times", now - before)
    })?;

    // An edit of which it does not hear.
    proxy.held.send_replace("microservicetopologies");
    bed.apply("t", &spec(7))?;
    written(&bed, now, |forwarder| {
        let links = forwarder["spec"]["links"].as_array();
        links.into_iter().flatten().any(|link| link["weight"] == 7)
    })?;
    proxy.held.send_replace("");
    settled(&mut bed, &names(["t"]))?;
    let last = generation(&bed, "t.f0")?;
    ensure(last == now + 1, || format!("written {} times", last - now))
}

/// Waits until the Forwarder is as `is_done` wants it, and the second replica has looked at it several times
/// since: it is still the first write after `before`.
fn written(bed: &Bed, before: u64, is_done: impl Fn(&Value) -> bool) -> Result<()> {
    let object = "t.f0";
    eventually("the first replica has written it", SOON, || {
        let forwarder = bed.cluster.get(Kind::Forwarder, NAMESPACE, object)?;
        let is_done = forwarder.as_ref().is_some_and(&is_done);
        ensure(is_done, || format!("{forwarder:?}"))
    })
    .map_err(|error| bed.explain(error))?;
    let looks = bed.replicas[1].metric(RECONCILED)?;
    eventually("the second replica has looked again", SOON, || {
        let now = bed.replicas[1].metric(RECONCILED)?;
        ensure(now >= looks + 3.0, || format!("{} looks", now - looks))
    })?;
    let forwarder = bed.cluster.get(Kind::Forwarder, NAMESPACE, object)?;
    let forwarder = forwarder.context("it is there")?;
    ensure(is_done(&forwarder), || {
        format!("undone: {}", forwarder["spec"])
    })?;
    let now = generation(bed, object)?;
    ensure(now == before + 1, || {
        format!("written {} times", now - before)
    })
}

fn generation(bed: &Bed, object: &str) -> Result<u64> {
    let forwarder = bed.cluster.get(Kind::Forwarder, NAMESPACE, object)?;
    let forwarder = forwarder.with_context(|| format!("no {object}"))?;
    let generation = forwarder["metadata"]["generation"].as_u64();
    generation.with_context(|| text(&forwarder, "/metadata/name").to_owned())
}
