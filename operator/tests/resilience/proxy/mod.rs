//! A proxy before the API server: it holds watches back, leaves requests without an answer, alters writes.

pub(crate) mod late;
pub(crate) mod slow;

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use e2e::ApiServer;
use futures::StreamExt;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

/// Passes on all that no rule is about.
pub(crate) struct Proxy {
    pub(crate) kubeconfig: PathBuf,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    _runtime: Runtime,
}

/// Exceptions; an empty text is about nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Plural name of the kind whose watches wait.
    pub(crate) held: &'static str,
    /// Parts of path and body of writes that are not answered.
    pub(crate) mute: [&'static str; 2],
    /// Part of the path of writes whose endpoints get another hostname.
    pub(crate) altered: &'static str,
}

#[derive(Debug, Default)]
struct Counts {
    /// Method and path of each write.
    writes: Mutex<Vec<String>>,
    /// Writes that wait for an answer that does not come.
    waiting: AtomicUsize,
    /// Such writes that were given up.
    given_up: AtomicUsize,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
}

/// A write without an answer, until its connection is closed.
struct Waiting(Arc<Counts>);

impl Waiting {
    fn new(counts: &Arc<Counts>) -> Waiting {
        counts.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(Arc::clone(counts))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

impl Proxy {
    pub(crate) fn start(server: &ApiServer) -> Result<Proxy> {
        let runtime = Runtime::new()?;
        let file = Kubeconfig::read_from(server.kubeconfig())?;
        let (rules, followed) = watch::channel(Rules::default());
        let counts = Arc::<Counts>::default();
        let address = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await?;
            let shared = Shared {
                client: Client::try_from(config)?,
                rules: followed,
                counts: Arc::clone(&counts),
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
            rules,
            counts,
            _runtime: runtime,
        })
    }

    pub(crate) fn rule(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }

    /// Writes with this part in their method and path.
    pub(crate) fn writes(&self, part: &str) -> usize {
        let writes = self.counts.writes.lock();
        let writes = writes.unwrap_or_else(PoisonError::into_inner);
        writes.iter().filter(|write| write.contains(part)).count()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.counts.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn given_up(&self) -> usize {
        self.counts.given_up.load(Ordering::SeqCst)
    }
}

async fn pass(State(shared): State<Shared>, request: Request) -> Response {
    match forward(shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

/// The body of a write, after the rules; never returns when it is not to be answered.
async fn ruled(shared: &Shared, path: &str, body: Vec<u8>) -> Vec<u8> {
    let rules = shared.rules.borrow().clone();
    let [of_path, of_body] = rules.mute;
    let is_mute = !of_path.is_empty()
        && path.contains(of_path)
        && String::from_utf8_lossy(&body).contains(of_body);
    if is_mute {
        let _waiting = Waiting::new(&shared.counts);
        std::future::pending::<()>().await;
    }
    if rules.altered.is_empty() || !path.contains(rules.altered) {
        return body;
    }
    let Ok(mut object) = serde_json::from_slice::<Value>(&body) else {
        return body;
    };
    for endpoint in object["endpoints"].as_array_mut().into_iter().flatten() {
        endpoint["hostname"] = json!("altered");
    }
    object.to_string().into_bytes()
}

async fn forward(shared: Shared, request: Request) -> Result<Response> {
    let (asked, body) = request.into_parts();
    let mut body = axum::body::to_bytes(body, usize::MAX).await?.to_vec();
    let query = asked.uri.query();
    let is_watch = query.is_some_and(|query| query.contains("watch="));
    let path = asked.uri.path().to_owned();
    let kind = path.rsplit('/').next().unwrap_or_default().to_owned();
    if asked.method != "GET" {
        let write = format!("{} {path}", asked.method);
        let writes = shared.counts.writes.lock();
        writes.unwrap_or_else(PoisonError::into_inner).push(write);
        body = ruled(&shared, &path, body).await;
    }
    let uri = asked.uri.path_and_query().context("a path")?.as_str();
    let mut passed = axum::http::Request::builder().method(asked.method).uri(uri);
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if let Some(value) = asked.headers.get(&name) {
            passed = passed.header(name, value);
        }
    }
    let passed = passed.body(kube::client::Body::from(body))?;
    let (answer, body) = shared.client.send(passed).await?.into_parts();
    let chunks = Body::new(body).into_data_stream();
    let chunks = chunks.then(move |chunk| {
        let (mut rules, kind) = (shared.rules.clone(), kind.clone());
        async move {
            // Without a sender the test is over.
            let _ = rules.wait_for(|it| !is_watch || it.held != kind).await;
            chunk
        }
    });
    let mut response = Body::from_stream(chunks).into_response();
    *response.status_mut() = answer.status;
    if let Some(value) = answer.headers.get(header::CONTENT_TYPE) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, value.clone());
    }
    Ok(response)
}
