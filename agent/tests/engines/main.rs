//! Real engines behind runners: what they answer, held against references, and whether a runner costs them time.
//!
//! Each engine has an environment of its own, which `cargo xtask test --engines` makes.
//! To add an engine: a line in `xtask/src/engines.rs`, its models beside the others, and a test here.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests")]
#![expect(clippy::print_stdout, reason = "what was measured is read by who runs it")]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../processes/common.rs"]
mod common;
mod digits;
mod llama;
mod speed;
