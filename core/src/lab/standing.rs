//! Whether a device is in service, and who or what took it out. What it is doing meanwhile is
//! [`Activity`](super::activity::Activity); the state that pages show is made of both.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::device::DeviceState;
use crate::ids::ReservationId;
use crate::reason::{Code, Reason};
use crate::time::Timestamp;

/// The first quarantine that a machine decides; each further one lasts twice as long.
pub const FIRST_PROBATION: Duration = Duration::from_mins(10);
/// Nobody waits longer than this for a device to be tried again.
pub const LONGEST_PROBATION: Duration = Duration::from_hours(24);
/// So many quarantines without a healthy check between them, and a person has to look.
pub const MOST_STRIKES: u32 = 8;
/// Nobody holds a device, reserves it or sets its quarantine an end for longer.
pub const LONGEST_RESERVATION: Duration = Duration::from_hours(24 * 14);
/// Of a reason, in characters; the rest is cut.
const MAX_REASON: usize = 500;

/// Whether a device may be given work, decided by people and by what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    #[default]
    InService,
    /// In somebody's hands: no job goes to it until a moment, or until a person releases it.
    Held {
        by: String,
        reason: String,
        until: Option<Timestamp>,
    },
    /// For the jobs of runs that bring the reservation's token; everybody else's wait.
    Reserved {
        reservation: ReservationId,
        by: String,
        until: Timestamp,
    },
    /// Out of service until a moment, or until a person releases it.
    Quarantined {
        reason: String,
        until: Option<Timestamp>,
    },
    Maintenance {
        reason: String,
    },
    Retired {
        reason: String,
    },
}

/// What a person wants of a device, or a machine has found out about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Give it no job while somebody has it in his hands; without a length until somebody releases it.
    Hold {
        by: String,
        reason: String,
        length: Option<Duration>,
    },
    /// Keep it for the jobs of a reservation for a while.
    Reserve {
        reservation: ReservationId,
        by: String,
        length: Duration,
    },
    /// The reservation has ended before its time.
    Unreserve {
        reservation: ReservationId,
    },
    /// Take it out; without a length until somebody releases it.
    Quarantine {
        reason: String,
        length: Option<Duration>,
    },
    Maintain {
        reason: String,
    },
    Retire {
        reason: String,
    },
    /// Give it back to everybody, and forget its strikes.
    Release,
    /// A machine found it sick.
    Sick {
        reason: String,
    },
    /// The health check passed.
    Healthy,
    /// Time has passed.
    Tick,
}

/// A device's standing with the strikes that lengthen its next quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Service {
    #[serde(flatten)]
    pub standing: Standing,
    /// Quarantines by a machine since the last healthy check.
    #[serde(default)]
    pub strikes: u32,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is reserved by somebody else.
    IsReserved { by: String, until: Timestamp },
    /// Somebody has it in his hands.
    IsHeld { by: String },
    /// It is out of service.
    IsOut { state: DeviceState, reason: String },
    /// It would last longer than [`LONGEST_RESERVATION`], or no time at all.
    Length,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsReserved { by, .. } => write!(f, "it is reserved by {by}: ask them, or release it first"),
            Self::IsHeld { by } => write!(f, "it is held by {by}: ask them, or release it first"),
            Self::IsOut { state, reason } => write!(f, "it is in state {state} ({reason}): release it first"),
            Self::Length => {
                let days = LONGEST_RESERVATION.as_secs() / 86_400;
                write!(f, "it has to last longer than nothing and at most {days} days")
            }
        }
    }
}

