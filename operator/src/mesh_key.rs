//! Mesh key of the nodes' daemons: a Secret, created once.
//!
//! Nothing waits for it, and an unreachable API server is retried. A new key is set by editing the
//! Secret: it is never overwritten.

use std::{collections::BTreeMap, time::Duration};

use ::telemetry::{Backoff, chain, jittered};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use thiserror::Error;
use tokio::time::sleep;

/// The Secret's only entry.
const ENTRY: &str = "key";
/// Length of a new key in bytes, before its encoding as text.
const KEY_BYTES: usize = 32;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
enum Error {
    #[error("failed to get the Secret")]
    Ask(#[source] kube::Error),
    #[error("failed to create the Secret")]
    Make(#[source] kube::Error),
    #[error("no random bytes from the system")]
    Random,
}

/// Ensures for ever that the Secret `name` exists, checking every `resync`.
pub async fn run(client: Client, namespace: Option<String>, name: String, resync: Duration) {
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut logged = None;
    loop {
        let pause = match ensure(&secrets, &name).await {
            Ok(is_new) => {
                match is_new {
                    true => tracing::info!(namespace, name, "mesh key Secret created"),
                    false => tracing::debug!(namespace, name, "mesh key Secret exists"),
                }
                backoff.succeeded();
                logged = None;
                resync
            }
            Err(error) => {
                let error = chain(&error);
                if logged.as_ref() != Some(&error) {
                    tracing::warn!(
                        namespace,
                        name,
                        error,
                        "mesh key Secret not created, retried"
                    );
                    logged = Some(error);
                }
                backoff.failed()
            }
        };
        sleep(jittered(pause)).await;
    }
}

/// True when the Secret was created by this call.
async fn ensure(secrets: &Api<Secret>, name: &str) -> Result<bool, Error> {
    if secrets.get_opt(name).await.map_err(Error::Ask)?.is_some() {
        return Ok(false);
    }
    let secret = secret(name, &random()?);
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(true),
        // Another replica was faster: its key is used.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(Error::Make(error)),
    }
}

fn random() -> Result<[u8; KEY_BYTES], Error> {
    let mut key = [0; KEY_BYTES];
    let provider = rustls::crypto::ring::default_provider();
    let filled = provider.secure_random.fill(&mut key);
    filled.map(|()| key).map_err(|_| Error::Random)
}

/// Secret with a key. The key is text: further ones can be added below it, one a line.
fn secret(name: &str, key: &[u8; KEY_BYTES]) -> Secret {
    let labels = [("app.kubernetes.io/managed-by", "beemesh-operator")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let text = BASE64_STANDARD.encode(key) + "\n";
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        string_data: Some(BTreeMap::from([(ENTRY.to_owned(), text)])),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_of_text_and_never_the_same() {
        let text = |key| secret("k", &key).string_data.unwrap()[ENTRY].clone();
        let one = text(random().unwrap());
        assert_eq!(one.lines().count(), 1);
        assert_eq!(BASE64_STANDARD.decode(one.trim()).unwrap().len(), KEY_BYTES);
        assert_ne!(one, text(random().unwrap()));
    }
}
