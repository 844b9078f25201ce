//! etcd and kube-apiserver, alone or with kube-controller-manager.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::options::Options;
use crate::spawn::Running;
use crate::{eventually, free_port, keys, tools, workdir};

/// Cold caches and a busy machine of two cores have been seen to need 20 s.
const READY: Duration = Duration::from_secs(120);

/// Ports are found, then bound: another program may come in between.
const ATTEMPTS: u32 = 3;

/// Only what tests count on: owned objects and namespaces' contents go, aggregated roles hold their parts.
const CONTROLLERS: &str = "clusterrole-aggregation-controller,garbage-collector-controller,\
                           namespace-controller,serviceaccount-controller";

/// A Kubernetes API server on loopback with an etcd of its own, RBAC on, one administrator.
///
/// Methods take `&self`: one server may be shared by many threads. Stopped by `Drop`.
#[derive(Debug)]
pub struct ApiServer {
    folder: TempDir,
    options: Options,
    etcd_port: u16,
    port: u16,
    token: String,
    etcd: Mutex<Running>,
    apiserver: Mutex<Running>,
    controller_manager: Mutex<Option<Running>>,
}

impl Options {
    /// Starts etcd and kube-apiserver and waits until they are ready.
    ///
    /// # Errors
    /// When a program is missing or does not get ready; with the end of its log.
    pub fn start(self) -> Result<ApiServer> {
        ApiServer::start_with(self)
    }
}

impl ApiServer {
    /// Starts one with default options.
    ///
    /// # Errors
    /// When a program is missing or does not get ready; with the end of its log.
    pub fn start() -> Result<Self> {
        Options::default().start()
    }

