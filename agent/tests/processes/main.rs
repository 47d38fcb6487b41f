//! Tests with real processes: children that misbehave, real models, and whole agents.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests")]

mod check;
mod command;
mod common;
mod contention;
mod custom;
mod datasets;
mod energy;
mod engines;
mod external;
mod memory;
mod onnxruntime;
mod outcomes;
mod run;
mod runner;
mod skipped;
mod stand_in;
mod states;
mod tasks;
mod tract;
