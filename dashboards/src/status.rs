//! State as glyph, word and colour, for everything that has a state. The vocabulary of `dashboards/DESIGN.md`.

use seatrial_core::device::DeviceState;
use seatrial_core::job::JobState;
use seatrial_core::outcome::{Family, Outcome};
use seatrial_core::store::{JobRow, RunRow, RunState};

use crate::i18n::Words;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Name of a symbol in the sprite, without its prefix.
    pub glyph: &'static str,
    /// Class that carries the colour.
    pub class: &'static str,
    pub word: String,
}

impl Status {
    fn new(glyph: &'static str, class: &'static str, word: impl Into<String>) -> Self {
        Self { glyph, class, word: word.into() }
    }

    /// With another word than its own.
    #[must_use]
    pub fn saying(self, word: impl Into<String>) -> Self {
        Self { word: word.into(), ..self }
    }
}

const fn looks(family: Family) -> (&'static str, &'static str, &'static str) {
    match family {
        Family::Ok => ("ok", "s-ok", "outcome.ok"),
        Family::Fallback => ("fallback", "s-fallback", "outcome.fallback"),
        Family::Died => ("failed", "s-failed", "outcome.died"),
        Family::Hung => ("hang", "s-failed", "outcome.hung"),
        Family::WrongOutput => ("numeric", "s-failed", "outcome.wrong_output"),
        Family::CannotLoad => ("cannot", "s-failed", "outcome.cannot_load"),
        Family::NotBelieved => ("numeric", "s-failed", "outcome.not_believed"),
        Family::LabOrRom => ("lab", "s-failed", "outcome.lab_or_rom"),
        Family::Misspecified => ("cannot", "s-failed", "outcome.spec_error"),
        Family::Cancelled => ("misfit", "s-misfit", "outcome.cancelled"),
    }
}

/// Whether an attempt that ended so has numbers.
#[must_use]
pub const fn has_result(outcome: Outcome) -> bool {
    matches!(outcome.family(), Family::Ok | Family::Fallback)
}

/// Whether an attempt that ended so failed, by the model, its engine or the lab; what somebody ended did not.
#[must_use]
pub const fn is_failure(outcome: Outcome) -> bool {
    match outcome.family() {
        Family::Died
        | Family::Hung
        | Family::WrongOutput
        | Family::CannotLoad
        | Family::NotBelieved
        | Family::LabOrRom
        | Family::Misspecified => true,
        Family::Ok | Family::Fallback | Family::Cancelled => false,
    }
}

/// Whether an outcome says something of the model and its backend: neither the lab's faults do, nor what somebody ended.
#[must_use]
pub const fn is_of_the_model(outcome: Outcome) -> bool {
    match outcome.family() {
        Family::Ok
        | Family::Fallback
        | Family::Died
        | Family::Hung
        | Family::WrongOutput
        | Family::CannotLoad
        | Family::NotBelieved
        | Family::Misspecified => true,
        Family::LabOrRom | Family::Cancelled => false,
    }
}

/// Ended well on what was asked for, with numbers that can be trusted: only such a result is held against others.
pub fn is_comparable(row: &JobRow) -> bool {
    row.outcome == Some(Outcome::Ok) && row.invalid.is_empty()
}

/// The family's word.
#[must_use]
pub fn outcome(outcome: Outcome, words: Words) -> Status {
    let (glyph, class, word) = looks(outcome.family());
    Status::new(glyph, class, words.t(word))
}

