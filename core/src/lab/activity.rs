//! What a device does, and the state that is shown of it.

use serde::{Deserialize, Serialize};

use crate::device::DeviceState;
use crate::lab::seen::Advice;
use crate::stage::Stage;

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
    /// Of a device that is connected, by the stage of the attempt that it holds.
    #[must_use]
    pub const fn of(stage: Option<Stage>) -> Self {
        match stage {
            None => Self::Ready,
            Some(Stage::Fetch | Stage::Prepare) => Self::Preparing,
            Some(
                Stage::Load
                | Stage::FirstInference
                | Stage::Warmup
                | Stage::Measure
                | Stage::Accuracy
                | Stage::Energy
                | Stage::Teardown,
            ) => Self::Running,
        }
    }

    /// Of a device without an agent, by what its lab host says is to be done; `None` where that tells nothing of it.
    #[must_use]
    pub const fn of_link(advice: Option<Advice>) -> Option<Self> {
        match advice {
            Some(Advice::Accept) => Some(Self::Unauthorized),
            Some(
                Advice::Permit
                | Advice::WaitForIt
                | Advice::Replug
                | Advice::StartAndroid
                | Advice::LeaveAlone
                | Advice::FreeIt
                | Advice::LookAtAdb
                | Advice::ChangeCable
                | Advice::LookAtIt
                | Advice::AddAgent
                | Advice::NoAgentExists,
            )
            | None => None,
        }
    }

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

/// The state that is shown of a device that does this, and of which this state is kept. People see why a device is out
/// before they see what it does.
#[must_use]
pub const fn shown(kept: DeviceState, activity: Activity) -> DeviceState {
    match kept {
        DeviceState::Quarantined | DeviceState::Maintenance | DeviceState::Retired => kept,
        DeviceState::Reserved if matches!(activity, Activity::Ready) => kept,
        DeviceState::Discovered
        | DeviceState::Unauthorized
        | DeviceState::Ready
        | DeviceState::Reserved
        | DeviceState::Preparing
        | DeviceState::Running
        | DeviceState::Dark
        | DeviceState::Cooling
        | DeviceState::Charging
        | DeviceState::Recovering => activity.state(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_why_a_device_is_out_before_they_see_what_it_does() {
        assert_eq!(shown(DeviceState::Quarantined, Activity::Charging), DeviceState::Quarantined);
        assert_eq!(shown(DeviceState::Maintenance, Activity::Discovered), DeviceState::Maintenance);
        assert_eq!(shown(DeviceState::Reserved, Activity::Ready), DeviceState::Reserved);
        assert_eq!(shown(DeviceState::Reserved, Activity::Running), DeviceState::Running);
        assert_eq!(shown(DeviceState::Ready, Activity::Dark), DeviceState::Dark);
    }

    #[test]
    fn a_device_prepares_until_it_touches_the_model() {
        assert_eq!(Activity::of(None), Activity::Ready);
        assert_eq!(Activity::of(Some(Stage::Prepare)), Activity::Preparing);
        assert_eq!(Activity::of(Some(Stage::Load)), Activity::Running);
    }
}
