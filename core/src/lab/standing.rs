//! Whether a device is in service, and who or what took it out. What it is doing meanwhile is [`Activity`]; the state that
//! pages show is made of both.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::device::DeviceState;
use crate::time::Timestamp;

/// The first quarantine that a machine decides; each further one lasts twice as long.
pub const FIRST_PROBATION: Duration = Duration::from_mins(10);
/// Nobody waits longer than this for a device to be tried again.
pub const LONGEST_PROBATION: Duration = Duration::from_hours(24);
/// So many quarantines without a healthy check between them, and a person has to look.
pub const MOST_STRIKES: u32 = 8;
/// Nobody keeps a device for himself for longer.
pub const LONGEST_RESERVATION: Duration = Duration::from_hours(24 * 14);
/// Of a reason, in characters; the rest is cut.
const MAX_REASON: usize = 500;

/// Whether a device may be given work, decided by people and by what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    #[default]
    InService,
    /// For whoever shows the reservation's token; everybody else's jobs wait.
    Reserved {
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
    /// Keep it for somebody for a while.
    Reserve {
        by: String,
        length: Duration,
    },
    /// Take it out until somebody releases it.
    Quarantine {
        reason: String,
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
    /// It is out of service.
    IsOut { state: DeviceState, reason: String },
    /// The reservation would be longer than [`LONGEST_RESERVATION`], or of no length.
    Length,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsReserved { by, .. } => write!(f, "it is reserved by {by}: ask them, or release it first"),
            Self::IsOut { state, reason } => write!(f, "it is in state {state} ({reason}): release it first"),
            Self::Length => {
                let days = LONGEST_RESERVATION.as_secs() / 86_400;
                write!(f, "a reservation lasts longer than nothing and at most {days} days")
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
                Order::Maintain { .. } | Order::Quarantine { .. } | Order::Reserve { .. },
                Standing::Retired { reason },
            ) => Err(Refusal::IsOut { state: DeviceState::Retired, reason: reason.clone() }),
            (Order::Maintain { reason }, _) => with(Standing::Maintenance { reason: cut(reason) }),
            (Order::Quarantine { reason }, _) => with(Standing::Quarantined { reason: cut(reason), until: None }),
            (Order::Reserve { by, length }, Standing::InService) => Self::reserved(by, *length, now, *strikes),
            (Order::Reserve { by, length }, Standing::Reserved { by: holder, until }) => {
                if holder == by || *until <= now {
                    Self::reserved(by, *length, now, *strikes)
                } else {
                    Err(Refusal::IsReserved { by: holder.clone(), until: *until })
                }
            }
            (Order::Reserve { .. }, Standing::Quarantined { reason, .. }) => {
                Err(Refusal::IsOut { state: DeviceState::Quarantined, reason: reason.clone() })
            }
            (Order::Reserve { .. }, Standing::Maintenance { reason }) => {
                Err(Refusal::IsOut { state: DeviceState::Maintenance, reason: reason.clone() })
            }
            (Order::Sick { reason }, Standing::InService | Standing::Reserved { .. }) => {
                let until = (*strikes < MOST_STRIKES).then(|| now.plus(probation(*strikes)));
                let standing = Standing::Quarantined { reason: cut(reason), until };
                Ok(Self { standing, strikes: strikes.saturating_add(1) })
            }
            (Order::Healthy, Standing::InService | Standing::Reserved { .. }) => {
                Ok(Self { standing: standing.clone(), strikes: 0 })
            }
            (Order::Tick, Standing::Reserved { until, .. }) if *until <= now => with(Standing::InService),
            (Order::Tick, Standing::Quarantined { until: Some(until), .. }) if *until <= now => {
                with(Standing::InService)
            }
            // Whoever took it out knows better than a machine, and its quarantine has its own end.
            (
                Order::Sick { .. } | Order::Healthy,
                Standing::Quarantined { .. } | Standing::Maintenance { .. } | Standing::Retired { .. },
            )
            | (
                Order::Tick,
                Standing::InService
                | Standing::Reserved { .. }
                | Standing::Quarantined { .. }
                | Standing::Maintenance { .. }
                | Standing::Retired { .. },
            ) => same(),
        }
    }

    fn reserved(by: &str, length: Duration, now: Timestamp, strikes: u32) -> Result<Self, Refusal> {
        if length.is_zero() || length > LONGEST_RESERVATION {
            return Err(Refusal::Length);
        }
        Ok(Self { standing: Standing::Reserved { by: cut(by), until: now.plus(length) }, strikes })
    }

    /// When [`Order::Tick`] will change something.
    #[must_use]
    pub const fn due(&self) -> Option<Timestamp> {
        match &self.standing {
            Standing::Reserved { until, .. } => Some(*until),
            Standing::Quarantined { until, .. } => *until,
            Standing::InService | Standing::Maintenance { .. } | Standing::Retired { .. } => None,
        }
    }

    /// Whether a job of this principal may go to the device now.
    #[must_use]
    pub fn serves(&self, principal: &str) -> bool {
        match &self.standing {
            Standing::InService => true,
            Standing::Reserved { by, .. } => by == principal,
            Standing::Quarantined { .. } | Standing::Maintenance { .. } | Standing::Retired { .. } => false,
        }
    }

    /// The state that is shown of a device that is doing this.
    #[must_use]
    pub const fn state(&self, activity: Activity) -> DeviceState {
        match &self.standing {
            Standing::Quarantined { .. } => DeviceState::Quarantined,
            Standing::Maintenance { .. } => DeviceState::Maintenance,
            Standing::Retired { .. } => DeviceState::Retired,
            Standing::Reserved { .. } if matches!(activity, Activity::Ready) => DeviceState::Reserved,
            Standing::InService | Standing::Reserved { .. } => activity.state(),
        }
    }
}

