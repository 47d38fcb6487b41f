//! Whether a device is healthy, by what its check found and by its own earlier checks.

use serde::{Deserialize, Serialize};

use super::insane;
use crate::metric::Metric;
use crate::outcome::Outcome;
use crate::reason::{Code, Reason};
use crate::store::Completion;

/// A device whose canary takes more than this times its own usual time is sick.
pub const SLOW: f64 = 1.5;
/// Healthy checks of the same device and system before its usual time is known.
pub const KNOWN_AFTER: usize = 5;
/// Of them, the newest count.
const USUAL_OF: usize = 20;

/// How the attempt of a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// To its end, with outputs as near to the references as they are everywhere.
    Right,
    /// To its end, and its outputs are not.
    Wrong,
    /// A model that is known to run crashed, hung, could not be loaded, or its engine could not be believed.
    Crashed,
    /// It never came to run: the device was hot, busy, gone.
    NotRun,
}

impl Ended {
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok | Outcome::OkFallback => Self::Right,
            Outcome::NumericsFail | Outcome::AccuracyFail => Self::Wrong,
            Outcome::LoadFail
            | Outcome::CompileFail
            | Outcome::CrashSignal(_)
            | Outcome::ExitNonzero(_)
            | Outcome::DriverExit0
            | Outcome::HangTimeout
            | Outcome::ProtocolFail => Self::Crashed,
            Outcome::UnsupportedBackend
            | Outcome::UnsupportedOp
            | Outcome::OomKilled
            | Outcome::ThermalAbort
            | Outcome::BatteryLow
            | Outcome::DeviceLost
            | Outcome::AgentKilled
            | Outcome::InstallBlocked
            | Outcome::StorageFull
            | Outcome::TransferCorrupt
            | Outcome::SpecError
            | Outcome::Cancelled
            | Outcome::HarnessError => Self::NotRun,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub ended: Ended,
    /// The class of the outcome, in its own words.
    pub outcome: String,
    /// What failed, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Median latency in ms; `None` when its measurement is not valid.
    pub latency_ms: Option<f64>,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalid: Vec<Reason>,
    /// Sensors that gave what cannot be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<Reason>,
}

impl Found {
    /// From the report of a check, as it was judged like that of any attempt.
    #[must_use]
    pub fn of(completion: &Completion) -> Self {
        let Completion { outcome, message, metrics, invalid, report, .. } = completion;
        let valid = Ended::of(*outcome) == Ended::Right && invalid.is_empty();
        Self {
            ended: Ended::of(*outcome),
            outcome: outcome.class().to_owned(),
            message: message.clone(),
            latency_ms: latency(metrics).filter(|_| valid),
            invalid: invalid.clone(),
            sensors: insane(&report.sensors),
        }
    }

    /// Of a check whose report never came.
    #[must_use]
    pub fn lost(outcome: Outcome, message: String) -> Self {
        Self {
            ended: Ended::NotRun,
            outcome: outcome.class().to_owned(),
            message: Some(message),
            latency_ms: None,
            invalid: Vec::new(),
            sensors: Vec::new(),
        }
    }
}

fn latency(metrics: &[Metric]) -> Option<f64> {
    let median = metrics.iter().find(|metric| metric.name == "lat_p50_ms")?;
    median.value.present().map(|estimate| estimate.value).filter(|value| value.is_finite() && *value > 0.0)
}

/// Whether the device is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    Sick,
    /// The check did not measure: it neither clears the device nor blames it.
    Unknown,
}

impl Health {
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Sick, Self::Unknown];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Sick => "sick",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Health {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|health| health.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no verdict of a check"))
    }
}

/// A verdict with what speaks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    pub health: Health,
    /// All that is wrong with a sick device, or why nothing is known of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// The median in ms of what it usually takes, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_ms: Option<f64>,
}

impl Judgement {
    /// From which latency on in ms it is sick.
    #[must_use]
    pub fn limit_ms(&self) -> Option<f64> {
        self.usual_ms.map(|usual| usual * SLOW)
    }
}

/// Judges a check against earlier ones of the same device and the same system.
///
/// `earlier`: valid median latencies in ms of healthy checks with the same fingerprint, newest first. `crashed_before`:
/// whether the check before this one crashed. A crash once may be chance, and measured nothing.
#[must_use]
pub fn judge(found: &Found, earlier: &[f64], crashed_before: bool) -> Judgement {
    let usual_ms = usual(earlier);
    let mut reasons = Vec::new();
    match found.ended {
        Ended::Wrong => reasons.push(Reason::new(Code::CanaryOutputs, &[])),
        Ended::Crashed if crashed_before => {
            reasons.push(Reason::new(Code::CanaryCrashed, &[("outcome", &found.outcome)]));
        }
        Ended::Right | Ended::Crashed | Ended::NotRun => {}
    }
    if let (Some(latency), Some(usual)) = (found.latency_ms, usual_ms)
        && latency > SLOW * usual
    {
        let (latency, usual) = (format!("{latency:.3}"), format!("{usual:.3}"));
        reasons.push(Reason::new(Code::CanarySlow, &[("ms", &latency), ("usual", &usual)]));
    }
    reasons.extend(found.sensors.iter().cloned());
    let health = if !reasons.is_empty() {
        Health::Sick
    } else if found.latency_ms.is_some() {
        Health::Healthy
    } else if found.ended == Ended::Right {
        reasons.push(Reason::new(Code::CanaryInvalid, &[]));
        reasons.extend(found.invalid.iter().cloned());
        Health::Unknown
    } else {
        reasons.push(Reason::new(Code::CanaryNotRun, &[("outcome", &found.outcome)]));
        Health::Unknown
    };
    Judgement { health, reasons, usual_ms }
}

/// The median of what the device usually takes; `None` while too little is known.
fn usual(earlier: &[f64]) -> Option<f64> {
    let sane = earlier.iter().copied().filter(|time| time.is_finite() && *time > 0.0);
    let mut times: Vec<f64> = sane.take(USUAL_OF).collect();
    if times.len() < KNOWN_AFTER {
        return None;
    }
    times.sort_by(f64::total_cmp);
    Some(times[times.len() / 2])
}
