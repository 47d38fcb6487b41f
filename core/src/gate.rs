//! Passing or failing a run by outcomes and absolute metrics.
