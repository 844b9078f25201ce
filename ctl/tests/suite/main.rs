//! Tests of `beemesh` as its users call it. One program: each links the client of Kubernetes anew.

mod common;
mod docs;
mod generate;
mod graph;
mod help;
mod input;
mod path;
mod plan;
mod routes;
