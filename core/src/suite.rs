//! The suite file.
