//! `beemesh-operator`: the command line of the operator.

fn main() {}
