//! How an attempt ended, and what follows from it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One per attempt. The stage at which it ended stands beside it, not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// Ran, but not on the accelerator or in the precision that was asked for. Never a pass of either.
    OkFallback,
    NumericsFail,
    AccuracyFail,
    UnsupportedBackend,
    UnsupportedOp,
    LoadFail,
    CompileFail,
    /// It ran and nothing died, and what it says cannot be true: it broke its protocol, or gave other outputs or times than
    /// it can have.
    ProtocolFail,
    CrashSignal(i32),
    ExitNonzero(i32),
    /// Exit code 0 without the sentinel: some drivers end the process so.
    DriverExit0,
    OomKilled,
    HangTimeout,
    ThermalAbort,
    BatteryLow,
    DeviceLost,
    /// The agent itself was killed (by the ROM, or by the job).
    AgentKilled,
    InstallBlocked,
    StorageFull,
    TransferCorrupt,
    SpecError,
    Cancelled,
    /// A fault of ours.
    HarnessError,
}

/// The families that share a glyph and a word on the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Ok,
    Fallback,
    Died,
    Hung,
    WrongOutput,
    CannotLoad,
    /// What an engine says of itself cannot be true.
    NotBelieved,
    LabOrRom,
    /// Model, dataset and suite do not fit each other: nobody ended it, and it is no pass.
    Misspecified,
    Cancelled,
}

/// What the server does with a job after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The job is done.
    Done,
    /// Not the model's fault: try again, at most [`RETRY_LIMIT`] times.
    Retry,
    /// Run once more on the same device to tell flaky from deterministic.
    Repeat,
}

impl Verdict {
    /// The same verdict once it has been given so often before: what has had its chances is done.
    #[must_use]
    pub const fn after(self, earlier: u32) -> Self {
        let chances = match self {
            Self::Done => 0,
            Self::Retry => RETRY_LIMIT,
            Self::Repeat => REPEAT_LIMIT,
        };
        if earlier < chances { self } else { Self::Done }
    }
}

/// How often a crash or hang is run once more.
pub const REPEAT_LIMIT: u32 = 1;
/// Attempts that infrastructure may cost before the job is given up.
pub const RETRY_LIMIT: u32 = 2;
/// Agents that a job may cost before it is quarantined like a device.
pub const AGENT_DEATH_LIMIT: u32 = 2;

impl Outcome {
    /// Every class once; signals and exit codes with a placeholder.
    pub const ALL: [Self; 24] = [
        Self::Ok,
        Self::OkFallback,
        Self::NumericsFail,
        Self::AccuracyFail,
        Self::UnsupportedBackend,
        Self::UnsupportedOp,
        Self::LoadFail,
        Self::CompileFail,
        Self::ProtocolFail,
        Self::CrashSignal(0),
        Self::ExitNonzero(0),
        Self::DriverExit0,
        Self::OomKilled,
        Self::HangTimeout,
        Self::ThermalAbort,
        Self::BatteryLow,
        Self::DeviceLost,
        Self::AgentKilled,
        Self::InstallBlocked,
        Self::StorageFull,
        Self::TransferCorrupt,
        Self::SpecError,
        Self::Cancelled,
        Self::HarnessError,
    ];

