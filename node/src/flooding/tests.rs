//! The exchange as a whole.

mod keys;
mod mesh;
mod reports;
mod visits;
