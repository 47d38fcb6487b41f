//! Lossless packing of integer series.
