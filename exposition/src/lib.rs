//! What every daemon of beemesh tells in the same way.
//!
//! Knows: the process that it is in, and the text format of Prometheus. Refuses to know: what is
//! counted, and over which protocol it is asked for.
#![forbid(unsafe_code)]

mod process;
mod text;

pub use process::Process;
pub use text::{MEDIA_TYPE, prometheus};
