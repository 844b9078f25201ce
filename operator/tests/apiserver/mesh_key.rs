//! The key that the daemons share.

use anyhow::{Context, Result, ensure};
use e2e::{Process, eventually, free_port};
use serde_json::json;

use crate::cluster::{DEADLINE, shared};

pub(crate) fn the_key_of_the_mesh_is_made_once() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("mesh-key")?;
    let mut replicas = Vec::new();
    for name in ["mesh-key-1", "mesh-key-2", "mesh-key-3"] {
        replicas.push(replica(name, &namespace.name)?);
    }
    let key = || -> Result<String> {
        let secret = namespace.get("secret", "beemesh-mesh-key")?;
        let key = secret["data"]["key"].as_str().context("an entry")?;
        ensure!(key.len() > 44, "{key}");
        Ok(key.to_owned())
    };
    let first = namespace.eventually("the key is made", key)?;
    for replica in &replicas {
        ensure!(
            !replica
                .log()
                .contains("mesh key Secret not created, retried")
        );
    }
    // Somebody's own key is left alone, also by those who start later.
    let data = json!({"stringData": {"key": "x".repeat(44)}}).to_string();
    let arguments = [
        "-n",
        &namespace.name,
        "patch",
        "secret",
        "beemesh-mesh-key",
        "-p",
        &data,
    ];
    cluster.server.kubectl(&arguments)?.ok()?;
    let own = key()?;
    ensure!(own != first);
    let last = replica("mesh-key-4", &namespace.name)?;
    eventually("it looks", DEADLINE, || {
        ensure!(last.log().contains("mesh key Secret exists"));
        Ok(())
    })?;
    ensure!(key()? == own);

    // One that is deleted is made anew.
    namespace.delete("secret", "beemesh-mesh-key")?;
    let anew = namespace.eventually("the key is made anew", key)?;
    ensure!(anew != own && anew != first);
    Ok(())
}

fn replica(name: &str, namespace: &str) -> Result<Process> {
    let server = &shared()?.server;
    let address = || free_port().map(|port| format!("127.0.0.1:{port}"));
    let (metrics, api) = (address()?, address()?);
    let arguments = [
        "--name",
        name,
        "--listen-metrics",
        &metrics,
        "--listen-api",
        &api,
        "--log-level=info,operator=debug",
        "--resync=1",
        "--mesh-key-secret=beemesh-mesh-key",
        "--namespace",
        namespace,
    ];
    let program = env!("CARGO_BIN_EXE_beemesh-operator");
    Process::start(
        program,
        name,
        &arguments,
        &server.kubeconfig(),
        server.folder(),
    )
}
