//! Task metrics and comparison with reference outputs.

pub mod classification;
pub mod golden;
