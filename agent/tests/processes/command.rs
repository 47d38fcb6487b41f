//! Programs that measure themselves. The system's own small tools are such programs here: `cat` prints what its model
//! holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_core::backend::Accelerator;
use seatrial_core::block;
use seatrial_core::command::{RULES_ROLE, VIEWER_ROLE};
use seatrial_core::job::JobSpec;
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::ProfileKind;
use seatrial_core::reading::Reading;
use seatrial_core::report::{BlockKind, ProcessRole, ProgramRun, Report};
use seatrial_core::runtimes::{PROGRAM_ROLE, PackageKind};
use seatrial_core::stage::Stage;

use crate::common;

const RULES: &str = r#"
name = "printer"
written_for = ["9"]
formats = ["onnx"]

[call]
arguments = [ARGUMENTS]
files = ["result.txt"]

[accelerators.cpu]
[accelerators.gpu]
ran = ['^on the gpu$']
fallback = ['^no gpu']
delegated = ['(?<on>\d+) of (?<of>\d+) nodes']

[version]
pattern = '^printer (?<version>\S+)'

[[told]]
name = "latency_avg"
unit = "ms"
value = '^avg (?<value>\S+) ms'
required = true
[[told]]
name = "memory"
unit = "MiB"
value = '^memory (?<value>\S+)'
[[told]]
name = "written"
unit = "1"
value = { from = "file:result.txt", pattern = '^(?<value>\d+) ' }

[[failures]]
class = "unsupported_op"
found = 'no such op: \S+'
"#;

const WELL: &str = "printer 9.1\navg 12.5 ms\n";

/// What of the system's tools is run, with which arguments, and on what.
struct Case<'a> {
    tool: &'a str,
    arguments: &'a str,
    model: &'a str,
    accelerator: Accelerator,
}

impl<'a> Case<'a> {
    fn cat(model: &'a str) -> Self {
        Self { tool: "cat", arguments: "\"{model}\"", model, accelerator: Accelerator::Cpu }
    }
}

fn found(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut folders = std::env::split_paths(&path);
    folders.find_map(|folder| folder.join(tool).canonicalize().ok()).unwrap()
}

/// A file of the package: role, name, bytes.
type File = (&'static str, String, Vec<u8>);

fn run_with(case: &Case<'_>, rules: &str, change: impl FnOnce(&mut JobSpec, &mut Vec<File>)) -> Report {
    let home = tempfile::tempdir().unwrap();
    let rules = rules.replace("ARGUMENTS", case.arguments).into_bytes();
    let mut files = vec![
        (PROGRAM_ROLE, case.tool.to_owned(), std::fs::read(found(case.tool)).unwrap()),
        (RULES_ROLE, "printer.toml".to_owned(), rules),
    ];
    let mut spec = common::job("printer", "model.onnx", case.model.as_bytes());
    spec.backend.accelerator = case.accelerator;
    change(&mut spec, &mut files);
    let files: Vec<(&str, &str, &[u8])> =
        files.iter().map(|(role, name, bytes)| (*role, name.as_str(), bytes.as_slice())).collect();
    spec.package = Some(common::package("printer", PackageKind::Command, &files));
    let contents: Vec<&[u8]> = files.iter().map(|(.., bytes)| *bytes).chain([case.model.as_bytes()]).collect();
    let report = common::run(spec, &contents, &common::options(home.path()));
    assert_eq!(common::left_behind(home.path()), Vec::<String>::new(), "after {:?}", report.message);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "no file is left");
    report
}

fn run(case: &Case<'_>) -> Report {
    run_with(case, RULES, |_, _| {})
}

fn program(report: &Report) -> &ProgramRun {
    report.processes[0].program.as_ref().unwrap_or_else(|| panic!("{:?}", report.message))
}

fn message(report: &Report) -> &str {
    report.message.as_deref().unwrap_or_default()
}

#[test]
fn figures_are_the_programs_own_and_what_it_does_not_tell_is_absent() {
    let report = run(&Case::cat(WELL));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    let told = program(&report);
    assert_eq!((told.name.as_str(), &told.version), ("printer", &Reading::Present("9.1".to_owned())));
    assert_eq!(told.told[0].value, Reading::Present(12.5));
    assert_eq!(told.told[1].value, Reading::absent("printer does not tell it"));
    assert!(told.told[2].value.reason().unwrap().contains("result.txt"), "{:?}", told.told[2]);
    assert!(told.wall_ms > 0.0);
    assert_eq!(report.environment.runtime_version, "printer 9.1");
    assert!(report.log.contains("avg 12.5 ms"), "{}", report.log);

    assert!(report.blocks.is_empty(), "an average is no sample");
    assert!(report.memory.present().is_none() && report.determinism.present().is_none());
    let roles: Vec<ProcessRole> = report.processes.iter().map(|process| process.role).collect();
    assert_eq!(roles, [ProcessRole::Latency]);
    let process = &report.processes[0];
    assert_eq!((process.load_ms, process.first_infer_ms, process.sentinel), (None, None, true));
    let window = process.window.as_ref().unwrap();
    assert!(window.foreign_allowed_ms.is_some() && window.run_queue_wait_ms.is_none(), "{window:?}");
}

