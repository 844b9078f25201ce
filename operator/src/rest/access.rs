//! Authentication by TokenReview and authorization by SubjectAccessReview.

use std::time::{Duration, Instant};

use ::telemetry::Rate;
use axum::http::{HeaderMap, Method, StatusCode, header};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{
        NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};

use super::{auth_cache::AuthCache, problem::Problem};

/// The plural that rights are given for.
const RESOURCE: &str = "microservicetopologies";

/// Lifetime of an answer: a right that is taken away lasts no longer than that.
const ANSWER: Duration = Duration::from_secs(10);

/// Time for which a caller is not taken for a stranger after an answer.
const FAMILIAR: Duration = Duration::from_secs(3_600);

/// Reviews of strangers' tokens in a second, and at once: they cost the API server more than they cost strangers.
const STRANGERS: u32 = 20;

/// Reviews of the API server, cached for a short while. Strangers' answers are kept apart: they displace no others.
pub(super) struct Access {
    client: Client,
    anonymous_read: bool,
    users: AuthCache<Digest, UserInfo>,
    unknown: AuthCache<Digest, ()>,
    /// Tokens that were good lately.
    familiar: AuthCache<Digest, ()>,
    strangers: Rate,
    rights: AuthCache<(Digest, Right), Result<(), String>>,
}

/// Digest of a token: tokens themselves are not kept.
type Digest = [u8; 32];

/// A verb on an object or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Right {
    /// A verb on topologies: of all namespaces when `namespace` is empty, on all when `name` is.
    Topology {
        verb: &'static str,
        namespace: String,
        name: String,
    },
    /// A verb on a path of this API that is about no object.
    Path {
        verb: &'static str,
        path: &'static str,
    },
}

/// A bearer token that the cluster knows.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The token, for writes in the caller's name.
    pub(super) token: String,
    /// Name of the caller.
    pub(super) user: String,
}

