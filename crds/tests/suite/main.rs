//! Tests of the crate from outside. One program: each links the client of Kubernetes anew.

mod corpus;
mod drain;
mod examples;
mod expansion;
mod garbage;
mod limits;
mod placement;
mod yaml;