    /// The class as the taxonomy spells it, without signal or code.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OkFallback => "ok_fallback",
            Self::NumericsFail => "numerics_fail",
            Self::AccuracyFail => "accuracy_fail",
            Self::UnsupportedBackend => "unsupported_backend",
            Self::UnsupportedOp => "unsupported_op",
            Self::LoadFail => "load_fail",
            Self::CompileFail => "compile_fail",
            Self::ProtocolFail => "protocol_fail",
            Self::CrashSignal(_) => "crash_signal",
            Self::ExitNonzero(_) => "exit_nonzero",
            Self::DriverExit0 => "driver_exit0",
            Self::OomKilled => "oom_killed",
            Self::HangTimeout => "hang_timeout",
            Self::ThermalAbort => "thermal_abort",
            Self::BatteryLow => "battery_low",
            Self::DeviceLost => "device_lost",
            Self::AgentKilled => "agent_killed",
            Self::InstallBlocked => "install_blocked",
            Self::StorageFull => "storage_full",
            Self::TransferCorrupt => "transfer_corrupt",
            Self::SpecError => "spec_error",
            Self::Cancelled => "cancelled",
            Self::HarnessError => "harness_error",
        }
    }

    /// The signal or exit code that goes with the class.
    #[must_use]
    pub const fn code(self) -> Option<i32> {
        match self {
            Self::CrashSignal(code) | Self::ExitNonzero(code) => Some(code),
            Self::Ok
            | Self::OkFallback
            | Self::NumericsFail
            | Self::AccuracyFail
            | Self::UnsupportedBackend
            | Self::UnsupportedOp
            | Self::LoadFail
            | Self::CompileFail
            | Self::ProtocolFail
            | Self::DriverExit0
            | Self::OomKilled
            | Self::HangTimeout
            | Self::ThermalAbort
            | Self::BatteryLow
            | Self::DeviceLost
            | Self::AgentKilled
            | Self::InstallBlocked
            | Self::StorageFull
            | Self::TransferCorrupt
            | Self::SpecError
            | Self::Cancelled
            | Self::HarnessError => None,
        }
    }

    /// The outcome of a class and its code, as they stand in the database.
    #[must_use]
    pub fn from_class(class: &str, code: Option<i32>) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|outcome| outcome.class() == class)?;
        match (found.code(), code) {
            (Some(_), None) => None,
            (Some(_), Some(code)) => Some(found.with_code(code)),
            (None, _) => Some(found),
        }
    }

    /// The same class with this signal or exit code, where the class has one.
    const fn with_code(self, code: i32) -> Self {
        if matches!(self, Self::CrashSignal(_)) {
            Self::CrashSignal(code)
        } else if matches!(self, Self::ExitNonzero(_)) {
            Self::ExitNonzero(code)
        } else {
            self
        }
    }

    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Ok => Family::Ok,
            Self::OkFallback => Family::Fallback,
            Self::CrashSignal(_) | Self::ExitNonzero(_) | Self::DriverExit0 | Self::OomKilled => Family::Died,
            Self::HangTimeout => Family::Hung,
            Self::NumericsFail | Self::AccuracyFail => Family::WrongOutput,
            Self::UnsupportedBackend | Self::UnsupportedOp | Self::LoadFail | Self::CompileFail => Family::CannotLoad,
            Self::ProtocolFail => Family::NotBelieved,
            Self::DeviceLost
            | Self::AgentKilled
            | Self::InstallBlocked
            | Self::StorageFull
            | Self::TransferCorrupt
            | Self::ThermalAbort
            | Self::BatteryLow
            | Self::HarnessError => Family::LabOrRom,
            Self::SpecError => Family::Misspecified,
            Self::Cancelled => Family::Cancelled,
        }
    }

    /// What to do next, given how often this job has already ended in this way.
    ///
    /// Infrastructure is retried; a crash or hang is run exactly once more on the same device; all else stands.
    #[must_use]
    pub const fn verdict(self, earlier_attempts: u32) -> Verdict {
        let verdict = match self {
            Self::DeviceLost | Self::AgentKilled | Self::TransferCorrupt | Self::HarnessError | Self::ThermalAbort => {
                Verdict::Retry
            }
            Self::CrashSignal(_) | Self::HangTimeout | Self::DriverExit0 | Self::OomKilled => Verdict::Repeat,
            Self::Ok
            | Self::OkFallback
            | Self::NumericsFail
            | Self::AccuracyFail
            | Self::UnsupportedBackend
            | Self::UnsupportedOp
            | Self::LoadFail
            | Self::CompileFail
            | Self::ProtocolFail
            | Self::ExitNonzero(_)
            | Self::BatteryLow
            | Self::InstallBlocked
            | Self::StorageFull
            | Self::SpecError
            | Self::Cancelled => Verdict::Done,
        };
        verdict.after(earlier_attempts)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())?;
        match self.code() {
            Some(code) => write!(f, "({code})"),
            None => Ok(()),
        }
    }
}

/// How a child process ended, as the parent saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// The parent ended it because a stage passed its deadline.
    Deadline,
    /// The parent ended it because the job was cancelled or its grant ended.
    Stopped,
}

