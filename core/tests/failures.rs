//! Evidence of every class of failure: each file of `tests/failures` holds cases of one class. The texts are written
//! from what programs, ROMs and kernels are known to say, not recorded.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod mutation;

use std::collections::BTreeMap;
use std::path::Path;

use mutation::broken;
use proptest::prelude::*;
use seatrial_core::backend::Accelerator;
use seatrial_core::failure::{Blame, Class, Evidence, Failure, MAX_LINE, Rules, classify};
use seatrial_core::outcome::{Exit, Outcome, Verdict};
use seatrial_core::stage::Stage;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    outcome: String,
    /// Signal or exit code of the outcome.
    code: Option<i32>,
    stage: Option<Stage>,
    accelerator: Option<Accelerator>,
    exit: Option<Exit>,
    pid: Option<u32>,
    /// Whom it must blame.
    blame: Option<Blame>,
    boot_before: Option<String>,
    boot_after: Option<String>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    output: String,
    #[serde(default)]
    system: String,
}

impl Case {
    fn outcome(&self) -> Outcome {
        Outcome::from_class(&self.outcome, self.code).unwrap()
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence {
            outcome: self.outcome(),
            stage: self.stage,
            accelerator: self.accelerator,
            exit: self.exit,
            pid: self.pid,
            message: &self.message,
            output: &self.output,
            system: &self.system,
            boot_before: self.boot_before.as_deref(),
            boot_after: self.boot_after.as_deref(),
        }
    }
}

fn cases() -> BTreeMap<Class, Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failures");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = files.map(|path| {
        let class = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let file: File = toml::from_str(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (class, file.case)
    });
    read.collect()
}

fn rules() -> &'static Rules {
    Rules::shipped().unwrap()
}

fn judged(evidence: &Evidence<'_>) -> Failure {
    classify(evidence, rules()).unwrap()
}

#[test]
fn every_class_has_evidence_that_classifies_to_it() {
    let cases = cases();
    for class in Class::ALL {
        assert!(cases.contains_key(class), "no evidence of {class}");
    }
    for (class, cases) in &cases {
        for case in cases {
            let found = judged(&case.evidence());
            assert_eq!(found.class, *class, "{}: decided by {:?}", case.what, found.seen);
            assert_eq!(found.blame, case.blame.unwrap_or(found.blame), "{class}: {}", case.what);
            assert_eq!((found.stage, found.rules), (case.stage, rules().version()));
        }
    }
}

#[test]
fn what_decided_is_kept_with_its_line() {
    let case = &cases()[&Class::SelinuxDenial][0];
    let seen = judged(&case.evidence()).seen.unwrap();
    assert_eq!(seen.source.as_str(), "system");
    assert!(seen.line.contains("avc: denied { execute_no_trans }"), "{}", seen.line);
}

#[test]
fn infrastructure_goes_before_signals_and_signals_before_texts() {
    let crashed = Evidence {
        exit: Some(Exit::Signal(11)),
        output: "CANNOT LINK EXECUTABLE: library \"libfoo.so\" not found, trying without",
        ..Evidence::untold(Outcome::CrashSignal(11), "")
    };
    assert_eq!(judged(&crashed).class, Class::Segfault);
    let rebooted = Evidence { boot_before: Some("a"), boot_after: Some("b"), ..crashed.clone() };
    assert_eq!(judged(&rebooted).class, Class::DeviceRebooted);
    let same = Evidence { boot_before: Some("a"), boot_after: Some("a\n"), ..crashed };
    assert_eq!(judged(&same).class, Class::Segfault, "the control: the same boot");
}

#[test]
fn a_log_of_other_programs_troubles_changes_nothing() {
    let noise = "avc: denied { read } for comm=\"camera\" scontext=u:r:hal_camera_default:s0 permissive=0\n\
                 ActivityManager: Killing 881:com.shop (adj 900): cached #21\n\
                 lmkd: Kill 'com.shop' (881)\nlibfoo: library \"libbar.so\" not found\n";
    let unknown =
        Evidence { system: noise, exit: Some(Exit::Code(3)), ..Evidence::untold(Outcome::ExitNonzero(3), "") };
    assert_eq!(judged(&unknown).class, Class::Unknown);
}

