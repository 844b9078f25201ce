//! Connection to a cluster: context, user, requests.
//!
//! Knows: kubeconfigs, requests to the API server, what its refusals mean. Refuses to know: what a
//! topology means (`crds`), how it is computed (`topology`), what the operator does about it.
//!
//! ```text
//! Connection (options) -> Cluster -> requests -> stored objects -> verb -> output
//!                            \_ refusals -> Failure (refused) -> stderr, exit code
//! ```
//! One current-thread runtime lives as long as the [`Cluster`]; everything outside is synchronous.

pub(crate) mod candidates;
pub(crate) mod declared;
pub(crate) mod expected;
pub(crate) mod placed;
pub(crate) mod refused;
pub(crate) mod selected;
pub(crate) mod stored;
pub(crate) mod wait;

use console::failure::{Failure, chain};
use console::nearest::did_you_mean;
use kube::{
    Api, Client, Config,
    api::{ListParams, ObjectList, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::NamespaceResourceScope,
};
use refused::Asked;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Debug, net::IpAddr, path::PathBuf, time::Duration};

/// Longest time that one request may take; a watch is bounded by its verb instead.
const REQUEST: Duration = Duration::from_secs(30);

/// Connection options of a cluster, to be flattened into the arguments of a verb; their names are
/// kubectl's.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Connection {
    /// Kubernetes namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "CONTEXT", help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// Kubeconfig [default: $KUBECONFIG, ~/.kube/config, the pod's service account]
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// A cluster that can be asked.
pub(crate) struct Cluster {
    runtime: tokio::runtime::Runtime,
    client: Client,
    server: String,
    /// The Kubernetes namespace that is meant.
    pub(crate) namespace: String,
}

impl Connection {
    /// Makes the client. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// No kubeconfig, an unreadable one, a context that is not in it.
    pub(crate) fn open(&self) -> Result<Cluster, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(&error))?;
        let mut config = runtime.block_on(self.config())?;
        if is_loopback(&config) {
            // As curl and Go have it: no proxy leads to this machine.
            config.proxy_url = None;
        }
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        // The client starts tasks of its own.
        let entered = runtime.enter();
        let client = Client::try_from(config);
        drop(entered);
        Ok(Cluster {
            client: client.map_err(|error| refused::unreachable(&server, &error))?,
            runtime,
            server,
            namespace,
        })
    }

    async fn config(&self) -> Result<Config, Failure> {
        let file = match &self.kubeconfig {
            Some(file) => Kubeconfig::read_from(file),
            None => Kubeconfig::read(),
        };
        let kubeconfig = match file {
            Ok(kubeconfig) => kubeconfig,
            Err(KubeconfigError::ReadConfig(source, path)) if self.names_a_file() => {
                let file = path.display().to_string();
                return Err(Failure::Read { file, source });
            }
            // In a pod.
            Err(KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath) => {
                return Config::incluster().map_err(|_| no_cluster());
            }
            Err(other) => return Err(self.invalid(&other)),
        };
        let contexts: Vec<String> = kubeconfig
            .contexts
            .iter()
            .map(|it| it.name.clone())
            .collect();
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(|error| match error {
            KubeconfigError::LoadContext(name) if !name.is_empty() => {
                let hint = did_you_mean(&name, contexts.iter().map(String::as_str));
                Failure::NotFound(format!("no context {name:?} in the kubeconfig{hint}"))
            }
            other => self.invalid(&other),
        })
    }
}

impl Connection {
    /// Failure of the kubeconfig, with its file.
    fn invalid(&self, error: &KubeconfigError) -> Failure {
        let variable = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let file = self.kubeconfig.clone().or(variable);
        let file = file.unwrap_or_else(|| "~/.kube/config".into());
        let wrong = match error {
            KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_) => {
                "current-context: expected the name of a context, or --context".to_owned()
            }
            other => chain(other),
        };
        // Of a parser's message the first line says it; the others draw it.
        let line = wrong.lines().next().unwrap_or_default();
        Failure::Invalid(vec![format!("{}: {line}", file.display())])
    }

    fn names_a_file(&self) -> bool {
        self.kubeconfig.is_some() || std::env::var_os("KUBECONFIG").is_some()
    }
}

