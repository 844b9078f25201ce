//! Messages that lint and admission share word for word; lint may add the found value.

/// A name of the topology or its namespace.
pub(crate) const DNS_LABEL: &str =
    "expected lower-case letters, digits and '-', at most 63 characters";
pub(crate) const NO_FORWARDERS: &str = "expected at least one, or forwarderPerNode";
pub(crate) const BOTH_FORWARDERS: &str = "expected either this or forwarders, found both";
pub(crate) const NAMED_AUTO: &str = "\"Auto\" means any forwarder: expected another name";
pub(crate) const NODE_AND_SELECTOR: &str = "expected either this or node, found both";
pub(crate) const SELF_LINK: &str = "expected another forwarder than a";
pub(crate) const ENCRYPTED: &str = "Encrypted is not supported yet: expected Auto, Veth or Vxlan";
pub(crate) const BLOCK_COUNT: &str = "expected as many as cidrs";
pub(crate) const ONE_PER_FAMILY: &str = "expected one CIDR for each family";
pub(crate) const CIDR: &str = "expected a CIDR such as \"10.80.0.0/16\"";
pub(crate) const HOST_BITS: &str = "has host bits set";
pub(crate) const SELECTOR_AND_EXTERNAL: &str =
    "expected either podSelector or external, found both";
pub(crate) const OTHER_FORWARDER: &str = "expected the same forwarder as in external";
pub(crate) const NO_VALUES: &str = "expected at least one value with operator In or NotIn";
pub(crate) const SOME_VALUES: &str = "expected no values with operator Exists or DoesNotExist";
