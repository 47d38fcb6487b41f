//! The dataset package: `dataset.toml` and the members that it names.
