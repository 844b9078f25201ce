//! One API server, one operator, and people with and without rights.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{ApiServer, Process, eventually, free_port};
use serde_json::{Value, json};

use crate::{
    client::{self, Answer, Asked},
    schema,
};

/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// Where topologies are, and who may apply them.
pub(crate) const NAMESPACE: &str = "plant";

static SHARED: LazyLock<Result<World>> = LazyLock::new(World::start);

/// State shared by the tests.
pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) operator: Operator,
    /// Has every right in the namespace.
    pub(crate) jane: String,
    /// Is known, and has no right.
    pub(crate) joe: String,
    /// Has every right.
    pub(crate) root: String,
}

/// A running operator.
pub(crate) struct Operator {
    pub(crate) process: Process,
    pub(crate) api: SocketAddr,
    pub(crate) metrics: SocketAddr,
    document: Value,
}

/// The world of all tests.
pub(crate) fn world() -> Result<&'static World> {
    SHARED.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// An API server and an operator that a test may break.
pub(crate) fn alone() -> Result<(ApiServer, Operator)> {
    let server = ApiServer::start()?;
    server.apply_crds(&definitions())?;
    let operator = Operator::start(&server, "alone", &[])?;
    Ok((server, operator))
}

impl World {
    fn start() -> Result<World> {
        let server = ApiServer::options().audit_log().start()?;
        server.apply_crds(&definitions())?;
        server.kubectl(&["create", "namespace", NAMESPACE])?.ok()?;
        for node in ["n1", "n2", "n3", "n4", "n5"] {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
            server.kubectl_apply(&node.to_string())?;
        }
        let role = ["--verb=*", "--resource=microservicetopologies.beemesh.io"];
        let create = ["create", "role", "meshes", "-n", NAMESPACE];
        server.kubectl(&[&create[..], &role].concat())?.ok()?;
        let bind = [
            "create",
            "rolebinding",
            "jane",
            "-n",
            NAMESPACE,
            "--role=meshes",
        ];
        server
            .kubectl(&[&bind[..], &["--serviceaccount=plant:jane"]].concat())?
            .ok()?;
        Ok(World {
            operator: Operator::start(&server, "operator", &[])?,
            jane: person(&server, "jane")?,
            joe: person(&server, "joe")?,
            root: server.token().to_owned(),
            server,
        })
    }

    /// Asks the operator of all tests.
    pub(crate) fn ask(&self, asked: &Asked<'_>) -> Result<Answer> {
        self.operator.ask(asked)
    }

    /// Reads without a token.
    pub(crate) fn read(&self, path: &str) -> Result<Answer> {
        self.ask(&Asked {
            method: "GET",
            path,
            ..Asked::default()
        })
    }

    /// Applies as jane.
    pub(crate) fn apply(&self, name: &str, body: &str) -> Result<Answer> {
        self.ask(&Asked {
            method: "PUT",
            path: &path(name),
            token: Some(&self.jane),
            body,
            ..Asked::default()
        })
    }

    /// Waits until the operator has computed the declaration that is applied, and reads the object.
    pub(crate) fn computed(&self, name: &str) -> Result<Value> {
        let get = ["get", "mst", name, "-n", NAMESPACE, "-o", "json"];
        let applied = self.server.kubectl(&get)?.json()?;
        eventually("the topology is computed", DEADLINE, || {
            let object = self.read(&path(name))?.with(200)?.json()?;
            // The operator hears of a change a moment after it is applied.
            let [declared, seen] = [&applied, &object].map(|it| &it["metadata"]["generation"]);
            ensure!(declared == seen, "{object:#}");
            let is_computed = |condition: &Value| {
                condition["type"] == "Computed"
                    && condition["status"] == "True"
                    && condition["observedGeneration"] == object["metadata"]["generation"]
            };
            let conditions = object["status"]["conditions"].as_array();
            let is_there = conditions.is_some_and(|all| all.iter().any(is_computed));
            ensure!(is_there, "{object:#}");
            Ok(object)
        })
    }
}

impl Operator {
    /// Starts one that logs JSON, and waits until it is ready.
    pub(crate) fn start(server: &ApiServer, name: &str, more: &[&str]) -> Result<Operator> {
        let [api, metrics] =
            [free_port()?, free_port()?].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let (listen_api, listen_metrics) = (api.to_string(), metrics.to_string());
        let mut arguments = vec!["--name", name, "--log-format", "json"];
        arguments.extend([
            "--listen-api",
            &listen_api,
            "--listen-metrics",
            &listen_metrics,
        ]);
        arguments.extend(more);
        let program = env!("CARGO_BIN_EXE_beemesh-operator");
        let process = Process::start(
            program,
            name,
            &arguments,
            &server.kubeconfig(),
            server.folder(),
        )?;
        let mut operator = Operator {
            process,
            api,
            metrics,
            document: Value::Null,
        };
        eventually("the operator is ready", DEADLINE, || {
            operator.process.ensure_alive()?;
            let asked = Asked {
                method: "GET",
                path: "/readyz",
                ..Asked::default()
            };
            client::ask(&mut client::connect(metrics)?, &asked)?.with(200)
        })?;
        let asked = Asked {
            method: "GET",
            path: "/openapi.json",
            ..Asked::default()
        };
        let answer = client::ask(&mut client::connect(api)?, &asked)?;
        operator.document = answer.with(200)?.json()?;
        Ok(operator)
    }

    /// Asks, and holds the answer against the document.
    pub(crate) fn ask(&self, asked: &Asked<'_>) -> Result<Answer> {
        let answer = client::ask(&mut client::connect(self.api)?, asked)?;
        let at = || format!("{} {}: {}", asked.method, asked.path, answer.status);
        self.check(asked, &answer).with_context(at)?;
        Ok(answer)
    }

    /// OpenAPI document of the operator.
    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    pub(crate) fn check(&self, asked: &Asked<'_>, answer: &Answer) -> Result<()> {
        let wanted = schema::of_answer(&self.document, asked.method, asked.path, answer.status)?;
        let Some((media_type, schema)) = wanted else {
            ensure!(answer.body.is_empty(), "expected no body");
            return Ok(());
        };
        let found = answer.headers.get("content-type");
        ensure!(
            found.is_some_and(|found| found == media_type),
            "expected {media_type}"
        );
        schema::check(&self.document, schema, &answer.json()?)
    }
}

/// The folder with the definitions of all kinds, as they are shipped.
fn definitions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml")
}

/// A service account and its token.
fn person(server: &ApiServer, name: &str) -> Result<String> {
    server
        .kubectl(&["create", "serviceaccount", name, "-n", NAMESPACE])?
        .ok()?;
    let token = server
        .kubectl(&["create", "token", name, "-n", NAMESPACE])?
        .ok()?;
    Ok(token.trim().to_owned())
}

/// Where a topology is.
pub(crate) fn path(name: &str) -> String {
    format!("/apis/beemesh.io/v1alpha1/namespaces/{NAMESPACE}/topologies/{name}")
}

/// A declaration.
pub(crate) fn topology(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}