fn is_loopback(config: &Config) -> bool {
    let host = config.cluster_url.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn no_cluster() -> Failure {
    let tried = "expected one at --kubeconfig, $KUBECONFIG or ~/.kube/config";
    Failure::Failed(format!("no kubeconfig: {tried}, or to run in a pod"))
}

impl Cluster {
    /// Client, for several requests.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs `future` to its end.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The objects of a kind in the namespace that is meant.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// One object; `None` when there is none of this name.
    ///
    /// # Errors
    /// Refusals of the server; that the kind is not installed.
    pub(crate) fn get<K>(&self, api: &Api<K>, name: &str) -> Result<Option<K>, Failure>
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let asked = Asked::new::<K>("get", api.namespace());
        match self.block_on(in_time(api.get(name))) {
            Err(Trouble::Refused(error)) if refused::is_missing_object(&error) => Ok(None),
            answer => answer
                .map(Some)
                .map_err(|trouble| self.failure(&asked, trouble)),
        }
    }

    /// All objects, or those that `parameters` select.
    ///
    /// # Errors
    /// Refusals of the server; that the kind is not installed.
    pub(crate) fn list<K>(
        &self,
        api: &Api<K>,
        parameters: &ListParams,
    ) -> Result<ObjectList<K>, Failure>
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let asked = Asked::new::<K>("list", api.namespace());
        self.block_on(in_time(api.list(parameters)))
            .map_err(|trouble| self.failure(&asked, trouble))
    }

    /// Makes an object; `None` when there is one of this name already.
    ///
    /// # Errors
    /// Refusals of the server; that the kind is not installed.
    pub(crate) fn create<K>(&self, api: &Api<K>, object: &K) -> Result<Option<K>, Failure>
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let asked = Asked::new::<K>("create", api.namespace());
        match self.block_on(in_time(api.create(&PostParams::default(), object))) {
            Err(Trouble::Refused(kube::Error::Api(status))) if status.is_already_exists() => {
                Ok(None)
            }
            answer => answer
                .map(Some)
                .map_err(|trouble| self.failure(&asked, trouble)),
        }
    }

    /// Server-side apply of `patch`, which names only the fields that are ours.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn apply<K, P>(
        &self,
        api: &Api<K>,
        name: &str,
        (parameters, patch): (&PatchParams, &P),
    ) -> Result<K, Failure>
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        P: Serialize + Debug,
    {
        let asked = Asked::new::<K>("patch", api.namespace());
        self.block_on(in_time(api.patch(name, parameters, &Patch::Apply(patch))))
            .map_err(|trouble| self.failure(&asked, trouble))
    }

    /// As [`Cluster::apply`], of a `patch` that names uid and resourceVersion; `None` where the object has others by now.
    ///
    /// # Errors
    /// Refusals of the server; fields that another field manager owns.
    pub(crate) fn apply_exact<K, P>(
        &self,
        api: &Api<K>,
        name: &str,
        (parameters, patch): (&PatchParams, &P),
    ) -> Result<Option<K>, Failure>
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        P: Serialize + Debug,
    {
        let asked = Asked::new::<K>("patch", api.namespace());
        match self.block_on(in_time(api.patch(name, parameters, &Patch::Apply(patch)))) {
            Err(Trouble::Refused(error)) if refused::is_outdated(&error) => Ok(None),
            answer => answer
                .map(Some)
                .map_err(|trouble| self.failure(&asked, trouble)),
        }
    }

    /// Merges `patch` into an object; one that is not there, or is another one by now, is passed over.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn merge<K>(
        &self,
        api: &Api<K>,
        name: &str,
        patch: &serde_json::Value,
    ) -> Result<(), Failure>
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let asked = Asked::new::<K>("patch", api.namespace());
        let patch = Patch::Merge(patch);
        let patched = self.block_on(in_time(api.patch(name, &PatchParams::default(), &patch)));
        match patched {
            Err(Trouble::Refused(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Ok(())
            }
            answer => answer
                .map(drop)
                .map_err(|trouble| self.failure(&asked, trouble)),
        }
    }

    /// Failure of a request, from the error of the client.
    pub(crate) fn refusal(&self, asked: &Asked, error: &kube::Error) -> Failure {
        refused::failure(&self.server, asked, error)
    }

    fn failure(&self, asked: &Asked, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Refused(error) => self.refusal(asked, &error),
            Trouble::Late => {
                let server = &self.server;
                let limit = REQUEST.as_secs();
                let what = format!("{} {}", asked.verb, asked.resource);
                Failure::TimedOut(format!("{server} did not answer in {limit}s: {what}"))
            }
        }
    }
}

/// Reason of a missing answer.
enum Trouble {
    Refused(kube::Error),
    Late,
}

async fn in_time<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(REQUEST, answer).await {
        Ok(answer) => answer.map_err(Trouble::Refused),
        Err(_) => Err(Trouble::Late),
    }
}
