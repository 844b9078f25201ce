//! Computation of link MTUs.

use crate::mac::IPV6_MIN_MTU;

/// The largest MTU of a veth: no interface takes more (`ETH_MAX_MTU`).
pub const MAX_MTU: u32 = 65_535;
/// The smallest MTU that IPv4 may have (RFC 791, page 25).
pub const IPV4_MIN_MTU: u32 = 68;

/// Encapsulation of a link's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// A veth pair: no overhead.
    Veth,
    /// VXLAN over IPv4: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 (RFC 7348, section 5).
    VxlanV4,
    /// VXLAN over IPv6: inner Ethernet 14, VXLAN 8, UDP 8, IPv6 40.
    VxlanV6,
}

impl Encapsulation {
    /// Bytes between the underlay's MTU and the link's.
    pub const fn overhead(self) -> u32 {
        match self {
            Self::Veth => 0,
            Self::VxlanV4 => 14 + 8 + 8 + 20,
            Self::VxlanV6 => 14 + 8 + 8 + 40,
        }
    }
}

/// Parameters of a link's MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// MTU of the underlay in bytes; for a veth the desired default.
    pub underlay: u32,
    /// Encapsulation.
    pub encapsulation: Encapsulation,
    /// True when frames inside the tunnel carry a VLAN tag (4 bytes).
    pub vlan: bool,
    /// Bytes that encryption adds to each packet.
    pub encryption: u32,
    /// The MTU that the user declared, if any.
    pub declared: Option<u32>,
    /// True when the topology has IPv6.
    pub ipv6: bool,
}

/// Error for a link without a valid MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MtuError {
    /// The declared MTU exceeds what the underlay leaves.
    #[error("mtu {declared} is more than the {largest} bytes that the underlay leaves")]
    TooLarge {
        /// Declared MTU in bytes.
        declared: u32,
        /// Largest possible MTU in bytes.
        largest: u32,
    },
    /// The MTU is too small for the address families of the topology.
    #[error("mtu {mtu} is less than the {least} bytes that the topology's address families need")]
    TooSmall {
        /// Declared or remaining MTU in bytes.
        mtu: u32,
        /// 1280 with IPv6, else 68.
        least: u32,
    },
}

/// MTU of a link in bytes: the declared one, or what the underlay leaves.
///
/// # Errors
/// [`MtuError`] when the declared MTU does not fit, or the remaining one is below the minimum of
/// IPv6 (1280) or IPv4 (68).
pub fn link_mtu(path: &Path) -> Result<u32, MtuError> {
    let overhead = path.encapsulation.overhead() + if path.vlan { 4 } else { 0 };
    let largest = path
        .underlay
        .min(MAX_MTU)
        .saturating_sub(overhead.saturating_add(path.encryption));
    let mtu = path.declared.unwrap_or(largest);
    let least = if path.ipv6 {
        IPV6_MIN_MTU
    } else {
        IPV4_MIN_MTU
    };
    if mtu > largest {
        return Err(MtuError::TooLarge {
            declared: mtu,
            largest,
        });
    }
    if mtu < least {
        return Err(MtuError::TooSmall { mtu, least });
    }
    Ok(mtu)
}

#[cfg(test)]
mod tests {
    use super::{Encapsulation::*, MtuError::*, *};

    #[test]
    fn mtu_is_what_the_underlay_leaves() {
        #[rustfmt::skip]
        let cases = [
            // underlay, encapsulation, vlan, encryption, declared, ipv6   mtu
            (1500,  Veth,    false, 0,  None,       true,  Ok(1500)),
            (9000,  Veth,    false, 0,  None,       true,  Ok(9000)),
            (70000, Veth,    false, 0,  None,       true,  Ok(65535)),
            (1500,  VxlanV4, false, 0,  None,       true,  Ok(1450)),
            (1500,  VxlanV6, false, 0,  None,       true,  Ok(1430)),
            (9000,  VxlanV4, false, 0,  None,       true,  Ok(8950)),
            (1500,  VxlanV4, true,  0,  None,       true,  Ok(1446)),
            (1500,  VxlanV4, false, 80, None,       true,  Ok(1370)),
            (1500,  VxlanV4, true,  60, None,       true,  Ok(1386)),
            (1500,  VxlanV4, false, 0,  Some(1400), true,  Ok(1400)),
            (1500,  VxlanV4, false, 0,  Some(1450), true,  Ok(1450)),
            (1500,  VxlanV4, false, 0,  Some(1451), true,  Err(TooLarge { declared: 1451, largest: 1450 })),
            (1330,  VxlanV4, false, 0,  None,       true,  Ok(1280)),
            (1329,  VxlanV4, false, 0,  None,       true,  Err(TooSmall { mtu: 1279, least: 1280 })),
            (1329,  VxlanV4, false, 0,  None,       false, Ok(1279)),
            (1500,  Veth,    false, 0,  Some(1279), true,  Err(TooSmall { mtu: 1279, least: 1280 })),
            (1500,  Veth,    false, 0,  Some(67),   false, Err(TooSmall { mtu: 67, least: 68 })),
            (40,    VxlanV6, false, 0,  None,       false, Err(TooSmall { mtu: 0, least: 68 })),
        ];
        for (underlay, encapsulation, vlan, encryption, declared, ipv6, expected) in cases {
            let path = Path {
                underlay,
                encapsulation,
                vlan,
                encryption,
                declared,
                ipv6,
            };
            assert_eq!(link_mtu(&path), expected, "{path:?}");
        }
    }
}
