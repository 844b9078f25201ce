//! `beemesh-operator check URL...`: readiness check of a running operator, for `helm test` in the operator's own image.

use std::time::Duration;

use axum::http::{Request, Uri, uri::Parts};
use clap::Args;
use kube::{Client, Config};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Timeout of one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// URLs and timeout of a readiness check.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// URLs that must answer with success, such as `http://NAME.NAMESPACE.svc:8080/readyz`.
    /// Certificates are not verified.
    #[arg(required = true)]
    pub urls: Vec<Uri>,
    /// Timeout in seconds.
    #[arg(long, default_value = "60", value_parser = crate::parse::seconds)]
    pub timeout: Duration,
}

/// URL without a successful answer, and the reason.
#[derive(Debug, Error)]
#[error("{url}: {reason}")]
pub struct NoAnswer {
    /// URL.
    pub url: Uri,
    /// Result of the last attempt.
    pub reason: String,
}

/// Requests each URL until it answers with success.
///
/// # Errors
/// The first URL without success in time.
pub async fn check(check: &Check) -> Result<(), NoAnswer> {
    let deadline = Instant::now() + check.timeout;
    for url in &check.urls {
        loop {
            let answer = timeout(ATTEMPT, ask(url)).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {ATTEMPT:?}")));
            let Err(reason) = answer else {
                break;
            };
            if Instant::now() >= deadline {
                let url = url.clone();
                return Err(NoAnswer { url, reason });
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// One GET request. The HTTP client of kube works without TLS too.
async fn ask(url: &Uri) -> Result<(), String> {
    let mut parts = Parts::default();
    parts.scheme = url.scheme().cloned();
    parts.authority = url.authority().cloned();
    parts.path_and_query = Some("/".parse().expect("a path"));
    let mut config = Config::new(Uri::from_parts(parts).map_err(|error| error.to_string())?);
    // Only the answer's status matters; the request holds no secret.
    config.accept_invalid_certs = true;
    // Otherwise the system's root certificates are loaded, which the image does not have.
    config.root_cert = Some(Vec::new());
    config.default_retry = false;
    let client = Client::try_from(config).map_err(|error| ::telemetry::chain(&error))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).body(Vec::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = client.request_text(request).await;
    answer.map(drop).map_err(|error| ::telemetry::chain(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, http::StatusCode, routing::get};

    use super::*;

    /// Serves `/readyz`, which fails `failures` times before it succeeds; and `/never`.
    async fn server(failures: usize) -> String {
        let left = Arc::new(AtomicUsize::new(failures));
        let ready = move || async move {
            let before =
                left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            match before {
                Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "caches are filling"),
                Err(_) => (StatusCode::OK, "ok"),
            }
        };
        let never = || async { (StatusCode::SERVICE_UNAVAILABLE, "never ready") };
        let router = Router::new()
            .route("/readyz", get(ready))
            .route("/never", get(never));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn ask_for(urls: &[String], seconds: u64) -> Result<(), NoAnswer> {
        let urls = urls.iter().map(|url| url.parse().expect("a URL")).collect();
        let timeout = Duration::from_secs(seconds);
        check(&Check { urls, timeout }).await
    }

    #[tokio::test]
    async fn asks_again_until_it_is_ready() {
        let server = server(2).await;
        let answer = ask_for(&[format!("{server}/readyz?verbose")], 60).await;
        assert!(answer.is_ok(), "{answer:?}");
    }

    #[tokio::test]
    async fn names_the_url_that_never_answers_with_success() {
        let server = server(0).await;
        let urls = [format!("{server}/readyz"), format!("{server}/never")];
        let error = ask_for(&urls, 0).await.expect_err("it never succeeds");
        let message = error.to_string();
        assert!(message.starts_with(&urls[1]), "{message}");
        assert!(message.contains("never ready"), "{message}");
    }

    #[tokio::test]
    async fn says_why_there_was_no_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let error = ask_for(&[format!("http://{address}/readyz")], 0).await;
        let message = error.expect_err("nobody listens").to_string();
        assert!(message.to_lowercase().contains("refused"), "{message}");
    }
}