/// `SEGV`, `OOM`, `EXIT 3`, or the class: what fits in a cell and is never translated.
#[must_use]
pub fn code(outcome: Outcome) -> String {
    match outcome {
        Outcome::CrashSignal(signal) => signal_name(signal).map_or_else(|| format!("SIG {signal}"), str::to_owned),
        Outcome::ExitNonzero(code) => format!("EXIT {code}"),
        Outcome::OomKilled => "OOM".to_owned(),
        Outcome::DriverExit0 => "EXIT 0".to_owned(),
        Outcome::HangTimeout => "HANG".to_owned(),
        Outcome::Ok
        | Outcome::OkFallback
        | Outcome::NumericsFail
        | Outcome::AccuracyFail
        | Outcome::UnsupportedBackend
        | Outcome::UnsupportedOp
        | Outcome::LoadFail
        | Outcome::CompileFail
        | Outcome::ProtocolFail
        | Outcome::ThermalAbort
        | Outcome::BatteryLow
        | Outcome::DeviceLost
        | Outcome::AgentKilled
        | Outcome::InstallBlocked
        | Outcome::StorageFull
        | Outcome::TransferCorrupt
        | Outcome::SpecError
        | Outcome::Cancelled
        | Outcome::HarnessError => outcome.class().replace('_', " "),
    }
}

/// The class with its signal or exit code: `crash_signal SEGV`.
#[must_use]
pub fn class_and_code(outcome: Outcome) -> String {
    match outcome.code() {
        Some(_) => format!("{} {}", outcome.class(), code(outcome).trim_start_matches("EXIT ")),
        None => outcome.class().to_owned(),
    }
}

/// Linux signal numbers that are the same on all our targets.
const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return None,
    })
}

#[must_use]
pub fn job(row: &JobRow, words: Words) -> Status {
    match row.state {
        JobState::Queued => Status::new("queued", "s-ok", words.t("state.queued")),
        JobState::Leased { .. } => Status::new("running", "s-running", words.t("state.running")),
        JobState::Quarantined => Status::new("quarantined", "s-failed", words.t("state.job_quarantined")),
        JobState::Done { outcome: end } => {
            let status = outcome(end, words);
            if row.invalid.is_empty() {
                status
            } else {
                Status::new("fallback", "s-suspect", words.with("outcome.invalid", &[("word", &status.word)]))
            }
        }
    }
}

/// The state of a device in one word; times and steps stand in its reason.
#[must_use]
pub fn device(state: DeviceState, words: Words) -> Status {
    let (glyph, class, word) = match state {
        DeviceState::Discovered => ("queued", "s-ok", "state.discovered"),
        DeviceState::Unauthorized => ("cannot", "s-failed", "state.unauthorized"),
        DeviceState::Ready => ("ready", "s-ok", "state.ready"),
        DeviceState::Reserved => ("ready", "s-ok", "state.reserved"),
        DeviceState::Preparing => ("ready", "s-ok", "state.preparing"),
        DeviceState::Running => ("running", "s-running", "state.running"),
        DeviceState::Dark => ("dark", "s-dark", "state.dark"),
        DeviceState::Cooling => ("cooling", "s-suspect", "state.cooling"),
        DeviceState::Charging => ("charging", "s-ok", "state.charging"),
        DeviceState::Recovering => ("recovering", "s-suspect", "state.recovering"),
        DeviceState::Quarantined => ("quarantined", "s-failed", "state.quarantined"),
        DeviceState::Maintenance => ("misfit", "s-misfit", "state.maintenance"),
        DeviceState::Retired => ("misfit", "s-misfit", "state.retired"),
    };
    Status::new(glyph, class, words.t(word))
}

/// Whether a device of this state is offline when it has no open session; quarantine and the like stand without one.
#[must_use]
pub const fn needs_session(state: DeviceState) -> bool {
    match state {
        DeviceState::Discovered
        | DeviceState::Ready
        | DeviceState::Reserved
        | DeviceState::Preparing
        | DeviceState::Running
        | DeviceState::Cooling
        | DeviceState::Charging => true,
        DeviceState::Unauthorized
        | DeviceState::Dark
        | DeviceState::Recovering
        | DeviceState::Quarantined
        | DeviceState::Maintenance
        | DeviceState::Retired => false,
    }
}

/// The state, or `offline` for a device that should have a session and has none.
#[must_use]
pub fn device_now(state: DeviceState, online: bool, words: Words) -> Status {
    if !online && needs_session(state) { missing(words.t("state.offline")) } else { device(state, words) }
}

