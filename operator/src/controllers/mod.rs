//! What is done when something changed.

mod meter;

pub use self::meter::{Meter, Outcome, Unmetered};