/// How long a device stays out that has been quarantined so often before without a healthy check between.
#[must_use]
pub fn probation(strikes: u32) -> Duration {
    FIRST_PROBATION.saturating_mul(2u32.saturating_pow(strikes.min(20))).min(LONGEST_PROBATION)
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

/// What a device does, as the agent and the lab host see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Its link was seen; no agent has spoken yet.
    Discovered,
    /// It does not let its host in.
    Unauthorized,
    Ready,
    Preparing,
    Running,
    /// Measures alone with its cable cut.
    Dark,
    Cooling,
    Charging,
    Recovering,
}

impl Activity {
    #[must_use]
    pub const fn state(self) -> DeviceState {
        match self {
            Self::Discovered => DeviceState::Discovered,
            Self::Unauthorized => DeviceState::Unauthorized,
            Self::Ready => DeviceState::Ready,
            Self::Preparing => DeviceState::Preparing,
            Self::Running => DeviceState::Running,
            Self::Dark => DeviceState::Dark,
            Self::Cooling => DeviceState::Cooling,
            Self::Charging => DeviceState::Charging,
            Self::Recovering => DeviceState::Recovering,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn after(service: &Service, orders: &[Order]) -> Service {
        orders.iter().fold(service.clone(), |service, order| service.after(order, NOW).unwrap())
    }

    fn sick() -> Order {
        Order::Sick { reason: "lost 2 jobs in a row".to_owned() }
    }

    fn reserve(by: &str) -> Order {
        Order::Reserve { by: by.to_owned(), length: Duration::from_hours(2) }
    }

    #[test]
    fn each_quarantine_without_a_healthy_check_between_is_twice_as_long_and_the_last_waits_for_a_person() {
        let mut service = Service::default();
        let mut lengths = Vec::new();
        for _ in 0..MOST_STRIKES {
            service = after(&service, &[sick()]);
            let until = service.due().unwrap();
            lengths.push(until.since(NOW));
            service = service.after(&Order::Tick, until).unwrap();
            assert_eq!(service.standing, Standing::InService, "probation");
        }
        assert_eq!(lengths[..3], [10, 20, 40].map(Duration::from_mins));
        assert!(lengths.iter().all(|&length| length <= LONGEST_PROBATION));
        let last = after(&service, &[sick()]);
        assert_eq!(last.due(), None, "a person has to look");
        assert_eq!(after(&after(&service, &[Order::Healthy]), &[sick()]).due(), Some(NOW.plus(FIRST_PROBATION)));
        assert_eq!(after(&last, &[Order::Release]), Service::default());
    }

    #[test]
    fn a_quarantine_by_hand_ends_by_hand_only() {
        let by_hand = after(&Service::default(), &[Order::Quarantine { reason: "smells".to_owned() }]);
        let much_later = NOW.plus(LONGEST_PROBATION * 100);
        assert_eq!(by_hand.after(&Order::Tick, much_later).unwrap(), by_hand);
        assert_eq!(after(&by_hand, &[Order::Healthy, sick()]), by_hand);
        assert!(after(&by_hand, &[Order::Release]).serves("anybody"));
    }

    #[test]
    fn a_reserved_device_serves_its_holder_until_the_time_is_over() {
        let reserved = after(&Service::default(), &[reserve("li")]);
        assert!(reserved.serves("li") && !reserved.serves("wang"));
        assert_eq!(
            reserved.after(&reserve("wang"), NOW).unwrap_err().to_string(),
            "it is reserved by li: ask them, or release it first"
        );
        let end = reserved.due().unwrap();
        assert!(reserved.after(&Order::Tick, end).unwrap().serves("wang"));
        assert!(reserved.after(&reserve("wang"), end).is_ok(), "an ended reservation holds nobody up");
        let longer = Order::Reserve { by: "li".to_owned(), length: LONGEST_RESERVATION + Duration::from_secs(1) };
        assert_eq!(reserved.after(&longer, NOW), Err(Refusal::Length));
    }

    #[test]
    fn what_is_out_of_service_is_not_reserved_and_what_is_retired_only_comes_back_by_release() {
        let retired = after(&Service::default(), &[Order::Retire { reason: "swollen".to_owned() }]);
        for order in [reserve("li"), Order::Maintain { reason: String::new() }] {
            assert_eq!(
                retired.after(&order, NOW).unwrap_err().to_string(),
                "it is in state retired (swollen): release it first"
            );
        }
        let away = after(&Service::default(), &[Order::Maintain { reason: "new battery".to_owned() }]);
        assert!(away.after(&reserve("li"), NOW).is_err());
    }

    #[test]
    fn people_see_why_a_device_is_out_before_they_see_what_it_does() {
        let quarantined = after(&Service::default(), &[sick()]);
        assert_eq!(quarantined.state(Activity::Charging), DeviceState::Quarantined);
        let reserved = after(&Service::default(), &[reserve("li")]);
        assert_eq!(reserved.state(Activity::Ready), DeviceState::Reserved);
        assert_eq!(reserved.state(Activity::Running), DeviceState::Running);
        assert_eq!(Service::default().state(Activity::Dark), DeviceState::Dark);
    }

    fn any_order() -> impl Strategy<Value = Order> {
        prop_oneof![
            Just(reserve("li")),
            Just(reserve("wang")),
            Just(Order::Quarantine { reason: "q".to_owned() }),
            Just(Order::Maintain { reason: "m".to_owned() }),
            Just(Order::Retire { reason: "r".to_owned() }),
            Just(Order::Release),
            Just(sick()),
            Just(Order::Healthy),
            Just(Order::Tick),
        ]
    }

    proptest! {
        #[test]
        fn no_machine_brings_a_device_back_before_its_time(
            orders in prop::collection::vec((any_order(), 0_u64..100_000), 1..60),
        ) {
            let (mut service, mut now) = (Service::default(), NOW);
            for (order, seconds) in orders {
                now = now.plus(Duration::from_secs(seconds));
                let Ok(next) = service.after(&order, now) else { continue };
                let was_out = !service.serves("li") && !service.serves("wang");
                let is_in = next.serves("li") || next.serves("wang");
                if was_out && is_in {
                    let ended = service.due().is_some_and(|due| due <= now);
                    prop_assert!(order == Order::Release || (order == Order::Tick && ended), "{service:?} {order:?}");
                }
                prop_assert!(next.strikes <= service.strikes + 1);
                service = next;
            }
        }

        #[test]
        fn a_service_that_was_written_down_is_read_as_it_was(orders in prop::collection::vec(any_order(), 0..20)) {
            let mut service = Service::default();
            for order in orders {
                service = service.after(&order, NOW).unwrap_or(service);
            }
            let text = serde_json::to_string(&service).unwrap();
            prop_assert_eq!(serde_json::from_str::<Service>(&text).unwrap(), service);
        }
    }
}
