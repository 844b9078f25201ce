//! A way to the API server on which somebody else may answer.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::watch;

/// Request to the API server.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) uri: String,
}

/// Answer in place of the API server's own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Status, `Retry-After`, body.
    Says(u16, Option<u32>, &'static str),
    /// Nothing, and the connection stays.
    Never,
}

type Rule = Box<dyn Fn(&Asked) -> Option<Answer> + Send>;

/// Passes requests on, as an administrator, where no rule answers them.
pub(crate) struct Warden {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    client: kube::Client,
    rule: Mutex<Option<Rule>>,
    asked: Mutex<Vec<Asked>>,
    cuts: watch::Sender<u64>,
}

impl Warden {
    /// One before the API server that `kubeconfig` leads to.
    pub(crate) fn before(kubeconfig: &Path) -> Result<Warden> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let file = Kubeconfig::read_from(kubeconfig)?;
        let shared = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(file, &options).await?;
            anyhow::Ok(Arc::new(Shared {
                client: kube::Client::try_from(config)?,
                rule: Mutex::default(),
                asked: Mutex::default(),
                cuts: watch::Sender::default(),
            }))
        })?;
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        // It answers until the test's process ends.
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).context("a port")?;
                anyhow::Ok(axum::serve(listener, router).await?)
            })
        });
        Ok(Warden { port, shared })
    }

    /// A kubeconfig that leads to it, in a directory.
    pub(crate) fn kubeconfig(&self, directory: &Path) -> Result<PathBuf> {
        let server = format!("http://127.0.0.1:{}", self.port);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": server}}],
            "contexts": [{"name": "it", "context": {"cluster": "it"}}],
        });
        let path = directory.join(format!("kubeconfig-{}", self.port));
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// From now on what `rule` answers is answered, and every answer that is under way ends.
    pub(crate) fn answer(&self, rule: impl Fn(&Asked) -> Option<Answer> + Send + 'static) {
        let mut ruled = self.shared.rule();
        *ruled = Some(Box::new(rule));
        self.shared.asked().clear();
        drop(ruled);
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on the API server answers again.
    pub(crate) fn pass(&self) {
        *self.shared.rule() = None;
    }

    /// Requests since the rule was set, oldest first.
    pub(crate) fn asked(&self, which: impl Fn(&Asked) -> bool) -> Vec<Asked> {
        let all = self.shared.asked();
        all.iter().filter(|asked| which(asked)).cloned().collect()
    }
}

impl Asked {
    /// True for a watch of all of these.
    pub(crate) fn is_watch_of(&self, plural: &str) -> bool {
        self.uri.contains("watch=true") && self.uri.contains(&format!("/{plural}?"))
    }

    /// True for a list of all of these, streamed or not.
    pub(crate) fn is_list_of(&self, plural: &str) -> bool {
        let is_streamed = self.uri.contains("sendInitialEvents=true");
        let is_list = is_streamed || !self.uri.contains("watch=true");
        is_list && self.uri.contains(&format!("/{plural}?"))
    }

    /// True when the request accepts a state of any age.
    pub(crate) fn is_for_any_age(&self) -> bool {
        self.uri
            .split(['?', '&'])
            .any(|word| word == "resourceVersion=0")
    }

    pub(crate) fn is_patch(&self) -> bool {
        self.method == "PATCH"
    }
}

impl Shared {
    /// Answer to a request. Requests before the rule are not counted.
    fn note(&self, asked: Asked) -> Option<Answer> {
        let rule = self.rule();
        let answer = rule.as_ref().and_then(|rule| rule(&asked));
        self.asked().push(asked);
        answer
    }

    fn rule(&self) -> MutexGuard<'_, Option<Rule>> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let asked = Asked {
        at: Instant::now(),
        method: request.method().to_string(),
        uri: request.uri().to_string(),
    };
    let mut cuts = shared.cuts.subscribe();
    let ruled = shared.note(asked);
    match ruled {
        None => {}
        Some(Answer::Never) => return std::future::pending().await,
        Some(Answer::Says(status, seconds, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            let mut response = (status, body).into_response();
            if let Some(seconds) = seconds {
                let headers = response.headers_mut();
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            return response;
        }
    }
    let (parts, body) = request.into_parts();
    // Nothing is cut off: whoever asks is a node.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let request = Request::from_parts(parts, body.to_vec().into());
    match shared.client.send(request).await {
        Ok(response) => response.map(|body| {
            let cut = async move { drop(cuts.changed().await) };
            let stream = Body::new(body).into_data_stream();
            Body::from_stream(stream.take_until(Box::pin(cut)))
        }),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
