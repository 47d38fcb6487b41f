//! Comparison of outputs with reference outputs.

use serde::{Deserialize, Serialize};

/// One output against its reference over all examples; definitions in `docs/measurement.md`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub examples: u32,
    /// Elements compared.
    pub elements: u64,
    pub max_abs: f64,
    pub mean_abs: f64,
    /// Smallest cosine similarity of an example.
    pub cosine: Option<f64>,
    /// 10 log10(Σ r² / Σ (r − t)²) over all elements, in dB; `None` when the difference is exactly zero.
    pub sqnr_db: Option<f64>,
    /// Examples whose argmax is the reference's.
    pub argmax_agree: u32,
    pub nan_count: u64,
    pub inf_count: u64,
}
