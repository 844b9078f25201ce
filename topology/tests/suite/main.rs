//! Tests of the crate from outside, in one program.

mod golden;
mod model;
mod oracle;
mod support;
mod updates;
mod worked_example;
