//! The binary as a person runs it.

mod command_line;
mod evaluation;
mod reference;
mod support;
mod tls;
