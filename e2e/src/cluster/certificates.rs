//! Certificates and kubeconfigs of everyone in the cluster, made before it starts.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::layout::{API_SERVICE, CONTROL, Layout, MOST_NODES, addresses, api_url};
use crate::keys;

const MASTERS: &str = "system:masters";

/// Certificate authority of all certificates.
type Authority = Issuer<'static, KeyPair>;

/// Writes all of them to the cluster's folder of keys.
pub(super) fn write(layout: &Layout) -> Result<()> {
    let folder = layout.keys();
    fs::create_dir_all(&folder)?;
    keys::write(&folder)?;
    let authority = authority(&folder)?;
    let mut api = vec!["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let control = addresses(CONTROL);
    api.extend(["localhost", "127.0.0.1", &control[0], &control[1]]);
    api.extend(API_SERVICE);
    pair(&folder, &authority, "apiserver", "kube-apiserver", "", &api)?;
    // The API server as a client: of kubelets, and of what extends it.
    pair(&folder, &authority, "kubelet-client", "api", MASTERS, &[])?;
    pair(&folder, &authority, "front-proxy", "front-proxy", "", &[])?;
    let users = [
        ("admin", "admin", MASTERS),
        (
            "kube-controller-manager",
            "system:kube-controller-manager",
            "",
        ),
        ("kube-scheduler", "system:kube-scheduler", ""),
        ("kube-proxy", "system:kube-proxy", ""),
    ];
    for (file, name, group) in users {
        user(layout, &authority, file, name, group)?;
    }
    for number in 1..=MOST_NODES {
        let node = format!("n{number}");
        let [v4, v6] = addresses(&node);
        let name = format!("system:node:{node}");
        let serving = format!("kubelet-{node}");
        pair(&folder, &authority, &serving, &name, "", &[&node, &v4, &v6])?;
        user(layout, &authority, &node, &name, "system:nodes")?;
    }
    Ok(())
}

fn authority(folder: &Path) -> Result<Authority> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "beemesh-e2e");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    fs::write(folder.join("ca.crt"), params.self_signed(&key)?.pem())?;
    Ok(Issuer::new(params, key))
}

/// Writes `file`.crt and `file`.key; a server's certificate too when `hosts` are named.
fn pair(
    folder: &Path,
    authority: &Authority,
    file: &str,
    name: &str,
    group: &str,
    hosts: &[&str],
) -> Result<()> {
    let key = KeyPair::generate()?;
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if !group.is_empty() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let certificate = params.signed_by(&key, authority)?;
    fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
    Ok(fs::write(
        folder.join(format!("{file}.key")),
        key.serialize_pem(),
    )?)
}

/// Writes `file`.kubeconfig with a client's certificate.
fn user(layout: &Layout, authority: &Authority, file: &str, name: &str, group: &str) -> Result<()> {
    let folder = layout.keys();
    pair(
        &folder,
        authority,
        &format!("user-{file}"),
        name,
        group,
        &[],
    )?;
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {
            "server": api_url(), "certificate-authority": folder.join("ca.crt")}}],
        "users": [{"name": name, "user": {
            "client-certificate": folder.join(format!("user-{file}.crt")),
            "client-key": folder.join(format!("user-{file}.key"))}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
    });
    // JSON is YAML.
    Ok(fs::write(layout.kubeconfig(file), config.to_string())?)
}
