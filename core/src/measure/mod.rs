//! From raw samples to metrics. Pure; every definition is written out in `docs/measurement.md`.
