//! Objects that nobody of ours would have made.

use anyhow::{Result, ensure};
use e2e::{ApiServer, AuditEvent};
use serde_json::json;

use crate::cluster::Cluster;

/// A Forwarder object with the name that `foo` wants, which says that it is of `bar`.
pub(crate) fn in_the_way() -> Result<()> {
    let cluster = Cluster::on(ApiServer::options().audit_log().start()?)?;
    cluster.node("way-1", &json!({}))?;
    let namespace = cluster.namespace("way")?;
    let foreign = json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "Forwarder",
        "metadata": {"name": "foo.f0", "namespace": "way"},
        "spec": {"topology": "bar", "name": "zz"},
    });
    cluster.server.kubectl_apply(&foreign.to_string())?;
    let names = ["f0", "f1", "f2"];
    let forwarders = names.map(|name| json!({"name": name, "node": "way-1"}));
    let spec = json!({"forwarders": forwarders, "shape": "Line"});
    namespace.topology("foo", &spec)?;

    let blocked = namespace.until("foo", "Computed", "False", "Blocked")?;
    let conditions = blocked["status"]["conditions"].to_string();
    let expected = "Forwarder foo.f0 is not of this topology and is to go first";
    ensure!(conditions.contains(expected), "{conditions}");
    namespace.eventually("it is logged", || {
        let log = cluster.operator.log();
        ensure!(log.contains(expected), "{log}");
        Ok(())
    })?;
    let is_try = |event: &&AuditEvent| {
        event.verb == "create" && event.resource == "forwarders" && event.code == 409
    };
    let audit = cluster.server.audit()?;
    let tries = audit.iter().filter(is_try).count();
    // One where the operator has not heard yet of what is there.
    ensure!(tries <= 1, "made {tries} times what is there");

    // Its end is noticed, though it is said to be of another topology.
    namespace.delete("fwd", "foo.f0")?;
    namespace.until("foo", "Computed", "True", "")?;
    Ok(())
}
