//! Which job runs where and until when: a pure step function.
