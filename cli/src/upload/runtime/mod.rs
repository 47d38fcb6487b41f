//! What the headers of programs and libraries say.

pub(crate) mod elf;