/// What the child said of its own failure, before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    UnsupportedBackend,
    UnsupportedOp,
    LoadFail,
    CompileFail,
    /// The engine returned an error while running.
    RunFail,
    NumericsFail,
    AccuracyFail,
    StorageFull,
    SpecError,
    /// The engine says that it found no memory.
    OutOfMemory,
    /// The process of an engine that has one of its own does not answer.
    Hang,
    /// That process broke its protocol, or said what cannot be true.
    Protocol,
    /// The engine gave another output than its model declares.
    OtherOutput,
    /// That process ended by this signal.
    EngineSignal(i32),
    /// That process ended with this code, in the middle of its work.
    EngineExit(i32),
    /// A benchmark program ended without an error and without having measured anything.
    NoResult,
    /// The program that comes with the dataset and judges the outputs did not do so. The model has no part in it.
    Scorer,
}

/// All that the parent knows when a child has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub exit: Exit,
    /// Whether the child left its sentinel. Without it nothing is a success.
    pub sentinel: bool,
    pub claim: Option<Claim>,
    /// Whether the kernel or the low-memory killer says that memory was the reason.
    pub out_of_memory: bool,
    /// Whether the memory limit that we set was reached.
    pub memory_limit_hit: bool,
    /// Whether it still came further in its stage when the parent ended it at the deadline.
    pub came_further: bool,
    pub fallback: bool,
}

/// Turns evidence into the one outcome of an attempt.
#[must_use]
pub fn classify(evidence: &Evidence) -> Outcome {
    match evidence.exit {
        // No hang, and no slower the second time: what is asked for does not fit the deadline.
        Exit::Deadline if evidence.came_further => Outcome::SpecError,
        Exit::Deadline => Outcome::HangTimeout,
        Exit::Stopped => Outcome::Cancelled,
        Exit::Signal(signal) => signalled(signal, evidence),
        Exit::Code(code) => match evidence.claim {
            Some(Claim::EngineSignal(signal)) => signalled(signal, evidence),
            Some(Claim::EngineExit(code)) if code != 0 && evidence.memory_limit_hit => Outcome::OomKilled,
            Some(claim) => claimed(claim, code),
            None if code != 0 && evidence.memory_limit_hit => Outcome::OomKilled,
            None if code != 0 => Outcome::ExitNonzero(code),
            None if !evidence.sentinel => Outcome::DriverExit0,
            None if evidence.fallback => Outcome::OkFallback,
            None => Outcome::Ok,
        },
    }
}

const fn signalled(signal: i32, evidence: &Evidence) -> Outcome {
    const SIGKILL: i32 = 9;
    const SIGABRT: i32 = 6;
    match signal {
        SIGKILL if evidence.out_of_memory => Outcome::OomKilled,
        SIGABRT if evidence.memory_limit_hit => Outcome::OomKilled,
        signal => Outcome::CrashSignal(signal),
    }
}

