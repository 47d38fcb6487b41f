//! The edge of a real server on a free port, with real clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "edge/agents.rs"]
mod agents;
#[path = "edge/artifacts.rs"]
mod artifacts;
#[path = "edge/child.rs"]
mod child;
#[path = "edge/doors.rs"]
mod doors;
#[path = "edge/fleet_page.rs"]
mod fleet_page;
#[path = "edge/guard.rs"]
mod guard;
#[path = "edge/health.rs"]
mod health;
#[path = "edge/identity.rs"]
mod identity;
#[path = "edge/port.rs"]
mod port;
#[path = "edge/profiles.rs"]
mod profiles;
#[path = "edge/quarantines.rs"]
mod quarantines;
#[path = "edge/reservations.rs"]
mod reservations;
#[path = "edge/runs.rs"]
mod runs;
#[path = "edge/support.rs"]
mod support;
#[path = "edge/tls.rs"]
mod tls;
#[path = "edge/web.rs"]
mod web;
