//! The command line of every program of the cluster.

use anyhow::Result;
use serde_json::json;

use super::component::Component;
use super::layout::{CONTROL, DNS_SERVICE, Layout, addresses, cgroup};
use super::options::Settings;
use crate::tools;

const ETCD: &str = "http://127.0.0.1:2379";
const SERVICES: &str = "10.96.0.0/16,fd96::/112";
const DEBIAN: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The command line of `component` on the place `name`.
pub(super) fn line(settings: &Settings, component: Component, name: &str) -> Result<Vec<String>> {
    let layout = Layout {
        root: settings.dir.clone(),
    };
    let program = match component {
        Component::Containerd if settings.has_containerd_1(name) => "/usr/bin/containerd".into(),
        _ => {
            let minor = settings.kubernetes.as_deref();
            let file = tools::find_of(component.program(), minor)?;
            file.display().to_string()
        }
    };
    let arguments = match component {
        Component::Etcd => etcd(&layout),
        Component::ApiServer => api_server(&layout),
        Component::ControllerManager => controller_manager(&layout),
        Component::Scheduler => scheduler(&layout),
        Component::Containerd => config(&layout, name, "--config", "containerd.toml"),
        Component::Kubelet => kubelet(&layout, name),
        Component::KubeProxy => config(&layout, name, "--config", "kube-proxy.json"),
    };
    Ok([vec![program], arguments].concat())
}

/// `PATH` of the programs in the place `name`, above all with its own containerd's shim.
pub(super) fn path(settings: &Settings, name: &str) -> Result<String> {
    if name == CONTROL || settings.has_containerd_1(name) {
        return Ok(DEBIAN.to_owned());
    }
    let shim = tools::find("containerd-shim-runc-v2")?;
    let ctr = tools::find("ctr")?;
    let folders = [shim, ctr].map(|file| file.parent().map(|dir| dir.display().to_string()));
    let folders: Vec<String> = folders.into_iter().flatten().collect();
    Ok(format!("{}:{DEBIAN}", folders.join(":")))
}

fn config(layout: &Layout, name: &str, flag: &str, file: &str) -> Vec<String> {
    let file = layout.config(name).join(file);
    vec![format!("{flag}={}", file.display())]
}

fn words(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|&flag| flag.to_owned()).collect()
}

fn etcd(layout: &Layout) -> Vec<String> {
    let mut line = words(&[
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--quota-backend-bytes=4294967296",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ]);
    let data = layout.state(CONTROL).join("etcd");
    line.push(format!("--data-dir={}", data.display()));
    line.push(format!("--listen-client-urls={ETCD}"));
    line.push(format!("--advertise-client-urls={ETCD}"));
    line
}

fn api_server(layout: &Layout) -> Vec<String> {
    let key = |file: &str| layout.keys().join(file).display().to_string();
    let mut line = words(&[
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--enable-aggregator-routing=true",
        "--profiling=false",
    ]);
    line.push(format!("--etcd-servers={ETCD}"));
    line.push(format!("--advertise-address={}", addresses(CONTROL)[0]));
    line.push(format!("--service-cluster-ip-range={SERVICES}"));
    for (flag, file) in [
        ("client-ca-file", "ca.crt"),
        ("requestheader-client-ca-file", "ca.crt"),
        ("kubelet-certificate-authority", "ca.crt"),
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("kubelet-client-certificate", "kubelet-client.crt"),
        ("kubelet-client-key", "kubelet-client.key"),
        ("proxy-client-cert-file", "front-proxy.crt"),
        ("proxy-client-key-file", "front-proxy.key"),
        ("service-account-key-file", "service-account.pub"),
        ("service-account-signing-key-file", "service-account.key"),
    ] {
        line.push(format!("--{flag}={}", key(file)));
    }
    line
}

fn controller_manager(layout: &Layout) -> Vec<String> {
    let mut line = words(&[
        "--leader-elect=false",
        "--use-service-account-credentials",
        "--allocate-node-cidrs=false",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=16s",
        "--profiling=false",
    ]);
    let client = layout.kubeconfig("kube-controller-manager");
    let key = layout.keys().join("service-account.key");
    let authority = layout.keys().join("ca.crt");
    line.push(format!("--kubeconfig={}", client.display()));
    line.push(format!(
        "--service-account-private-key-file={}",
        key.display()
    ));
    line.push(format!("--root-ca-file={}", authority.display()));
    line
}

fn scheduler(layout: &Layout) -> Vec<String> {
    let client = layout.kubeconfig("kube-scheduler");
    vec![
        format!("--kubeconfig={}", client.display()),
        "--leader-elect=false".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

fn kubelet(layout: &Layout, name: &str) -> Vec<String> {
    let mut line = config(layout, name, "--config", "kubelet.json");
    line.push(format!(
        "--kubeconfig={}",
        layout.kubeconfig(name).display()
    ));
    line.push(format!("--hostname-override={name}"));
    line.push(format!("--node-ip={}", addresses(name).join(",")));
    line
}

/// KubeletConfiguration of the node `name`.
pub(super) fn kubelet_config(layout: &Layout, name: &str) -> String {
    let key = |file: &str| layout.keys().join(file);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": true,
        "cgroupRoot": format!("/{}/{name}", cgroup(&layout.root)),
        "enforceNodeAllocatable": [], "failSwapOn": false,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // Nobody may lower a score here, not even root.
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%",
                         "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "4s", "nodeStatusReportFrequency": "4s", "nodeLeaseDurationSeconds": 10,
        "clusterDNS": DNS_SERVICE, "clusterDomain": "cluster.local",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true},
                           "x509": {"clientCAFile": key("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": key(&format!("kubelet-{name}.crt")),
        "tlsPrivateKeyFile": key(&format!("kubelet-{name}.key")),
        "resolvConf": "/etc/resolv.conf", "maxPods": 200, "staticPodPath": "/etc/kubernetes/manifests",
    })
    .to_string()
}

/// KubeProxyConfiguration of the node `name`: iptables on the first node, nftables on the others.
pub(super) fn proxy_config(layout: &Layout, name: &str) -> String {
    let mode = if name == "n1" { "iptables" } else { "nftables" };
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": mode, "hostnameOverride": name, "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": layout.kubeconfig("kube-proxy")},
        "clusterCIDR": "10.244.0.0/16,fd44::/48",
        // Those are the machine's own limits.
        "conntrack": {"maxPerCore": 0, "min": 0},
    })
    .to_string()
}

/// Settings of containerd, old and new: version 2 of the file is read by both.
pub(super) const CONTAINERD: &str = r#"version = 2
oom_score = 0
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
disable_apparmor = true
restrict_oom_score_adj = true
sandbox_image = "localhost/pause:1"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#;
