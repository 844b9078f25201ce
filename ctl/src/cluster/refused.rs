//! Meaning of the API server's refusals, with advice.

use console::failure::Failure;
use kube::{Resource, core::Status};

/// A request, in the words of RBAC.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `get`, `list`, `watch`, `patch`.
    pub(crate) verb: &'static str,
    /// Plural and group, as `kubectl auth can-i` takes them.
    pub(crate) resource: String,
    /// `None` for cluster-scoped kinds, or all namespaces.
    pub(crate) namespace: Option<String>,
}

impl Asked {
    /// A request for objects of kind `K`.
    pub(crate) fn new<K: Resource<DynamicType = ()>>(
        verb: &'static str,
        namespace: Option<&str>,
    ) -> Self {
        let (plural, group) = (K::plural(&()), K::group(&()));
        let resource = match group.as_ref() {
            "" => plural.into_owned(),
            group => format!("{plural}.{group}"),
        };
        Self {
            verb,
            resource,
            namespace: namespace.map(str::to_owned),
        }
    }

    fn is_ours(&self) -> bool {
        self.resource.ends_with(".beemesh.io")
    }
}

/// True where the kind is served and only the object is missing.
pub(crate) fn is_missing_object(error: &kube::Error) -> bool {
    let is_named = |status: &Status| {
        status
            .details
            .as_ref()
            .is_some_and(|it| !it.name.is_empty())
    };
    matches!(error, kube::Error::Api(status) if status.is_not_found() && is_named(status))
}

/// True for a failed precondition (uid, resourceVersion); false for fields that another field manager owns.
pub(crate) fn is_outdated(error: &kube::Error) -> bool {
    let is_owned = |status: &Status| {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes
            .into_iter()
            .any(|cause| cause.reason == "FieldManagerConflict")
    };
    matches!(error, kube::Error::Api(status) if status.code == 409 && !is_owned(status))
}

/// Failure for the user.
pub(crate) fn failure(server: &str, asked: &Asked, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => told(server, asked, status),
        kube::Error::SerdeError(error) => {
            let what = &asked.resource;
            Failure::Failed(format!(
                "{what}: an object is not as this version expects it: {error}"
            ))
        }
        other => unreachable(server, other),
    }
}

fn told(server: &str, asked: &Asked, status: &Status) -> Failure {
    let message = status.message.trim();
    if status.code == 401 {
        return Failure::Failed(format!(
            "{server} does not accept these credentials: {message}"
        ));
    }
    if status.is_forbidden() {
        let scope = match &asked.namespace {
            Some(namespace) => format!("-n {namespace}"),
            None => "-A".to_owned(),
        };
        let question = format!(
            "kubectl auth can-i {} {} {scope}",
            asked.verb, asked.resource
        );
        return Failure::Failed(format!("{message} (see `{question}`)"));
    }
    // A kind that is not served is answered by a plain page.
    if (status.is_not_found() || status.code == 404) && asked.is_ours() {
        return Failure::Failed(
            "beemesh is not installed in this cluster: `helm install beemesh charts/beemesh \
             --namespace beemesh-system --create-namespace`"
                .into(),
        );
    }
    if status.is_invalid() {
        return Failure::Invalid(vec![message.to_owned()]);
    }
    Failure::Failed(format!("{} {}: {message}", asked.verb, asked.resource))
}

/// The server cannot be reached, or not talked to.
pub(crate) fn unreachable(server: &str, error: &kube::Error) -> Failure {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    // Each link of the chain repeats those below it.
    let mut causes: Vec<String> = Vec::new();
    for cause in chain.map(ToString::to_string) {
        if let Some(last) = causes.last_mut()
            && last.contains(&cause)
        {
            *last = last.replace(&format!(": {cause}"), "");
        }
        causes.push(cause);
    }
    causes.dedup();
    Failure::Failed(format!("failed to reach {server}: {}", causes.join(": ")))
}
