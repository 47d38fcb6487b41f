//! What the headers of a file say of whom it was built for.

/// A processor for which there are no agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignMachine {
    /// `e_machine` of the ELF header.
    pub code: u16,
    /// 32 or 64.
    pub bits: u8,
}
