//! Netlink with as few system calls as can be: requests packed into batches, answers read in place.
//!
//! ```text
//! Batch: message message ... message+ACK  -> one send -> | kernel | -> errors (by sequence) ... ACK of the last
//! ```
//! The crates for netlink messages allocate for each attribute and know no nexthop objects (as of
//! netlink-packet-route 0.34), so messages are written straight into the batch here.

mod attribute;
mod batch;
pub(crate) mod consts;
mod socket;

pub use crate::error::Rejection;
pub use attribute::{Attribute, Attributes, attributes, read_ip, read_str, read_u16, read_u32};
pub use batch::{Batch, Message};
pub use consts::*;
pub use socket::Socket;
pub(crate) use socket::messages;
