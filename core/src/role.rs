//! What a caller may be.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The role of a token. Each human role includes the ones before it; `Agent` includes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Submitter,
    Operator,
    Admin,
    Agent,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Submitter, Self::Operator, Self::Admin, Self::Agent];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Agent => "agent",
        }
    }

    /// Whether this role includes another.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Agent, Self::Agent) => true,
            (Self::Agent, _) | (_, Self::Agent) => false,
            (mine, theirs) => mine.rank() >= theirs.rank(),
        }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Viewer => 1,
            Self::Submitter => 2,
            Self::Operator => 3,
            Self::Admin => 4,
            Self::Agent => 0,
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a role (viewer, submitter, operator, admin, agent)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_no_person_and_a_person_is_no_agent() {
        for role in Role::ALL {
            assert_eq!(role.includes(Role::Agent), role == Role::Agent);
            assert_eq!(Role::Agent.includes(role), role == Role::Agent);
        }
        assert!(Role::Admin.includes(Role::Viewer));
        assert!(!Role::Submitter.includes(Role::Operator));
    }
}