    /// Default options.
    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }

    pub(crate) fn start_with(options: Options) -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::try_start(options.clone()) {
                Ok(server) => return Ok(server),
                Err(error) if format!("{error:#}").contains("address already in use") => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("an attempt was made")).context("ports were taken again and again")
    }

    fn try_start(options: Options) -> Result<Self> {
        let folder = workdir::create()?;
        let (etcd_port, port) = (free_port()?, free_port()?);
        let token = format!("admin-{}", folder.path().display()).replace(['/', '.'], "-");
        write_inputs(folder.path(), port, &token)?;
        let etcd = start_etcd(folder.path(), etcd_port)?;
        let apiserver = start_apiserver(folder.path(), &options, etcd_port, port)?;
        let server = Self {
            folder,
            options,
            etcd_port,
            port,
            token,
            etcd: Mutex::new(etcd),
            apiserver: Mutex::new(apiserver),
            controller_manager: Mutex::new(None),
        };
        server.wait_ready()?;
        Ok(server)
    }

    /// Starts kube-controller-manager too: garbage collection by owner references, and namespaces that end.
    ///
    /// Call it after [`ApiServer::apply_crds`]: it looks for new kinds only every half a minute.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn with_controller_manager(self) -> Result<Self> {
        let mut command = Command::new(tools::find("kube-controller-manager")?);
        let key = self.path("service-account.key");
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .arg(format!("--controllers={CONTROLLERS}"))
            .arg(format!(
                "--service-account-private-key-file={}",
                key.display()
            ))
            .args([
                "--leader-elect=false",
                "--secure-port=0",
                "--kube-api-qps=200",
            ])
            .args(["--kube-api-burst=400", "--profiling=false"]);
        let log = self.path("kube-controller-manager.log");
        let running = Running::start("kube-controller-manager", command, &log)?;
        *lock(&self.controller_manager) = Some(running);
        Ok(self)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// Kubeconfig for the owner of `token`, for example from `kubectl create token`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig_for_token(&self, token: &str) -> Result<PathBuf> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.path(&format!("kubeconfig-{number}"));
        fs::write(&path, kubeconfig(self.folder.path(), self.port, token))?;
        Ok(path)
    }

    /// URL of the server, such as `https://127.0.0.1:12345`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The administrator's bearer token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate (PEM) that vouches for the server.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        certificate(self.folder.path())
    }

    /// The folder of the servers' files; the caller may keep its own files there.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a program beside those that run, such as `helm`; built when it is missing.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        tools::find(name)
    }

    /// The process ids of etcd and kube-apiserver.
    #[must_use]
    pub fn pids(&self) -> (u32, u32) {
        (lock(&self.etcd).pid(), lock(&self.apiserver).pid())
    }

    /// Kills kube-apiserver (SIGKILL). [`ApiServer::restart_apiserver`] brings it back.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill_apiserver(&self) -> Result<()> {
        lock(&self.apiserver).kill()
    }

    /// Ends kube-apiserver, if it runs, and starts it again on the same port and the same etcd; returns when it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn restart_apiserver(&self) -> Result<()> {
        {
            let mut apiserver = lock(&self.apiserver);
            apiserver.kill()?;
            *apiserver =
                start_apiserver(self.folder.path(), &self.options, self.etcd_port, self.port)?;
        }
        self.wait_ready()
    }

    /// Copies the store as it is at this moment, for [`ApiServer::restore`].
    ///
    /// # Errors
    /// When etcd does not run, or its files cannot be copied.
    pub fn back_up(&self) -> Result<()> {
        let backup = self.path("backup");
        if backup.exists() {
            fs::remove_dir_all(&backup)?;
        }
        self.pause_etcd()?;
        // As after a power failure: etcd recovers from any moment.
        let copied = copy_folder(&self.path("etcd"), &backup);
        self.resume_etcd()?;
        copied
    }

    /// Restarts etcd with the store as it was at [`ApiServer::back_up`], and kube-apiserver after it; returns when it
    /// is ready.
    ///
    /// # Errors
    /// When there is no backup, or one of them does not get ready.
    pub fn restore(&self) -> Result<()> {
        {
            let (mut etcd, mut apiserver) = (lock(&self.etcd), lock(&self.apiserver));
            apiserver.kill()?;
            etcd.kill()?;
            let data = self.path("etcd");
            fs::remove_dir_all(&data)?;
            copy_folder(&self.path("backup"), &data)?;
            *etcd = start_etcd(self.folder.path(), self.etcd_port)?;
        }
        self.restart_apiserver()
    }

    /// Freezes etcd: the API server still listens, but nothing that needs its store is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause_etcd(&self) -> Result<()> {
        lock(&self.etcd).signal(Signal::SIGSTOP)
    }

    /// Thaws etcd.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume_etcd(&self) -> Result<()> {
        lock(&self.etcd).signal(Signal::SIGCONT)
    }

    /// Freezes kube-apiserver: connections are taken, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause_apiserver(&self) -> Result<()> {
        lock(&self.apiserver).signal(Signal::SIGSTOP)
    }

    /// Thaws kube-apiserver.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume_apiserver(&self) -> Result<()> {
        lock(&self.apiserver).signal(Signal::SIGCONT)
    }

    /// Ends all servers. `Drop` does the same.
    pub fn stop(self) {
        drop(self);
    }

    /// Waits until the server says that it is ready, and describes its kinds: `helm` and `kubectl apply` ask for that.
    ///
    /// # Errors
    /// When it has ended, or the time is up; with the end of the logs.
    pub fn wait_ready(&self) -> Result<()> {
        let mut ended = None;
        let ready = eventually("the API server is ready", READY, || {
            let alive = lock(&self.etcd).ensure_alive();
            if let Err(error) = alive.and_then(|()| lock(&self.apiserver).ensure_alive()) {
                ended = Some(error);
                return Ok(());
            }
            self.kubectl(&["get", "--raw=/readyz"])?.ok()?;
            self.kubectl(&["explain", "configmaps"])?.ok().map(drop)
        });
        if let Some(error) = ended {
            return Err(error);
        }
        ready.with_context(|| format!("kube-apiserver:\n{}", lock(&self.apiserver).log_tail()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn has_audit_log(&self) -> bool {
        self.options.has_audit_log
    }
}

impl Drop for ApiServer {
    /// Clients first, so that none of them logs that its server is gone.
    fn drop(&mut self) {
        lock(&self.controller_manager).take();
        let _ = lock(&self.apiserver).kill();
        let _ = lock(&self.etcd).kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The API server makes a certificate of its own on its first start, and keeps it here.
fn certificate(folder: &Path) -> PathBuf {
    folder.join("certificates/apiserver.crt")
}

fn write_inputs(folder: &Path, port: u16, token: &str) -> Result<()> {
    fs::write(
        folder.join("tokens.csv"),
        format!("{token},admin,admin,system:masters\n"),
    )?;
    fs::write(folder.join("kubeconfig"), kubeconfig(folder, port, token))?;
    keys::write(folder)?;
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
                  rules: [{level: Metadata}]\n";
    Ok(fs::write(folder.join("audit-policy.yaml"), policy)?)
}

fn kubeconfig(folder: &Path, port: u16, token: &str) -> String {
    let ca = certificate(folder);
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": ca}}],
        "users": [{"name": "e2e", "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
    });
    // JSON is YAML.
    config.to_string()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

fn start_etcd(folder: &Path, port: u16) -> Result<Running> {
    let mut command = Command::new(tools::find("etcd")?);
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let url = format!("http://127.0.0.1:{port}");
    command
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        .args([
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--quota-backend-bytes=4294967296",
        ]);
    Running::start("etcd", command, &folder.join("etcd.log"))
}

fn start_apiserver(folder: &Path, options: &Options, etcd_port: u16, port: u16) -> Result<Running> {
    let mut command = Command::new(tools::find("kube-apiserver")?);
    let file = |name: &str| folder.join(name).display().to_string();
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", file("certificates")))
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .args([
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
        ])
        .args(["--endpoint-reconciler-type=none", "--allow-privileged=true"])
        .arg(format!(
            "--service-account-key-file={}",
            file("service-account.pub")
        ))
        .arg(format!(
            "--service-account-signing-key-file={}",
            file("service-account.key")
        ))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args([
            "--service-cluster-ip-range=10.96.0.0/16",
            "--profiling=false",
        ]);
    if options.has_audit_log {
        command
            .arg(format!("--audit-policy-file={}", file("audit-policy.yaml")))
            .arg(format!("--audit-log-path={}", file("audit.log")))
            // One file that grows, so that nothing is missed.
            .args(["--audit-log-maxsize=100000", "--audit-log-mode=blocking"]);
    }
    if let Some(interval) = options.compaction {
        command.arg(format!(
            "--etcd-compaction-interval={}ms",
            interval.as_millis()
        ));
    }
    command.args(&options.more_flags);
    Running::start(
        "kube-apiserver",
        command,
        &folder.join("kube-apiserver.log"),
    )
}