impl Right {
    pub(super) fn topology(verb: &'static str, namespace: &str, name: &str) -> Right {
        Right::Topology {
            verb,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl Access {
    pub(super) fn new(client: Client, anonymous_read: bool) -> Access {
        Access {
            client,
            anonymous_read,
            users: AuthCache::new(ANSWER),
            unknown: AuthCache::new(ANSWER),
            familiar: AuthCache::new(FAMILIAR),
            strangers: Rate::new(STRANGERS),
            rights: AuthCache::new(ANSWER),
        }
    }

    /// Authorizes a read: of anyone where reads are anonymous, else as [`Access::allow`].
    ///
    /// # Errors
    /// As [`Access::allow`].
    pub(super) async fn allow_read(
        &self,
        headers: &HeaderMap,
        right: Right,
    ) -> Result<(), Problem> {
        if self.anonymous_read {
            return Ok(());
        }
        self.allow(headers, right).await.map(drop)
    }

    /// Authorizes the bearer of the token in `headers` for `right`.
    ///
    /// # Errors
    /// 401 without a valid token, 403 without the permission, 503 when the API server does not answer.
    pub(super) async fn allow(&self, headers: &HeaderMap, right: Right) -> Result<Caller, Problem> {
        let (token, digest) = bearer(headers)?;
        let user = self.user(digest, token).await?;
        let name = user.username.clone().unwrap_or_default();
        match self.decide(digest, user, right.clone()).await? {
            Ok(()) => Ok(Caller {
                token: token.to_owned(),
                user: name,
            }),
            Err(reason) => Err(forbidden(&name, &right, &reason)),
        }
    }

    /// True when a request may take the place of one whose caller is known: it needs no token, or its token was good
    /// lately.
    pub(super) fn is_familiar(&self, method: &Method, headers: &HeaderMap) -> bool {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let is_known = |digest| self.familiar.get(&digest, Instant::now()).is_some();
        is_read && self.anonymous_read || bearer(headers).is_ok_and(|(_, digest)| is_known(digest))
    }

    /// Authenticates the bearer of the token in `headers`, where there is one. False without one.
    ///
    /// # Errors
    /// 401 for an unknown token, 503 when too many were unknown or the API server does not answer.
    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<bool, Problem> {
        match bearer(headers) {
            Ok((token, digest)) => self.user(digest, token).await.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    async fn user(&self, digest: Digest, token: &str) -> Result<UserInfo, Problem> {
        let now = Instant::now();
        if let Some(user) = self.users.get(&digest, now) {
            return Ok(user);
        }
        let unknown = "the cluster does not know this bearer token, or it has expired";
        let unknown = || Problem::new(StatusCode::UNAUTHORIZED, unknown);
        if self.unknown.get(&digest, now).is_some() {
            return Err(unknown());
        }
        if self.familiar.get(&digest, now).is_none() && !self.strangers.take(now) {
            let detail = "too many unknown bearer tokens; try again";
            return Err(Problem::unavailable(detail));
        }
        match self.review_token(token).await? {
            Some(user) => {
                self.users.insert(digest, user.clone(), now);
                self.familiar.insert(digest, (), now);
                Ok(user)
            }
            None => {
                self.unknown.insert(digest, (), now);
                Err(unknown())
            }
        }
    }

    async fn review_token(&self, token: &str) -> Result<Option<UserInfo>, Problem> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let api = Api::<TokenReview>::all(self.client.clone());
        let reviewed = api.create(&PostParams::default(), &review).await;
        let reviewed = reviewed.map_err(|error| Problem::unreachable(&error))?;
        let status = reviewed.status.unwrap_or_default();
        let is_known = status.authenticated.unwrap_or_default();
        Ok(status.user.filter(|_| is_known))
    }

    /// The decision of the cluster; `Err` with its reason, which is often empty.
    async fn decide(
        &self,
        digest: Digest,
        user: UserInfo,
        right: Right,
    ) -> Result<Result<(), String>, Problem> {
        let question = (digest, right);
        if let Some(answer) = self.rights.get(&question, Instant::now()) {
            return Ok(answer);
        }
        let review = SubjectAccessReview {
            spec: review_of(user, &question.1),
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let reviewed = api.create(&PostParams::default(), &review).await;
        let reviewed = reviewed.map_err(|error| Problem::unreachable(&error))?;
        let status = reviewed.status.unwrap_or_default();
        let answer = match status.allowed {
            true => Ok(()),
            false => Err(status.reason.unwrap_or_default()),
        };
        self.rights.insert(question, answer.clone(), Instant::now());
        Ok(answer)
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750), and its digest.
fn bearer(headers: &HeaderMap) -> Result<(&str, Digest), Problem> {
    let unauthorized = |detail| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(unauthorized("expected a bearer token of the cluster"));
    };
    let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
            let token = token.trim();
            Ok((token, *blake3::hash(token.as_bytes()).as_bytes()))
        }
        _ => Err(unauthorized("expected Authorization: Bearer TOKEN")),
    }
}

fn review_of(user: UserInfo, right: &Right) -> SubjectAccessReviewSpec {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let (resource, path) = match right {
        Right::Topology {
            verb,
            namespace,
            name,
        } => {
            let attributes = ResourceAttributes {
                group: Some("beemesh.io".to_owned()),
                resource: Some(RESOURCE.to_owned()),
                verb: Some((*verb).to_owned()),
                namespace: given(namespace),
                name: given(name),
                ..ResourceAttributes::default()
            };
            (Some(attributes), None)
        }
        Right::Path { verb, path } => {
            let attributes = NonResourceAttributes {
                path: Some((*path).to_owned()),
                verb: Some((*verb).to_owned()),
            };
            (None, Some(attributes))
        }
    };
    SubjectAccessReviewSpec {
        resource_attributes: resource,
        non_resource_attributes: path,
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
    }
}

/// The refusal as the API server words it.
fn forbidden(user: &str, right: &Right, reason: &str) -> Problem {
    let what = match right {
        Right::Topology {
            verb,
            namespace,
            name,
        } => {
            let name = match name.as_str() {
                "" => String::new(),
                name => format!(" {name:?}"),
            };
            let place = match namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            format!("{verb} microservicetopologies.beemesh.io{name} {place}")
        }
        Right::Path { verb, path } => format!("{verb} path {path:?}"),
    };
    let mut detail = format!("user {user:?} cannot {what}");
    if !reason.is_empty() {
        detail += &format!(": {reason}");
    }
    Problem::new(StatusCode::FORBIDDEN, detail)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::http;

    use super::*;

    #[test]
    fn a_token_is_taken_as_the_rfc_writes_it() {
        #[rustfmt::skip]
        let cases = [
            // Authorization     token
            ("Bearer abc",       Some("abc")),
            ("bearer abc",       Some("abc")),
            ("Bearer",           None),
            ("Bearer ",          None),
            ("Basic YTpi",       None),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            let token = bearer(&headers).ok().map(|(token, _)| token);
            assert_eq!(token, expected, "{value}");
        }
        let status = bearer(&HeaderMap::new()).expect_err("no token").status;
        assert_eq!(status, 401);
    }

    #[test]
    fn what_is_missing_is_said() {
        let right = Right::topology("patch", "plant", "iot");
        let problem = forbidden("jane", &right, "");
        let expected = "user \"jane\" cannot patch microservicetopologies.beemesh.io \"iot\" \
                        in the namespace \"plant\"";
        assert_eq!(problem.detail, expected);
        let right = Right::topology("list", "", "");
        let problem = forbidden("jane", &right, "RBAC: no such role");
        let expected = "user \"jane\" cannot list microservicetopologies.beemesh.io at the cluster scope: \
                        RBAC: no such role";
        assert_eq!(problem.detail, expected);
    }

    /// A cluster that knows one token, and counts the reviews.
    fn cluster() -> (Access, Arc<AtomicUsize>) {
        let reviews = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reviews);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                let body = request.into_body().collect_bytes().await.expect("a body");
                let mut review: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                let is_known = review["spec"]["token"] == "good";
                review["status"] = serde_json::json!({
                    "authenticated": is_known, "allowed": true, "user": {"username": "jane"},
                });
                let body = kube::client::Body::from(review.to_string().into_bytes());
                Ok::<_, Infallible>(http::Response::new(body))
            }
        });
        (Access::new(Client::new(service, "default"), false), reviews)
    }

    fn with_token(token: &str) -> HeaderMap {
        let value = format!("Bearer {token}").parse().expect("a header");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[tokio::test]
    async fn invented_tokens_cost_the_cluster_little_and_known_callers_nothing() {
        let (access, reviews) = cluster();
        let good = with_token("good");
        let right = || Right::topology("get", "plant", "iot");
        access.allow(&good, right()).await.expect("it is known");
        for number in 0..10_000 {
            let headers = with_token(&format!("invented-{}", number / 2));
            assert!(!access.is_familiar(&Method::GET, &headers));
            let problem = access.allow(&headers, right()).await.expect_err("unknown");
            assert!([401, 503].contains(&problem.status), "{problem:?}");
        }
        let count = reviews.load(Ordering::Relaxed);
        assert!(count < 1_000, "{count} reviews of 5,000 tokens");
        assert!(access.is_familiar(&Method::PUT, &good));
        access.allow(&good, right()).await.expect("it still is");
        assert_eq!(reviews.load(Ordering::Relaxed), count, "as cached");
    }
}
