//! The binary as a person runs it.

mod command_line;
mod evaluation;
mod kills;
mod reference;
mod scripted;
mod support;
mod tls;
