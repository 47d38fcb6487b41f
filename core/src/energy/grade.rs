//! What an energy is worth.

use std::fmt;

use serde::{Deserialize, Serialize};

/// From best to none. Energies of different grades are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grade {
    /// By a meter that is not the battery's gauge.
    E0,
    /// Unplugged; the current and the charge counter agree.
    E1,
    /// Unplugged; one method alone, or two that do not agree well.
    E2,
    /// On the cable with its input switched off.
    E3,
    /// No number: the phone was fed from outside, or nothing that it says of power can be believed.
    E4,
}

impl Grade {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::E0 => "E0",
            Self::E1 => "E1",
            Self::E2 => "E2",
            Self::E3 => "E3",
            Self::E4 => "E4",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