#[must_use]
pub fn run(row: &RunRow, words: Words) -> Status {
    match (row.state, row.gate_passed) {
        (RunState::Running, _) => Status::new("running", "s-running", words.t("state.running")),
        (RunState::Cancelled, _) => Status::new("misfit", "s-misfit", words.t("outcome.cancelled")),
        (RunState::Done, Some(false)) => Status::new("failed", "s-failed", words.t("state.gate_failed")),
        (RunState::Done, Some(true)) => Status::new("ok", "s-ok", words.t("state.gate_passed")),
        (RunState::Done, None) => Status::new("ok", "s-ok", words.t("state.done")),
    }
}

#[must_use]
pub fn misfit(words: Words) -> Status {
    Status::new("misfit", "s-misfit", words.t("state.misfit"))
}

#[must_use]
pub fn missing(word: impl Into<String>) -> Status {
    Status::new("missing", "s-missing", word)
}

#[must_use]
pub fn invalid(word: impl Into<String>) -> Status {
    Status::new("fallback", "s-suspect", word)
}

#[must_use]
pub fn failed(word: impl Into<String>) -> Status {
    Status::new("failed", "s-failed", word)
}

#[must_use]
pub fn passed(word: impl Into<String>) -> Status {
    Status::new("ok", "s-ok", word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    #[test]
    fn every_outcome_and_state_has_a_word_and_a_glyph_of_the_sprite() {
        let sprite = include_str!("../assets/sprite.svg");
        for language in Language::ALL {
            let words = Words(language);
            let outcomes = Outcome::ALL.into_iter().map(|end| outcome(end, words));
            let states = DeviceState::ALL.iter().map(|&state| device(state, words));
            for status in outcomes.chain(states) {
                assert!(sprite.contains(&format!("id=\"g-{}\"", status.glyph)), "{status:?}");
                assert!(!status.word.contains('.'), "{status:?} has no word in {language:?}");
            }
        }
    }

    #[test]
    fn a_specification_that_does_not_fit_is_a_failure_and_only_who_cancels_hides_a_result() {
        let words = Words(Language::English);
        let spec = outcome(Outcome::SpecError, words);
        assert_eq!(
            (spec.class, spec.word.as_str(), is_of_the_model(Outcome::SpecError)),
            ("s-failed", "spec error", true)
        );
        let quiet = |end: &Outcome| outcome(*end, words).class == "s-misfit";
        assert_eq!(Outcome::ALL.into_iter().filter(quiet).collect::<Vec<_>>(), [Outcome::Cancelled]);
    }

    #[test]
    fn what_is_not_believed_is_a_failure_of_the_engine_and_no_process_has_died() {
        let said = Language::ALL.map(|language| outcome(Outcome::ProtocolFail, Words(language)).word);
        assert_eq!(said, ["not believed".to_owned(), "不可信".to_owned()]);
        assert!(is_failure(Outcome::ProtocolFail) && is_of_the_model(Outcome::ProtocolFail));
        assert_eq!(class_and_code(Outcome::ProtocolFail), "protocol_fail");
        assert_eq!(
            outcome(Outcome::ExitNonzero(70), Words(Language::English)).word,
            "process died",
            "the control: one that ended"
        );
    }

    #[test]
    fn a_cell_names_signals_as_people_say_them() {
        assert_eq!(code(Outcome::CrashSignal(11)), "SEGV");
        assert_eq!(code(Outcome::CrashSignal(40)), "SIG 40");
        assert_eq!(class_and_code(Outcome::ExitNonzero(3)), "exit_nonzero 3");
        assert_eq!(class_and_code(Outcome::LoadFail), "load_fail");
    }

    #[test]
    fn a_ready_device_without_a_session_is_offline_and_a_quarantined_one_stays_quarantined() {
        let words = Words(Language::English);
        assert_eq!(device_now(DeviceState::Ready, false, words).word, "offline");
        assert_eq!(device_now(DeviceState::Quarantined, false, words).glyph, "quarantined");
    }
}
