//! One API server with the definitions, and objects posted to it as they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use axum::http::Request;
use e2e::ApiServer;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Where topologies are posted; nothing is kept.
const DRY_RUN: &str = "/apis/beemesh.io/v1alpha1/namespaces/default/microservicetopologies\
                       ?dryRun=All&fieldValidation=Strict";

/// An API server that knows the kinds of beemesh.
pub(crate) struct Server {
    pub(crate) api: ApiServer,
    client: Client,
    runtime: Runtime,
}

impl Server {
    pub(crate) fn start() -> Result<Server> {
        let api = ApiServer::start()?;
        api.apply_crds(&definitions())?;
        let runtime = Runtime::new()?;
        let kubeconfig = Kubeconfig::read_from(api.kubeconfig())?;
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            Ok::<Client, anyhow::Error>(Client::try_from(config)?)
        })?;
        Ok(Server {
            api,
            client,
            runtime,
        })
    }

    /// Puts the definitions as they should be.
    pub(crate) fn define(&self) -> Result<()> {
        self.api.apply_crds(&definitions())
    }

    /// Object that the server would store, or its refusal.
    pub(crate) fn post(&self, content_type: &str, body: &str) -> Result<Result<Value, String>> {
        let request = Request::post(DRY_RUN).header("Content-Type", content_type);
        let request = request.body(body.as_bytes().to_vec())?;
        match self.runtime.block_on(self.client.request::<Value>(request)) {
            Ok(stored) => Ok(Ok(stored)),
            Err(kube::Error::Api(status)) => Ok(Err(status.message)),
            Err(error) => Err(error).context("failed to post"),
        }
    }

    /// Applies as `manager`; what kubectl says of a refusal.
    pub(crate) fn apply(&self, manager: &str, manifest: &str) -> Result<Result<(), String>> {
        let manager = format!("--field-manager={manager}");
        let arguments = ["apply", "--server-side", &manager, "-f", "-"];
        let ran = self.api.kubectl_with_input(&arguments, manifest)?;
        Ok(ran.ok().map(drop).map_err(|error| format!("{error:#}")))
    }
}

fn definitions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml")
}
