//! When the small model that everybody knows the answer of runs on a device, and what its answer says of the device.
//!
//! [`Watch`] is what is known of one device's checks: the [`schedule`](crate::schedule) asks it before each job and once
//! a day. What a check found is judged in [`judge`].

mod judge;
mod sanity;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use judge::{Ended, Found, Health, Judgement, judge};
pub use sanity::insane;

use crate::device::Profile;
use crate::failure::build_of;
use crate::retry::Backoff;
use crate::time::Timestamp;

/// No device goes longer without a check.
pub const EVERY: Duration = Duration::from_hours(24);
/// So many failures of the lab in a row, and the device itself is looked at.
pub const FAILURES: u32 = 2;
/// Of a device, however many times it fails: the next check that nobody asked for is not sooner after a healthy one.
pub const PAUSE: Duration = Duration::from_mins(1);
/// Before a check that measured nothing is tried again, while the device works: longer each time in a row.
pub const AGAIN: Backoff = Backoff { first: Duration::from_mins(5), longest: Duration::from_hours(6) };
/// Of a device, newest first; older ones are forgotten.
pub const KEPT: u32 = 50;
/// The label with which an operator keeps a device from checks, and its value.
pub const LABEL: (&str, &str) = ("canary", "off");
/// What runs the small model: built into every agent that is made by our own rules.
pub const RUNTIME: &str = "tract";

/// Why a check is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    NeverChecked,
    Rebooted,
    /// Another ROM, driver or agent.
    SystemChanged,
    /// The last check found it sick, and its quarantine has ended.
    WasSick,
    Failures,
    ADayAgo,
    /// An operator wants it.
    Asked,
}

impl Due {
    pub const ALL: [Self; 7] = [
        Self::NeverChecked,
        Self::Rebooted,
        Self::SystemChanged,
        Self::WasSick,
        Self::Failures,
        Self::ADayAgo,
        Self::Asked,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverChecked => "never_checked",
            Self::Rebooted => "rebooted",
            Self::SystemChanged => "system_changed",
            Self::WasSick => "was_sick",
            Self::Failures => "failures",
            Self::ADayAgo => "a_day_ago",
            Self::Asked => "asked",
        }
    }
}

impl std::fmt::Display for Due {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Due {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|due| due.as_str() == text).ok_or_else(|| format!("{text:?} is no cause of a check"))
    }
}

/// The last check of a device that found it healthy or sick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    pub at: Timestamp,
    pub boot_id: String,
    /// See [`fingerprint`].
    pub fingerprint: String,
    pub healthy: bool,
}

/// The device as it is connected now, with its last check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub last: Option<Last>,
    /// As the kernel names it; empty when the agent does not tell.
    pub boot_id: String,
    pub fingerprint: String,
}

/// What a check's latency depends on beside the device: the build of its ROM, the GPU's driver and the agent, whose engine
/// runs the check.
#[must_use]
pub fn fingerprint(profile: &Profile, agent_version: &str) -> String {
    format!("{}; agent {agent_version}", build_of(profile))
}

/// Why a device is to be checked before its next job; `None` when it need not.
///
/// `failures`: attempts in a row that ended by the lab's fault since the last check.
#[must_use]
pub fn due(known: &Known, failures: u32, now: Timestamp) -> Option<Due> {
    let Some(last) = &known.last else { return Some(Due::NeverChecked) };
    if last.fingerprint != known.fingerprint {
        Some(Due::SystemChanged)
    } else if last.boot_id != known.boot_id && !known.boot_id.is_empty() {
        Some(Due::Rebooted)
    } else if !last.healthy {
        Some(Due::WasSick)
    } else if failures >= FAILURES {
        Some(Due::Failures)
    } else if now.since(last.at) >= EVERY {
        Some(Due::ADayAgo)
    } else {
        None
    }
}

/// The checks of a device, as far as they decide about the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    known: Known,
    failures: u32,
    /// Checks in a row that measured nothing.
    unknown: u32,
    rest_until: Option<Timestamp>,
    asked: bool,
}

impl Watch {
    #[must_use]
    pub const fn new(known: Known) -> Self {
        Self { known, failures: 0, unknown: 0, rest_until: None, asked: false }
    }

    /// The device has attached again. What was tried in vain counts as long as nothing of it has changed.
    pub fn attached(&mut self, known: Known) {
        let same = self.known.boot_id == known.boot_id && self.known.fingerprint == known.fingerprint;
        if !same {
            (self.unknown, self.rest_until) = (0, None);
        }
        // What the handshake has read may be older than what was heard since.
        let at = |last: &Option<Last>| last.as_ref().map(|last| last.at);
        let newer = at(&self.known.last) > at(&known.last);
        let last = if newer { self.known.last.take() } else { known.last };
        self.known = Known { last, ..known };
    }

    /// An operator wants a check.
    pub const fn ask(&mut self) {
        self.asked = true;
    }

    /// An attempt has ended on the device.
    pub const fn job_ended(&mut self, by_the_lab: bool) {
        self.failures = if by_the_lab { self.failures.saturating_add(1) } else { 0 };
    }

    /// Why the device is to be checked before its next job.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        if self.asked {
            return Some(Due::Asked);
        }
        if self.rest_until.is_some_and(|until| now < until) {
            return None;
        }
        due(&self.known, self.failures, now)
    }

    /// When time alone can make a check due; `None` when one is due already.
    #[must_use]
    pub fn look_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.due(now).is_some() {
            return None;
        }
        let rest = self.rest_until.filter(|&until| until > now);
        rest.or_else(|| self.known.last.as_ref().map(|last| last.at.plus(EVERY)))
    }

    /// A check has ended.
    pub fn ended(&mut self, health: Health, at: Timestamp) {
        self.asked = false;
        match health {
            Health::Healthy | Health::Sick => {
                let Known { boot_id, fingerprint, .. } = &self.known;
                let (boot_id, fingerprint) = (boot_id.clone(), fingerprint.clone());
                let healthy = health == Health::Healthy;
                self.known.last = Some(Last { at, boot_id, fingerprint, healthy });
                (self.failures, self.unknown) = (0, 0);
                // A sick device is taken out, and checked as soon as it is back.
                self.rest_until = healthy.then(|| at.plus(PAUSE));
            }
            Health::Unknown => {
                self.rest_until = Some(at.plus(AGAIN.delay(self.unknown, 1.0)));
                self.unknown = self.unknown.saturating_add(1);
            }
        }
    }
}