impl Service {
    /// The service after an order.
    ///
    /// # Errors
    /// When the order cannot be carried out in this standing; the service stays as it is.
    pub fn after(&self, order: &Order, now: Timestamp) -> Result<Self, Refusal> {
        let Self { standing, strikes } = self;
        let with = |standing| Ok(Self { standing, strikes: *strikes });
        let same = || Ok(self.clone());
        match (order, standing) {
            (Order::Release, _) => Ok(Self::default()),
            (Order::Retire { reason }, _) => with(Standing::Retired { reason: cut(reason) }),
            (
                Order::Maintain { .. } | Order::Quarantine { .. } | Order::Reserve { .. } | Order::Hold { .. },
                Standing::Retired { reason },
            ) => Err(Refusal::IsOut { state: DeviceState::Retired, reason: reason.clone() }),
            (Order::Maintain { reason }, _) => with(Standing::Maintenance { reason: cut(reason) }),
            (Order::Quarantine { reason, length }, _) => {
                with(Standing::Quarantined { reason: cut(reason), until: end(*length, now)? })
            }
            (Order::Reserve { .. } | Order::Hold { .. }, Standing::Quarantined { reason, .. }) => {
                Err(Refusal::IsOut { state: DeviceState::Quarantined, reason: reason.clone() })
            }
            (Order::Reserve { .. } | Order::Hold { .. }, Standing::Maintenance { reason }) => {
                Err(Refusal::IsOut { state: DeviceState::Maintenance, reason: reason.clone() })
            }
            (Order::Hold { .. }, Standing::Reserved { by, until, .. }) if *until > now => {
                Err(Refusal::IsReserved { by: by.clone(), until: *until })
            }
            (
                Order::Hold { by, reason, length },
                Standing::InService | Standing::Held { .. } | Standing::Reserved { .. },
            ) => with(Standing::Held { by: cut(by), reason: cut(reason), until: end(*length, now)? }),
            (Order::Reserve { .. }, Standing::Held { by, .. }) => Err(Refusal::IsHeld { by: by.clone() }),
            (Order::Reserve { reservation, .. }, Standing::Reserved { reservation: other, by, until })
                if reservation != other && *until > now =>
            {
                Err(Refusal::IsReserved { by: by.clone(), until: *until })
            }
            (Order::Reserve { reservation, by, length }, Standing::InService | Standing::Reserved { .. }) => {
                let until = moment(*length, now)?;
                with(Standing::Reserved { reservation: *reservation, by: cut(by), until })
            }
            (Order::Unreserve { reservation }, Standing::Reserved { reservation: held, .. }) if reservation == held => {
                with(Standing::InService)
            }
            (Order::Sick { reason }, Standing::InService | Standing::Reserved { .. }) => {
                let until = (*strikes < MOST_STRIKES).then(|| now.plus(probation(*strikes)));
                let standing = Standing::Quarantined { reason: cut(reason), until };
                Ok(Self { standing, strikes: strikes.saturating_add(1) })
            }
            (Order::Healthy, Standing::InService | Standing::Held { .. } | Standing::Reserved { .. }) => {
                Ok(Self { standing: standing.clone(), strikes: 0 })
            }
            (
                Order::Tick,
                Standing::Reserved { until, .. }
                | Standing::Held { until: Some(until), .. }
                | Standing::Quarantined { until: Some(until), .. },
            ) if *until <= now => with(Standing::InService),
            // Whoever took it out knows better than a machine, and its quarantine has its own end.
            (
                Order::Sick { .. } | Order::Healthy,
                Standing::Quarantined { .. } | Standing::Maintenance { .. } | Standing::Retired { .. },
            )
            | (Order::Sick { .. }, Standing::Held { .. })
            | (
                Order::Tick | Order::Unreserve { .. },
                Standing::InService
                | Standing::Held { .. }
                | Standing::Reserved { .. }
                | Standing::Quarantined { .. }
                | Standing::Maintenance { .. }
                | Standing::Retired { .. },
            ) => same(),
        }
    }

    /// When [`Order::Tick`] will change something.
    #[must_use]
    pub const fn due(&self) -> Option<Timestamp> {
        match &self.standing {
            Standing::Reserved { until, .. } => Some(*until),
            Standing::Held { until, .. } | Standing::Quarantined { until, .. } => *until,
            Standing::InService | Standing::Maintenance { .. } | Standing::Retired { .. } => None,
        }
    }

    /// Whose jobs the device is given.
    #[must_use]
    pub const fn admits(&self) -> Admits {
        match &self.standing {
            Standing::InService => Admits::Everybody,
            Standing::Reserved { reservation, .. } => Admits::Holders(*reservation),
            Standing::Held { .. } => Admits::Nobody(Out::Held),
            Standing::Quarantined { .. } => Admits::Nobody(Out::Quarantined),
            Standing::Maintenance { .. } => Admits::Nobody(Out::Maintenance),
            Standing::Retired { .. } => Admits::Nobody(Out::Retired),
        }
    }