#[test]
fn samples_that_a_program_tells_are_kept_as_samples() {
    let rules = format!("{RULES}\n[samples]\nunit = \"us\"\nvalues = '^took (?<value>\\S+) us'\n");
    let model = format!("{WELL}took 10.5 us\ntook 11 us\n");
    let report = run_with(&Case::cat(&model), &rules, |_, _| {});
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    let [latency] = report.blocks.as_slice() else { panic!("{:?}", report.blocks) };
    assert_eq!(latency.metric, BlockKind::LatencyNs);
    assert_eq!(block::unpack(&latency.bytes, latency.count).unwrap(), [10_500, 11_000]);
    let without = run_with(&Case::cat(WELL), &rules, |_, _| {});
    assert_eq!(without.outcome, Outcome::DriverExit0, "the rule promises samples");
}

#[test]
fn a_program_that_ends_well_and_tells_nothing_has_measured_nothing() {
    let report = run(&Case::cat("printer 9.1\n"));
    assert_eq!(report.outcome, Outcome::DriverExit0);
    assert!(message(&report).contains("printer ended with code 0, and latency_avg is missing"), "{report:?}");
    assert!(!report.processes[0].sentinel);
}

#[test]
fn a_failure_that_it_prints_counts_whatever_its_exit_code() {
    let model = format!("{WELL}no such op: Einsum\n");
    for arguments in ["\"{model}\"", "\"{model}\", \"missing\""] {
        let report = run(&Case { arguments, ..Case::cat(&model) });
        assert_eq!(report.outcome, Outcome::UnsupportedOp, "{arguments}: {:?}", report.message);
        assert!(message(&report).contains("printer: no such op: Einsum"), "{}", message(&report));
    }
}

#[test]
fn an_exit_code_and_a_signal_are_the_programs_own() {
    let report = run(&Case { arguments: "\"missing\"", ..Case::cat(WELL) });
    assert_eq!((report.outcome, report.failed_stage), (Outcome::ExitNonzero(1), Some(Stage::Measure)));
    assert!(report.log.contains("No such file"), "{}", report.log);
    // A file may have 256 MiB; SIGXFSZ says that it is longer.
    let long = Case { tool: "truncate", arguments: "\"--size=300M\", \"{output}/long\"", ..Case::cat(WELL) };
    let report = run(&long);
    assert_eq!(report.outcome, Outcome::CrashSignal(25), "{:?}", report.message);
    assert!(message(&report).contains("died by signal 25"), "{}", message(&report));
}

#[test]
fn a_program_with_more_cpu_time_than_its_threads_can_have_had_is_no_pass() {
    const TRIES: u32 = 3;
    // The shell counts in as many processes at once as it is told, waits for them, and tells what a program would.
    let counting = |processes: &str| {
        let script = format!(
            "for p in {processes}; do (n=0; while [ $n -lt 400000 ]; do n=$((n+1)); done) & done; wait; \
             echo printer 9.1; echo avg 12.5 ms"
        );
        let arguments = format!("\"-c\", \"{script}\"");
        run_with(&Case { tool: "sh", arguments: &arguments, ..Case::cat(WELL) }, RULES, |spec, _| {
            spec.limits.deadlines.insert(Stage::Measure, Duration::from_mins(1));
        })
    };
    for _ in 0..TRIES {
        let report = counting("1 2");
        let window = report.processes[0].window.as_ref().unwrap_or_else(|| panic!("{}", report.log));
        if window.own_cpu_ms < 1.5 * window.monotonic_ms + 50.0 {
            // A busy machine left it no second CPU, and so it computed on one.
            continue;
        }
        assert_eq!(report.outcome, Outcome::OkFallback, "{window:?} {}", message(&report));
        assert!(message(&report).contains("threads asked for: 1; the engine "), "{}", message(&report));
        assert_eq!(report.actual.threads, Reading::Present(2));
        break;
    }
    let one = counting("1");
    assert_eq!(one.outcome, Outcome::Ok, "the control: {}\n{}", message(&one), one.log);
}

