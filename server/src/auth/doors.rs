//! The table of who may call what.

use seatrial_core::role::Role;

/// One row: a gRPC method (`package.Service/Method`) or an HTTP route (`GET /artifacts/{digest}`).
#[derive(Debug, PartialEq, Eq)]
pub struct Door {
    pub call: &'static str,
    /// Leaves an entry in the audit log.
    pub write: bool,
    /// The response goes on for long: it ends when the caller's token is revoked.
    pub streams: bool,
    pub allow: &'static [Allow],
}

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allow {
    /// No credentials are looked at.
    Anyone,
    /// The bearer is a one-time enrolment, which the handler uses up.
    Enrolment,
    /// This role, and those that include it.
    Role(Role),
}

/// Every row, ordered by call. Generated from `doors.toml`.
pub const DOORS: &[Door] = include!(concat!(env!("OUT_DIR"), "/doors.rs"));

/// The row of a call.
#[must_use]
pub fn find(call: &str) -> Option<&'static Door> {
    DOORS.binary_search_by(|door| door.call.cmp(call)).ok().map(|index| &DOORS[index])
}

impl Door {
    #[must_use]
    pub fn admits(&self, role: Role) -> bool {
        self.allow.iter().any(|allow| match allow {
            Allow::Anyone => true,
            Allow::Enrolment => false,
            Allow::Role(needed) => role.includes(*needed),
        })
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.allow.contains(&Allow::Anyone)
    }

    #[must_use]
    pub fn takes_enrolment(&self) -> bool {
        self.allow.contains(&Allow::Enrolment)
    }

    /// What a refused caller would need: `submitter`, `viewer or agent`.
    #[must_use]
    pub fn needs(&self) -> String {
        let words: Vec<&str> = self
            .allow
            .iter()
            .map(|allow| match allow {
                Allow::Anyone => "anyone",
                Allow::Enrolment => "an enrolment",
                Allow::Role(role) => role.as_str(),
            })
            .collect();
        words.join(" or ")
    }
}

/// Whether every one of these routes has a row, for use in a constant: a route without one fails the build.
#[must_use]
pub const fn cover(routes: &[(&str, &str)]) -> bool {
    let mut index = 0;
    while index < routes.len() {
        if !has_row(routes[index].0, routes[index].1) {
            return false;
        }
        index += 1;
    }
    true
}

const fn has_row(method: &str, path: &str) -> bool {
    let mut index = 0;
    while index < DOORS.len() {
        if is_route(DOORS[index].call.as_bytes(), method.as_bytes(), path.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

/// Whether `call` is `method`, a space and `path`.
const fn is_route(call: &[u8], method: &[u8], path: &[u8]) -> bool {
    if call.len() != method.len() + 1 + path.len() || call[method.len()] != b' ' {
        return false;
    }
    let mut index = 0;
    while index < call.len() {
        let expected = if index < method.len() {
            method[index]
        } else if index == method.len() {
            b' '
        } else {
            path[index - method.len() - 1]
        };
        if call[index] != expected {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_whole_call_only() {
        assert!(DOORS.is_sorted_by_key(|door| door.call));
        assert!(find("seatrial.v1.Runs/Submit").is_some_and(|door| door.write && !door.admits(Role::Viewer)));
        assert_eq!(find("seatrial.v1.Runs/Subm"), None);
        assert!(find("seatrial.v1.Runs/Watch").is_some_and(|door| door.streams));
    }

    #[test]
    fn a_route_without_a_row_is_noticed() {
        assert!(cover(&[("GET", "/healthz"), ("PUT", "/artifacts/{digest}")]));
        assert!(!cover(&[("GET", "/healthz"), ("DELETE", "/artifacts/{digest}")]));
        assert!(!cover(&[("GET", "/health")]));
    }

    #[test]
    fn people_and_agents_pass_only_their_own_doors() {
        let both = find("GET /artifacts/{digest}").unwrap();
        assert!(both.admits(Role::Agent) && both.admits(Role::Admin));
        let session = find("seatrial.v1.AgentService/OpenSession").unwrap();
        assert!(session.admits(Role::Agent) && !session.admits(Role::Admin));
        assert_eq!(both.needs(), "viewer or agent");
    }
}
