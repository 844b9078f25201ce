//! `-4` and `-6`: address families of a probe.

use probe::endpoint::Family;

/// `-4` and `-6`, to be flattened into the arguments of a verb that sends packets.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct FamilyArgs {
    /// IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', long)]
    pub ipv6: bool,
}

impl FamilyArgs {
    /// Selected families, the preferred one first.
    pub fn families(self) -> &'static [Family] {
        match (self.ipv4, self.ipv6) {
            (true, _) => &[Family::V4],
            (_, true) => &[Family::V6],
            (false, false) => &[Family::V4, Family::V6],
        }
    }
}
