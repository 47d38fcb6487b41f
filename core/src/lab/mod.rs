//! What a lab does with its devices: who may use one, when it is sick, what is tried to get it back, and when the small
//! model checks its health. Pure decisions; the server and the lab host carry them out.

pub mod abi;
pub mod activity;
pub mod canary;
pub mod checkup;
pub mod flaps;
pub mod ladder;
pub mod phone;
pub mod port;
pub mod seen;
pub mod standing;