#[test]
fn every_failure_has_a_class_and_nothing_that_passed_has_one() {
    for outcome in Outcome::ALL {
        let found = classify(&Evidence::untold(outcome, "std::bad_alloc, VK_ERROR_DEVICE_LOST"), rules());
        let none = matches!(outcome, Outcome::Ok | Outcome::Cancelled);
        assert_eq!(found.is_none(), none, "{outcome}");
    }
}

/// What the schedule does with an outcome and what the class says must not contradict each other: infrastructure is
/// retried by both, and a crash or hang is repeated, unless the class knows that somebody else did it.
#[test]
fn a_class_refines_what_follows_from_its_outcome() {
    for outcome in Outcome::ALL {
        let Some(found) = classify(&Evidence::untold(outcome, ""), rules()) else { continue };
        let (by_class, by_outcome) = (found.verdict(), outcome.verdict(0));
        assert_eq!(by_class, by_outcome, "{outcome} → {}", found.class);
    }
    let rom = judged(&cases()[&Class::KilledByRom][0].evidence());
    assert_eq!((rom.verdict(), Outcome::CrashSignal(9).verdict(0)), (Verdict::Retry, Verdict::Repeat));
}

#[test]
fn a_failure_comes_back_from_its_document() {
    for case in cases().values().flatten() {
        let found = judged(&case.evidence());
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), found);
    }
}

#[test]
fn a_rule_file_that_says_too_little_or_nonsense_is_refused() {
    let told = |text: &str| Rules::read(text).unwrap_err().to_string();
    let classes: String =
        Class::ALL.iter().map(|class| format!("{class} = {{ blame = \"lab\" }}\n")).collect::<Vec<_>>().concat();
    let with = |rule: &str| format!("version = 1\n[class]\n{classes}\n[[rule]]\n{rule}\n");
    assert!(Rules::read(&with("class = \"hang\"\ncode = [124]")).is_ok(), "the control");
    assert!(told("version = 1\nrule = []\n[class]\n").contains("nothing says what follows from device_rebooted"));
    assert!(told(&with("class = \"hang\"")).contains("names no condition"));
    assert!(told(&with("class = \"hang\"\noutcome = [\"hung\"]")).contains("\"hung\" is no outcome"));
    assert!(told(&with("class = \"hang\"\ntext = '('")).contains("regex parse error"));
    assert!(told(&with("class = \"hanging\"\ncode = [1]")).contains("unknown variant"));
}

/// Any case of any class, with each of its texts broken by itself.
fn broken_case() -> impl Strategy<Value = Case> {
    let all: Vec<Case> = cases().into_values().flatten().collect();
    prop::sample::select(all).prop_flat_map(|case| {
        let text = |sound: String| broken(sound).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let texts = (text(case.message.clone()), text(case.output.clone()), text(case.system.clone()));
        (Just(case), texts).prop_map(|(case, (message, output, system))| Case { message, output, system, ..case })
    })
}

proptest! {
    #[test]
    fn broken_evidence_is_a_failure_still(case in broken_case(), drop_exit in any::<bool>(), swap in any::<bool>()) {
        let mut evidence = case.evidence();
        if drop_exit {
            evidence.exit = None;
        }
        if swap {
            std::mem::swap(&mut evidence.output, &mut evidence.system);
        }
        let found = judged(&evidence);
        prop_assert!(found.seen.is_none_or(|seen| seen.line.len() <= MAX_LINE));
    }

    #[test]
    fn garbage_is_a_failure_still_and_a_pass_stays_one(
        message in ".{0,200}", output in "(?s).{0,400}", system in "(?s).{0,400}", outcome in prop::sample::select(Outcome::ALL.to_vec())
    ) {
        let evidence = Evidence { output: &output, system: &system, ..Evidence::untold(outcome, &message) };
        let passed = matches!(outcome, Outcome::Ok | Outcome::Cancelled);
        prop_assert_eq!(classify(&evidence, rules()).is_none(), passed);
    }

    #[test]
    fn the_same_evidence_has_the_same_class_after_the_lines_of_other_programs(case in broken_case(), noise in "[a-z :]{0,60}") {
        let (output, system) = (format!("{noise}\n{}", case.output), format!("{noise}\n{}", case.system));
        let noisy = Evidence { output: &output, system: &system, ..case.evidence() };
        prop_assert_eq!(judged(&noisy).class, judged(&case.evidence()).class);
    }
}
