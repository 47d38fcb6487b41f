//! Task metrics, comparison with reference outputs, and comparison of two models on the same examples.

pub mod classification;
pub mod detection;
pub mod deviation;
pub mod golden;
pub mod kept;
pub mod multilabel;
pub mod paired;
pub mod retrieval;
pub mod segmentation;
pub mod text;