const fn claimed(claim: Claim, code: i32) -> Outcome {
    match claim {
        Claim::UnsupportedBackend => Outcome::UnsupportedBackend,
        Claim::UnsupportedOp => Outcome::UnsupportedOp,
        Claim::LoadFail => Outcome::LoadFail,
        Claim::CompileFail => Outcome::CompileFail,
        Claim::RunFail => Outcome::ExitNonzero(code),
        Claim::Protocol | Claim::OtherOutput => Outcome::ProtocolFail,
        Claim::NumericsFail => Outcome::NumericsFail,
        Claim::AccuracyFail => Outcome::AccuracyFail,
        Claim::StorageFull => Outcome::StorageFull,
        Claim::SpecError | Claim::Scorer => Outcome::SpecError,
        Claim::OutOfMemory => Outcome::OomKilled,
        Claim::Hang => Outcome::HangTimeout,
        Claim::EngineSignal(signal) => Outcome::CrashSignal(signal),
        Claim::EngineExit(0) | Claim::NoResult => Outcome::DriverExit0,
        Claim::EngineExit(code) => Outcome::ExitNonzero(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> Evidence {
        Evidence {
            exit: Exit::Code(0),
            sentinel: true,
            claim: None,
            out_of_memory: false,
            memory_limit_hit: false,
            came_further: false,
            fallback: false,
        }
    }

    #[test]
    fn exit_code_zero_is_a_success_only_with_the_sentinel() {
        assert_eq!(classify(&clean()), Outcome::Ok);
        assert_eq!(classify(&Evidence { sentinel: false, ..clean() }), Outcome::DriverExit0);
    }

    #[test]
    fn a_fallback_is_never_a_pass() {
        assert_eq!(classify(&Evidence { fallback: true, ..clean() }), Outcome::OkFallback);
    }

    #[test]
    fn a_deadline_is_a_hang_only_where_nothing_came_further() {
        let late = Evidence { exit: Exit::Deadline, sentinel: false, ..clean() };
        assert_eq!(classify(&late), Outcome::HangTimeout);
        let slow = classify(&Evidence { came_further: true, ..late });
        assert_eq!((slow, slow.verdict(0)), (Outcome::SpecError, Verdict::Done), "it would take as long again");
        assert_eq!(classify(&Evidence { came_further: true, ..clean() }), Outcome::Ok);
    }

    #[test]
    fn a_kill_is_out_of_memory_only_with_evidence() {
        let killed = Evidence { exit: Exit::Signal(9), ..clean() };
        assert_eq!(classify(&killed), Outcome::CrashSignal(9));
        assert_eq!(classify(&Evidence { out_of_memory: true, ..killed }), Outcome::OomKilled);
    }

    #[test]
    fn the_end_of_an_engines_own_process_counts_as_that_of_the_child() {
        let said = |claim| Evidence { exit: Exit::Code(70), sentinel: false, claim: Some(claim), ..clean() };
        assert_eq!(classify(&said(Claim::EngineSignal(11))), Outcome::CrashSignal(11));
        assert_eq!(classify(&said(Claim::EngineSignal(9))), Outcome::CrashSignal(9));
        let killed = Evidence { out_of_memory: true, ..said(Claim::EngineSignal(9)) };
        assert_eq!(classify(&killed), Outcome::OomKilled, "with the kernel's word for it");
        assert_eq!(classify(&said(Claim::EngineExit(3))), Outcome::ExitNonzero(3));
        let limited = Evidence { memory_limit_hit: true, ..said(Claim::EngineExit(1)) };
        assert_eq!(classify(&limited), Outcome::OomKilled);
        assert_eq!(classify(&said(Claim::EngineExit(0))), Outcome::DriverExit0, "a code of 0 is no better");
        assert_eq!(classify(&said(Claim::Hang)), Outcome::HangTimeout);
        assert_eq!(classify(&said(Claim::OutOfMemory)), Outcome::OomKilled);
    }

    #[test]
    fn what_cannot_be_believed_is_an_outcome_of_its_own_since_nothing_died() {
        let said = |claim| Evidence { exit: Exit::Code(70), sentinel: false, claim: Some(claim), ..clean() };
        for claim in [Claim::Protocol, Claim::OtherOutput] {
            let outcome = classify(&said(claim));
            assert_eq!((outcome, outcome.family()), (Outcome::ProtocolFail, Family::NotBelieved), "{claim:?}");
            assert_eq!(outcome.verdict(0), Verdict::Done, "it would say the same again");
        }
        let failed = classify(&said(Claim::RunFail));
        assert_eq!(failed, Outcome::ExitNonzero(70), "the control: an engine that says of itself that it failed");
    }

    #[test]
    fn what_a_scorer_does_is_the_datasets_fault_however_it_ended() {
        let said = Evidence { exit: Exit::Code(70), sentinel: false, claim: Some(Claim::Scorer), ..clean() };
        let ended = [said.clone(), Evidence { memory_limit_hit: true, fallback: true, ..said }];
        assert_eq!(ended.map(|evidence| classify(&evidence)), [Outcome::SpecError; 2]);
        assert_eq!(Outcome::SpecError.verdict(0), Verdict::Done, "it would do the same again");
    }

    #[test]
    fn every_class_reads_back_from_the_database() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_class(outcome.class(), outcome.code()), Some(outcome));
        }
        assert_eq!(Outcome::from_class("crash_signal", None), None, "a signal without its number is no record");
    }

    #[test]
    fn retries_are_bounded_and_only_for_what_is_not_the_models_fault() {
        assert_eq!(Outcome::DeviceLost.verdict(0), Verdict::Retry);
        assert_eq!(Outcome::DeviceLost.verdict(RETRY_LIMIT), Verdict::Done);
        assert_eq!(Outcome::CrashSignal(11).verdict(0), Verdict::Repeat);
        assert_eq!(Outcome::CrashSignal(11).verdict(1), Verdict::Done);
        assert_eq!(Outcome::NumericsFail.verdict(0), Verdict::Done);
    }
}
