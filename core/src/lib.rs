//! Types and decisions of Seatrial, and nothing else.
//!
//! This crate is pure: no tokio, no sqlx, no tonic, no file system, no clock and no randomness of its own.
//! Whatever needs time or entropy takes it as an argument. Effects live at the edges (`server`, `agent`,
//! `store`), which call into this crate to decide.

pub mod accuracy;
pub mod actual;
pub mod agents;
pub mod answers;
pub mod backend;
pub mod block;
pub mod command;
pub mod cooldown;
pub mod dataset;
pub mod device;
pub mod digest;
pub mod energy;
pub mod evidence;
pub mod expand;
pub mod failure;
pub mod gate;
pub mod identity;
pub mod ids;
pub mod job;
pub mod lab;
pub mod live;
pub mod measure;
pub mod metric;
pub mod model;
pub mod operators;
pub mod outcome;
pub mod placement;
pub mod profile;
pub mod reading;
pub mod reason;
pub mod report;
pub mod retry;
pub mod role;
pub mod runtimes;
pub mod schedule;
pub mod selector;
pub mod session;
pub mod stage;
pub mod store;
pub mod suite;
pub mod tensor;
pub mod time;
pub mod weights;