#[test]
fn a_program_that_does_not_end_is_ended_at_the_deadline_of_its_stage() {
    let hanging = Case { tool: "sleep", arguments: "\"1000\"", ..Case::cat(WELL) };
    let report = run_with(&hanging, RULES, |spec, _| {
        spec.limits.deadlines.insert(Stage::Measure, Duration::from_millis(300));
    });
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::Measure)));
    // `tail` has printed the model, whose last line begins the stage, and waits for more.
    let rules = format!("{RULES}\n[[stages]]\nstage = \"warmup\"\npattern = '^warming up'\n");
    let follower = Case { tool: "tail", arguments: "\"-f\", \"{model}\"", ..Case::cat("avg 1 ms\nwarming up\n") };
    let report = run_with(&follower, &rules, |spec, _| {
        spec.limits.deadlines.insert(Stage::Warmup, Duration::from_millis(300));
    });
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::Warmup)), "{report:?}");
}

#[test]
fn output_without_end_is_cut_and_the_program_is_ended() {
    let endless = Case { tool: "yes", arguments: "\"avg 1 ms\"", ..Case::cat(WELL) };
    let report = run_with(&endless, RULES, |spec, _| {
        spec.limits.deadlines.insert(Stage::Measure, Duration::from_millis(500));
    });
    assert_eq!(report.outcome, Outcome::HangTimeout);
    assert!(report.log.len() <= 64 << 10);
}

#[test]
fn a_run_elsewhere_than_asked_is_a_fallback_and_never_a_pass() {
    let gpu = |model| run(&Case { accelerator: Accelerator::Gpu, ..Case::cat(model) });
    let there = gpu("avg 1 ms\non the gpu\n9 of 9 nodes\n");
    assert_eq!(there.outcome, Outcome::Ok, "{:?}", there.message);
    assert_eq!(there.actual.accelerator, Reading::Present("gpu".to_owned()));
    assert_eq!(there.actual.delegated, Reading::Present((9, 9)));
    let partly = gpu("avg 1 ms\non the gpu\n7 of 9 nodes\n");
    assert_eq!(partly.outcome, Outcome::OkFallback, "{:?}", partly.message);
    assert!(partly.message.unwrap().ends_with("7 of 9 operators ran on the gpu"));
    for (model, why) in [
        ("avg 1 ms\non the gpu\nno gpu here\n", "no gpu"),
        ("avg 1 ms\n", "printer says nothing of having run on the gpu"),
    ] {
        let report = gpu(model);
        assert_eq!(report.outcome, Outcome::OkFallback, "{model:?}: {:?}", report.message);
        assert!(report.actual.accelerator.present().is_none(), "{model:?}");
        assert!(report.actual.fallback.as_ref().unwrap().contains(why), "{:?}", report.actual.fallback);
    }
}

#[test]
fn an_accelerator_that_the_rules_do_not_have_is_no_question_to_the_program() {
    let report = run(&Case { accelerator: Accelerator::Npu, ..Case::cat(WELL) });
    assert_eq!(report.outcome, Outcome::UnsupportedBackend);
    assert!(message(&report).contains("printer cannot be called: its rule file has no accelerator npu"), "{report:?}");
}

#[test]
fn a_program_writes_into_its_output_folder_and_nowhere_else() {
    let copy = |to| Case { tool: "cp", arguments: to, ..Case::cat("5 avg 1 ms\n") };
    let within = run(&copy("\"{model}\", \"{output}/result.txt\""));
    assert_eq!(program(&within).told[2].value, Reading::Present(5.0), "the file that it wrote is read");
    let how = within.environment.facts.get("confinement").map(String::as_str);
    // The positive control: without the protection all of these succeed.
    let confined = matches!(how, Some("landlock" | "landlock, in part"));
    for (what, case) in [
        ("a file beside the program", copy("\"{model}\", \"{package}/result.txt\"")),
        ("a file of the system", Case { arguments: "\"/etc/hostname\"", ..Case::cat(WELL) }),
        ("another program", Case { tool: "env", arguments: "\"/bin/cat\", \"{model}\"", ..Case::cat(WELL) }),
    ] {
        let report = run(&case);
        assert_eq!(report.log.contains("Permission denied"), confined, "{what}, {how:?}: {}", report.log);
    }
}

#[test]
fn a_link_that_a_program_leaves_is_not_followed() {
    let link = Case { tool: "ln", arguments: "\"-s\", \"/etc/hostname\", \"{output}/result.txt\"", ..Case::cat(WELL) };
    let report = run(&link);
    let written = &program(&report).told[2];
    assert!(written.value.present().is_none(), "{written:?}");
}

