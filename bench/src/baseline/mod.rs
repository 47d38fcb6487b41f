//! What each figure is held against: the least that the same work could cost with the same libraries.

pub mod dispatcher;
pub mod sqlite;
pub mod tcp;