    /// Whether a machine has quarantined it and it has not shown since that it is healthy.
    #[must_use]
    pub const fn is_on_probation(&self) -> bool {
        self.strikes > 0 && matches!(self.standing, Standing::InService | Standing::Reserved { .. })
    }

    /// The reservation that has the device.
    #[must_use]
    pub const fn reservation(&self) -> Option<ReservationId> {
        match &self.standing {
            Standing::Reserved { reservation, .. } => Some(*reservation),
            Standing::InService
            | Standing::Held { .. }
            | Standing::Quarantined { .. }
            | Standing::Maintenance { .. }
            | Standing::Retired { .. } => None,
        }
    }

    /// The state that is kept of the device, as if it had nothing to do.
    #[must_use]
    pub const fn state(&self) -> DeviceState {
        match &self.standing {
            Standing::InService => DeviceState::Ready,
            Standing::Held { .. } | Standing::Reserved { .. } => DeviceState::Reserved,
            Standing::Quarantined { .. } => DeviceState::Quarantined,
            Standing::Maintenance { .. } => DeviceState::Maintenance,
            Standing::Retired { .. } => DeviceState::Retired,
        }
    }

    /// Why it is in that state, for people; `before` is what it was until now.
    #[must_use]
    pub fn words(&self, before: &Self) -> String {
        match &self.standing {
            Standing::Held { by, reason, .. } if reason.is_empty() => Reason::new(Code::HeldBy, &[("by", by)]).into(),
            Standing::Held { by, reason, .. } => {
                let why: &dyn fmt::Display = reason;
                Reason::new(Code::HeldByFor, &[("by", by), ("why", why)]).into()
            }
            Standing::Reserved { by, .. } => Reason::new(Code::ReservedBy, &[("by", by)]).into(),
            Standing::Quarantined { reason, .. } | Standing::Maintenance { reason } | Standing::Retired { reason } => {
                reason.clone()
            }
            Standing::InService => {
                let code = match &before.standing {
                    Standing::Reserved { .. } => Code::ReservationOver,
                    Standing::Held { .. } => Code::HoldOver,
                    Standing::Quarantined { .. } if self.strikes > 0 => Code::OnProbation,
                    Standing::InService if before.strikes > self.strikes => Code::ProbationOver,
                    Standing::InService
                    | Standing::Quarantined { .. }
                    | Standing::Maintenance { .. }
                    | Standing::Retired { .. } => Code::Released,
                };
                code.template().to_owned()
            }
        }
    }
}

/// Whose jobs a device is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    Everybody,
    /// Those of runs that brought this reservation's token.
    Holders(ReservationId),
    Nobody(Out),
}

impl Admits {
    /// Whether a job goes to the device whose run brought this reservation, or none.
    #[must_use]
    pub fn job(self, reservation: Option<ReservationId>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Holders(holder) => reservation == Some(holder),
            Self::Nobody(_) => false,
        }
    }
}

/// How a device that gets no job is out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    Held,
    Quarantined,
    Maintenance,
    Retired,
}

impl Out {
    pub const ALL: [Self; 4] = [Self::Held, Self::Quarantined, Self::Maintenance, Self::Retired];

    /// After "it".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Held => "is held",
            Self::Quarantined => "is quarantined",
            Self::Maintenance => "is in maintenance",
            Self::Retired => "is retired",
        }
    }
}

fn moment(length: Duration, now: Timestamp) -> Result<Timestamp, Refusal> {
    if length.is_zero() || length > LONGEST_RESERVATION { Err(Refusal::Length) } else { Ok(now.plus(length)) }
}

fn end(length: Option<Duration>, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    length.map(|length| moment(length, now)).transpose()
}

/// How long a device stays out that has been quarantined so often before without a healthy check between.
#[must_use]
pub fn probation(strikes: u32) -> Duration {
    FIRST_PROBATION.saturating_mul(2u32.saturating_pow(strikes.min(20))).min(LONGEST_PROBATION)
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