#[test]
fn a_program_that_cannot_be_started_says_what_would_be() {
    let script = run_with(&Case::cat(WELL), RULES, |_, files| files[0].2 = b"#!/bin/sh\necho avg 1 ms\n".to_vec());
    assert_eq!(script.outcome, Outcome::UnsupportedBackend, "{:?}", script.message);
    assert!(message(&script).contains("no script"), "{}", message(&script));
    // Of a system with another dynamic linker.
    let foreign = run_with(&Case::cat(WELL), RULES, |_, files| {
        let program = &mut files[0].2;
        let linker = program.windows(4).position(|window| window == b"/ld-").unwrap();
        program[linker + 1] = b'x';
    });
    assert_eq!(foreign.outcome, Outcome::UnsupportedBackend);
    assert!(message(&foreign).contains("is not there"), "{}", message(&foreign));
    for (index, said) in ["names no program", "has no rule file"].into_iter().enumerate() {
        let part = run_with(&Case::cat(WELL), RULES, |_, files| drop(files.remove(index)));
        assert_eq!(part.outcome, Outcome::SpecError, "{:?}", part.message);
        assert!(message(&part).contains(said), "{}", message(&part));
    }
    let wrong = run_with(&Case::cat(WELL), "name = 7", |_, _| {});
    assert_eq!(wrong.outcome, Outcome::SpecError, "{:?}", wrong.message);
    assert!(message(&wrong).contains("rule file"), "{}", message(&wrong));
}

#[test]
fn what_it_left_is_shown_by_the_second_program_of_its_package() {
    let rules = RULES.replace("files =", "viewer = [\"{output}/result.txt\"]\nfiles =").replace(
        "value = '^avg (?<value>\\S+) ms'",
        "value = { from = \"viewer\", pattern = '^avg (?<value>\\S+) ms' }",
    );
    let writer = Case { tool: "cp", arguments: "\"{model}\", \"{output}/result.txt\"", ..Case::cat(WELL) };
    let report = run_with(&writer, &rules, |_, files| {
        files.push((VIEWER_ROLE, "show".to_owned(), std::fs::read(found("cat")).unwrap()));
    });
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    assert_eq!(program(&report).told[0].value, Reading::Present(12.5));
    let without = run_with(&writer, &rules, |_, _| {});
    assert_eq!(without.outcome, Outcome::DriverExit0);
    assert!(message(&without).contains("the package has no viewer"), "{}", message(&without));
}

#[test]
fn what_needs_tensors_or_a_pace_is_not_asked_of_a_program() {
    let sustained = run_with(&Case::cat(WELL), RULES, |spec, _| spec.profile.kind = ProfileKind::Sustained);
    assert_eq!((sustained.outcome, sustained.failed_stage), (Outcome::SpecError, Some(Stage::Prepare)));
    assert!(message(&sustained).contains("it knows no profile sustained"), "{}", message(&sustained));
    assert!(sustained.processes.is_empty());
}

#[test]
fn each_process_of_an_attempt_is_a_run_of_the_program() {
    let report = run_with(&Case::cat(WELL), RULES, |spec, _| spec.profile.processes = 3);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    assert_eq!(report.processes.iter().filter(|process| process.program.is_some()).count(), 3);
    assert_eq!(report.processes.len(), 3);
}

/// Standard output and error of `seatrial-agent command`, and whether it ended well.
fn asked(words: &[&Path]) -> (String, bool) {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_seatrial-agent")).arg("command").args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

#[test]
fn a_rule_file_is_tried_on_a_recorded_output_and_on_the_program_itself() {
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let rules = place("printer.toml", &RULES.replace("ARGUMENTS", "\"{model}\""));
    let (well, wrong) = (place("well.onnx", WELL), place("wrong.toml", "name = \"a b\"\ncolour = 1\n"));
    let word = Path::new;

    let (text, ok) = asked(&[word("check"), &rules]);
    assert!(ok && text.contains("sound; reads runs on cpu, gpu"), "{text}");
    let (text, ok) = asked(&[word("check"), &rules, word("--stdout"), &well]);
    assert!(ok && text.contains("12.5 ms") && text.contains("– absent: printer does not tell it"), "{text}");
    let (text, ok) = asked(&[word("check"), &wrong]);
    assert!(!ok && text.contains("wrong.toml") && text.contains("colour"), "{text}");

    let cat = home.path().join("cat");
    std::fs::copy(found("cat"), &cat).unwrap();
    let (text, ok) = asked(&[word("run"), &rules, &cat, &well, word("--load-wait"), word("0")]);
    assert!(ok && text.contains("printer 9.1") && text.contains("12.5 ms"), "{text}");
}
