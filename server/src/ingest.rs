//! What a device reports, judged before it is believed.
//!
//! A report that breaks a bound is refused with the bound's name: a device that lies costs its own attempt and nothing
//! else. What passes is kept as it came; the numbers are derived from it here and can be derived again.

use seatrial_core::block;
use seatrial_core::dataset::package::MAX_EXAMPLES;
use seatrial_core::energy::record::MAX_SOURCES;
use seatrial_core::energy::recording::MAX_PHASES;
use seatrial_core::energy::{EnergyRecord, Phase};
use seatrial_core::evidence;
use seatrial_core::failure;
use seatrial_core::ids::DeviceId;
use seatrial_core::job::{AttemptRef, DatasetRef, JobSpec};
use seatrial_core::measure;
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::MAX_SAMPLES;
use seatrial_core::reading::Reading;
use seatrial_core::reason::Reason;
use seatrial_core::report::{
    Block, BlockKind, MAX_BOUNDS_HIT, MAX_FACTS, MAX_GOLDEN, MAX_OUTPUT_VALUES, MAX_SHORT_TEXT, MAX_STAGES,
    MAX_SYSTEM_LOG, MAX_TENSORS, MAX_TEXT, MAX_TOLD, Memory, ProcessRecord, ProgramRun, REPORT_SCHEMA, Report,
    SensorTrace, StageRecord, Thinned, Told, Unaccounted, Window,
};
use seatrial_core::schedule::LONGEST_ATTEMPT;
use seatrial_core::stage::Stage;
use seatrial_core::store::{Completion, JobNext};
use seatrial_core::time::Timestamp;

/// Bounds of a report beyond those of its message and of [`seatrial_core::report`], to which a device cuts it.
const MAX_LOG: usize = 512 << 10;
/// What stands where a text was cut.
const CUT: &str = "[cut by the server]";
const MAX_PROCESSES: usize = 32;
const MAX_TRACES: usize = 512;
const MAX_POINTS: usize = 4 * 3600;
const MAX_LOADED: usize = 256;
/// Values of all blocks together: samples with their starts, truth and answers (as many as five classes and a label for
/// each example, or more), and outputs. A block of equal values takes a few bytes, however many they are, so that bytes
/// are no bound.
const MAX_VALUES: u64 = 2 * MAX_SAMPLES as u64 + 2 * evidence::MAX_VALUES as u64 + MAX_OUTPUT_VALUES as u64;
/// Classes of a dataset.
const MAX_CLASS: i64 = 1_000_000;

/// Why a report is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("the report is of schema {0}, this server reads up to {REPORT_SCHEMA}: update the server")]
    Schema(u32),
    #[error("{what}: {actual} is over the limit of {limit}")]
    TooMuch { what: String, actual: u64, limit: u64 },
    #[error("{what} is {value}, which no device can measure")]
    Impossible { what: String, value: String },
    #[error("samples of process {process} ({kind}) cannot be read: {why}", kind = kind.as_str())]
    Block { kind: BlockKind, process: u8, why: String },
    #[error("two blocks hold the {kind} samples of process {process}", kind = kind.as_str())]
    Twice { kind: BlockKind, process: u8 },
    #[error("{kind} samples are of process {process}, which the report does not list", kind = kind.as_str())]
    Unlisted { kind: BlockKind, process: u8 },
    #[error("the report says {outcome} and process {process} of it left no sentinel")]
    NoSentinel { outcome: Outcome, process: u8 },
    #[error("the figures of the dataset's scorer: {0}")]
    Figures(String),
    #[error("the report says {0} and lists no process")]
    NoProcess(Outcome),
}

/// Judges a report and derives everything that is stored with it. What becomes of the job is left to the schedule.
pub fn judge(
    spec: &JobSpec,
    attempt: AttemptRef,
    device: DeviceId,
    mut report: Report,
    received_at: Timestamp,
) -> Result<(Completion, Outcome), Refusal> {
    let cut = cut_texts(&mut report);
    check(&report)?;
    check_figures(spec.dataset.as_ref(), &report)?;
    report.bounds_hit.extend(cut);
    let summary = measure::summarise(spec, &report);
    let outcome = summary.outcome;
    let algorithm = measure::told::algorithm(&report);
    let told = measure::told::metrics(&report);
    let (message, failed_stage) = match summary.wrong.as_slice() {
        [] => (report.message.clone(), report.failed_stage),
        wrong => (Some(Reason::joined(wrong)), Some(Stage::Accuracy)),
    };
    let accelerator = Some(spec.backend.accelerator);
    let failure =
        failure(&failure::Evidence::of_report(&report, outcome, failed_stage, message.as_deref(), accelerator));
    let completion = Completion {
        attempt,
        device,
        received_at,
        report,
        outcome,
        message,
        failed_stage,
        failure,
        quarantine: None,
        metrics: [summary.metrics, told].concat(),
        invalid: summary.invalid,
        algorithm,
        next: JobNext::Done(outcome),
    };
    Ok((completion, outcome))
}

/// Why an attempt failed, by the rules of this build; `None` for one that has not. Rules that cannot be used are told of
/// in the log, and leave the outcome as it is: a build with sound rules judges it later.
#[must_use]
pub fn failure(evidence: &failure::Evidence<'_>) -> Option<failure::Failure> {
    match failure::Rules::shipped() {
        Ok(rules) => failure::classify(evidence, rules),
        Err(error) => {
            tracing::error!(%error, "the class of a failure is left open");
            None
        }
    }
}

/// Bytes of memory that it takes to judge a report whose blocks claim these counts of values, beside its own bytes. A
/// claim that is refused takes none.
#[must_use]
pub fn memory(counts: impl IntoIterator<Item = u32>) -> usize {
    let values: u64 = counts.into_iter().map(u64::from).sum();
    values.min(MAX_VALUES) as usize * size_of::<i64>()
}

/// Cuts texts that are too long, and says which: how an attempt ended is worth more than the last words about it.
fn cut_texts(report: &mut Report) -> Vec<String> {
    let mut cut = Vec::new();
    if report.message.as_mut().is_some_and(cut_end) {
        cut.push(format!("message cut at {MAX_TEXT} bytes"));
    }
    let notes = report.stages.iter_mut().filter_map(|stage| stage.note.as_mut());
    if notes.map(cut_end).filter(|&is_cut| is_cut).count() > 0 {
        cut.push(format!("notes of stages cut at {MAX_TEXT} bytes"));
    }
    if report.log.len() > MAX_LOG {
        // The last lines say the most.
        let start = report.log.len() - (MAX_LOG - CUT.len() - 1);
        let start = (start..report.log.len()).find(|&at| report.log.is_char_boundary(at)).unwrap_or(report.log.len());
        report.log.replace_range(..start, &format!("{CUT}\n"));
        cut.push(format!("log cut at {MAX_LOG} bytes"));
    }
    cut
}

/// Whether there was too much of it.
fn cut_end(text: &mut String) -> bool {
    if text.len() <= MAX_TEXT {
        return false;
    }
    let end = MAX_TEXT - CUT.len() - 1;
    let end = (0..=end).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.truncate(end);
    text.push(' ');
    text.push_str(CUT);
    true
}

/// Every bound of a report.
pub fn check(report: &Report) -> Result<(), Refusal> {
    if report.schema == 0 || report.schema > REPORT_SCHEMA {
        return Err(Refusal::Schema(report.schema));
    }
    at_most("message in bytes", report.message.as_ref().map_or(0, String::len), MAX_TEXT)?;
    at_most("log in bytes", report.log.len(), MAX_LOG)?;
    at_most("logs of the system in bytes", report.system_log.len(), MAX_SYSTEM_LOG)?;
    at_most("stages", report.stages.len(), MAX_STAGES)?;
    at_most("processes", report.processes.len(), MAX_PROCESSES)?;
    at_most("sensors", report.sensors.len(), MAX_TRACES)?;
    at_most("compared outputs", report.golden.len(), MAX_GOLDEN)?;
    at_most("facts", report.environment.facts.len(), MAX_FACTS)?;
    at_most("bounds hit", report.bounds_hit.len(), MAX_BOUNDS_HIT)?;
    at_most("loaded files", report.actual.loaded.len(), MAX_LOADED)?;
    if let Some(signature) = &report.actual.signature {
        at_most("inputs and outputs", signature.inputs.len() + signature.outputs.len(), MAX_TENSORS)?;
    }
    report.stages.iter().try_for_each(check_stage)?;
    report.processes.iter().try_for_each(check_process)?;
    report.sensors.iter().try_for_each(check_trace)?;
    if let Reading::Present(memory) = &report.memory {
        check_memory(memory)?;
    }
    if let Some(energy) = &report.energy {
        check_energy(energy)?;
    }
    for record in &report.golden {
        let comparison = &record.comparison;
        // A difference from a reference may be infinite or not a number: that is what nan_count and inf_count tell.
        for (what, value) in [("max_abs", comparison.max_abs), ("mean_abs", comparison.mean_abs)] {
            if value < 0.0 {
                return Err(impossible(format!("{what} of output {:?}", short(&record.output)), value));
            }
        }
    }
    check_blocks(&report.blocks, &report.processes)?;
    check_sentinel(report)
}

/// Figures of a scorer only where the job has one, and then those that it is asked for.
fn check_figures(dataset: Option<&DatasetRef>, report: &Report) -> Result<(), Refusal> {
    let figures = &report.figures;
    let scorer = dataset.and_then(|dataset| Some((dataset.scorer.as_ref()?, dataset.examples)));
    let lie = match scorer {
        _ if figures.is_empty() => None,
        None => Some("the job has no scorer".to_owned()),
        Some((scorer, examples)) => scorer.refuted(figures, examples),
    };
    lie.map_or(Ok(()), |why| Err(Refusal::Figures(why)))
}

/// Success only by the sentinel of every process.
fn check_sentinel(report: &Report) -> Result<(), Refusal> {
    let success = matches!(report.outcome, Outcome::Ok | Outcome::OkFallback);
    if !success {
        return Ok(());
    }
    let without = report.processes.iter().find(|process| !process.sentinel).map(|process| process.index);
    match without {
        Some(process) => Err(Refusal::NoSentinel { outcome: report.outcome, process }),
        None if report.processes.is_empty() => Err(Refusal::NoProcess(report.outcome)),
        None => Ok(()),
    }
}

fn check_stage(record: &StageRecord) -> Result<(), Refusal> {
    let StageRecord { stage, process: _, start_us, duration_us, note } = record;
    let longest = LONGEST_ATTEMPT.as_micros() as u64;
    let end = start_us.saturating_add(duration_us.unwrap_or(0));
    if end > longest {
        return Err(impossible(format!("the end of stage {stage} in µs"), end));
    }
    at_most("note of a stage in bytes", note.as_ref().map_or(0, String::len), MAX_TEXT)
}

fn check_process(record: &ProcessRecord) -> Result<(), Refusal> {
    let ProcessRecord {
        index,
        role: _,
        exit: _,
        sentinel: _,
        load_ms,
        load_reads: _,
        opened: _,
        compile_ms,
        first_infer_ms,
        warmup_iterations: _,
        window,
        thinned,
        program,
    } = record;
    let of = |what: &str| format!("{what} of process {index}");
    for (what, value) in [("load_ms", load_ms), ("compile_ms", compile_ms), ("first_infer_ms", first_infer_ms)] {
        if let Some(value) = value {
            duration_ms(&of(what), *value)?;
        }
    }
    if let Some(thinned) = thinned {
        check_thinned(thinned, &of)?;
    }
    if let Some(program) = program {
        check_program(program, &of)?;
    }
    window.as_ref().map_or(Ok(()), |window| check_window(window, &of))
}

/// What a program told is its own word; what nothing can measure is none.
fn check_program(program: &ProgramRun, of: &impl Fn(&str) -> String) -> Result<(), Refusal> {
    let ProgramRun { name, version, wall_ms, told } = program;
    duration_ms(&of("wall_ms"), *wall_ms)?;
    let (Reading::Present(version) | Reading::Absent(version)) = version;
    at_most("name of a program in bytes", name.len().max(version.len()), MAX_SHORT_TEXT)?;
    at_most(of("figures told"), told.len(), MAX_TOLD)?;
    for Told { name, unit, value } in told {
        at_most("name of a figure in bytes", name.len().max(unit.len()), MAX_SHORT_TEXT)?;
        if let Reading::Present(value) = value {
            not_negative(&of(&format!("figure {:?}", short(name))), *value)?;
        }
    }
    Ok(())
}

/// Sums that cannot be those of any samples.
fn check_thinned(thinned: &Thinned, of: &impl Fn(&str) -> String) -> Result<(), Refusal> {
    let &Thinned { every, inferences, total_ns, least_ns, most_ns } = thinned;
    let longest = LONGEST_ATTEMPT.as_nanos();
    if every < 2 {
        return Err(impossible(of("every how many inferences one is a sample"), every));
    }
    let sum = u128::from(total_ns);
    let (least, most) = [least_ns, most_ns].map(|each| u128::from(each) * u128::from(inferences)).into();
    if least > sum || sum > most || sum > longest {
        return Err(impossible(of("the sum of all latencies in ns"), total_ns));
    }
    Ok(())
}

fn check_window(window: &Window, of: &impl Fn(&str) -> String) -> Result<(), Refusal> {
    let Window {
        wall_ms,
        monotonic_ms,
        own_cpu_ms,
        foreign_cpu,
        stolen_cpu,
        involuntary_switches: _,
        voluntary_switches: _,
        run_queue_wait_ms,
        worst_wait_ms,
        busiest_thread_ms,
        foreign_allowed_ms,
        major_faults: _,
        unaccounted,
    } = window;
    duration_ms(&of("wall_ms"), *wall_ms)?;
    duration_ms(&of("monotonic_ms"), *monotonic_ms)?;
    not_negative(&of("own_cpu_ms"), *own_cpu_ms)?;
    for (what, value) in [
        ("foreign_cpu", foreign_cpu),
        ("stolen_cpu", stolen_cpu),
        ("run_queue_wait_ms", run_queue_wait_ms),
        ("worst_wait_ms", worst_wait_ms),
        ("busiest_thread_ms", busiest_thread_ms),
        ("foreign_allowed_ms", foreign_allowed_ms),
    ] {
        if let Some(value) = value {
            not_negative(&of(what), *value)?;
        }
    }
    if let Some(Unaccounted { missing_ms, borne_ms, waited_ms }) = unaccounted {
        duration_ms(&of("missing_ms"), *missing_ms)?;
        not_negative(&of("borne_ms"), *borne_ms)?;
        not_negative(&of("waited_ms"), waited_ms.unwrap_or(0.0))?;
    }
    Ok(())
}

fn check_trace(trace: &SensorTrace) -> Result<(), Refusal> {
    let SensorTrace { sensor, unit, points } = trace;
    at_most("name of a sensor in bytes", sensor.len().max(unit.len()), 256)?;
    let Reading::Present(points) = points else { return Ok(()) };
    at_most("readings of a sensor", points.len(), MAX_POINTS)?;
    match points.iter().find(|(_, value)| !value.is_finite()) {
        Some((_, value)) => Err(impossible(format!("a reading of {:?}", short(sensor)), value)),
        None => Ok(()),
    }
}

fn check_memory(memory: &Memory) -> Result<(), Refusal> {
    let &Memory { base_kib, peak_kib, retained_kib, pss_kib } = memory;
    const MOST: u64 = 1 << 40; // a pebibyte, in KiB
    at_most("memory in KiB", base_kib.max(peak_kib.unwrap_or(0)).max(retained_kib).max(pss_kib.unwrap_or(0)), MOST)
}

/// Bounds; whether the readings can be a measurement is judged with its numbers.
fn check_energy(record: &EnergyRecord) -> Result<(), Refusal> {
    at_most("sources of power", record.sources.len(), MAX_SOURCES)?;
    at_most("name of a build in bytes", record.calibration.build.len(), MAX_SHORT_TEXT)?;
    let longest_s = LONGEST_ATTEMPT.as_secs_f64();
    for recording in record.trace.iter().chain([&record.recording]) {
        at_most("phases of idle and load", recording.phases.len(), MAX_PHASES)?;
        let unreal = |phase: &&Phase| !(phase.start_s >= 0.0 && phase.end_s <= longest_s);
        if let Some(phase) = recording.phases.iter().find(unreal) {
            return Err(impossible("the end of a phase in s", phase.end_s));
        }
    }
    Ok(())
}

fn check_blocks(blocks: &[Block], processes: &[ProcessRecord]) -> Result<(), Refusal> {
    let mut seen = std::collections::BTreeSet::new();
    for &Block { metric: kind, process, count, bytes: _ } in blocks {
        if !processes.iter().any(|record| record.index == process) {
            return Err(Refusal::Unlisted { kind, process });
        }
        if !seen.insert((kind.as_str(), process)) {
            return Err(Refusal::Twice { kind, process });
        }
        let limit = match kind {
            BlockKind::LatencyNs | BlockKind::StartUs => MAX_SAMPLES,
            BlockKind::TopClasses => 5 * MAX_EXAMPLES,
            BlockKind::Labels => MAX_EXAMPLES,
            BlockKind::Outputs => MAX_OUTPUT_VALUES,
            BlockKind::Truth | BlockKind::Answers => evidence::MAX_VALUES,
        };
        at_most(format!("{} samples", kind.as_str()), u64::from(count), u64::from(limit))?;
    }
    let values: u64 = blocks.iter().map(|block| u64::from(block.count)).sum();
    at_most("values of all blocks", values, MAX_VALUES)?;
    for &Block { metric: kind, process, count, ref bytes } in blocks {
        let values =
            block::unpack(bytes, count).map_err(|error| Refusal::Block { kind, process, why: error.to_string() })?;
        check_values(kind, process, &values)?;
    }
    Ok(())
}

fn check_values(kind: BlockKind, process: u8, values: &[i64]) -> Result<(), Refusal> {
    let longest = LONGEST_ATTEMPT.as_nanos() as i64;
    let (least, most) = match kind {
        BlockKind::LatencyNs => (0, longest),
        BlockKind::StartUs => (0, longest / 1000),
        BlockKind::TopClasses => (-1, MAX_CLASS),
        BlockKind::Labels => (0, MAX_CLASS),
        // Bits of a float, and a model may give any. What a task allows is judged with its figures.
        BlockKind::Outputs | BlockKind::Truth | BlockKind::Answers => (i64::MIN, i64::MAX),
    };
    if let Some(value) = values.iter().find(|value| !(least..=most).contains(*value)) {
        return Err(impossible(format!("a {} sample of process {process}", kind.as_str()), value));
    }
    if kind == BlockKind::StartUs && values.windows(2).any(|pair| pair[1] < pair[0]) {
        return Err(impossible(format!("a start of process {process}"), "earlier than the one before"));
    }
    Ok(())
}

fn at_most<T: TryInto<u64>>(what: impl Into<String>, actual: T, limit: impl TryInto<u64>) -> Result<(), Refusal> {
    let (actual, limit) = (actual.try_into().unwrap_or(u64::MAX), limit.try_into().unwrap_or(u64::MAX));
    if actual <= limit { Ok(()) } else { Err(Refusal::TooMuch { what: what.into(), actual, limit }) }
}

fn duration_ms(what: &str, value: f64) -> Result<(), Refusal> {
    not_negative(what, value)?;
    if value > LONGEST_ATTEMPT.as_secs_f64() * 1e3 { Err(impossible(what, value)) } else { Ok(()) }
}

fn not_negative(what: &str, value: f64) -> Result<(), Refusal> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(impossible(what, value)) }
}

fn impossible(what: impl Into<String>, value: impl std::fmt::Display) -> Refusal {
    Refusal::Impossible { what: what.into(), value: value.to_string() }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use seatrial_core::dataset::Task;
    use seatrial_core::dataset::scorer::{Figure, Scorer, ScorerMetric};
    use seatrial_core::digest::Digest;
    use seatrial_core::metric::{Better, Estimate};
    use seatrial_sim::{Lie, report};

    use super::*;

    #[test]
    fn an_honest_report_passes() {
        assert_eq!(check(&report::ok(1000)), Ok(()));
        for outcome in Outcome::ALL {
            assert_eq!(check(&report::ended(outcome)), Ok(()), "{outcome}");
        }
    }

    #[test]
    fn every_lie_is_refused_and_named() {
        for lie in Lie::ALL {
            let text = check(&lie.told_in(report::ok(10))).unwrap_err().to_string();
            let expected = match lie {
                Lie::NegativeLatency => "a latency_ns sample of process 0 is -1, which no device can measure",
                Lie::NegativeLoadTime => "load_ms of process 0 is -1, which no device can measure",
                Lie::BillionSamples => "latency_ns samples: 1000000000 is over the limit of 400000",
                Lie::Future => "the end of stage fetch in µs is 18446744073709551615, which no device can measure",
                Lie::NoSentinel => "the report says ok and process 0 of it left no sentinel",
                Lie::ForeignProcess => "latency_ns samples are of process 9, which the report does not list",
                Lie::ManyValues => "values of all blocks: 6400020 is over the limit of 3065536",
                Lie::BackInTime => "a start of process 0 is earlier than the one before, which no device can measure",
                Lie::Garbage => "samples of process 0 (latency_ns) cannot be read",
            };
            assert!(text.starts_with(expected), "{lie:?}: {text}");
        }
    }

    #[test]
    fn values_cost_memory_whatever_bytes_they_take_and_a_claim_without_end_costs_no_more_than_is_read() {
        let report = report::ok(1000);
        assert_eq!(memory(report.blocks.iter().map(|block| block.count)), 2 * 1000 * 8);
        assert_eq!(memory([u32::MAX; 64]), MAX_VALUES as usize * 8);
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_and_the_outcome_stands() {
        let mut report = report::ended(Outcome::CrashSignal(11));
        report.message = Some("é".repeat(MAX_TEXT));
        report.stages[0].note = Some("n".repeat(MAX_TEXT + 1));
        report.log = format!("{}the end", "é".repeat(MAX_LOG));
        report.bounds_hit = vec!["before".to_owned(); MAX_BOUNDS_HIT];
        assert!(matches!(check(&report), Err(Refusal::TooMuch { .. })), "the control");
        let cut = cut_texts(&mut report);
        assert_eq!(check(&report), Ok(()));
        let message = report.message.as_ref().unwrap();
        assert!(message.len() <= MAX_TEXT && message.ends_with("é [cut by the server]"), "{}", message.len());
        assert!(report.stages[0].note.as_ref().unwrap().ends_with("n [cut by the server]"));
        assert!(report.log.len() <= MAX_LOG && report.log.starts_with("[cut by the server]\né"));
        assert!(report.log.ends_with("the end"));
        assert_eq!(cut, ["message cut at 8192 bytes", "notes of stages cut at 8192 bytes", "log cut at 524288 bytes"]);
        assert_eq!(cut_texts(&mut report), Vec::<String>::new(), "once");
    }

    #[test]
    fn sums_that_no_samples_have_are_refused() {
        let honest = Thinned { every: 4, inferences: 1000, total_ns: 50_000, least_ns: 40, most_ns: 60 };
        let judged = |thinned| {
            let mut report = report::ok(250);
            report.processes[0].thinned = Some(thinned);
            check(&report).map_err(|error| error.to_string())
        };
        assert_eq!(judged(honest), Ok(()));
        for lie in [
            Thinned { every: 0, ..honest },
            Thinned { total_ns: 30_000, ..honest },
            Thinned { total_ns: 70_000, ..honest },
            Thinned { total_ns: u64::MAX, most_ns: u64::MAX, ..honest },
        ] {
            assert!(judged(lie).unwrap_err().ends_with("which no device can measure"), "{lie:?}");
        }
    }

    /// A report of a program that told this latency, and nothing else.
    fn told(value: f64) -> Report {
        let mut report = report::ok(10);
        report.blocks.clear();
        report.processes[0].program = Some(ProgramRun {
            name: "benchncnn".to_owned(),
            version: Reading::absent("it does not say"),
            wall_ms: 5000.0,
            told: vec![Told { name: "latency_avg".to_owned(), unit: "ms".to_owned(), value: Reading::Present(value) }],
        });
        report
    }

    #[test]
    fn what_no_program_can_have_measured_is_refused() {
        assert_eq!(check(&told(12.5)), Ok(()), "the control");
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            let text = check(&told(value)).unwrap_err().to_string();
            assert!(text.starts_with("figure \"latency_avg\" of process 0 is"), "{text}");
        }
        let mut many = told(1.0);
        let program = many.processes[0].program.as_mut().unwrap();
        program.told = vec![program.told[0].clone(); MAX_TOLD + 1];
        assert_eq!(check(&many).unwrap_err().to_string(), "figures told of process 0: 65 is over the limit of 64");
    }

    fn of_scorer(scorer: Option<Scorer>) -> DatasetRef {
        DatasetRef {
            dataset: "digits".to_owned(),
            version: 1,
            digest: Digest::of(b"digits"),
            size: 1,
            task: Task::Custom,
            examples: 4,
            scorer,
        }
    }

    #[test]
    fn figures_that_no_scorer_of_the_job_can_have_told_are_refused() {
        let metric =
            ScorerMetric { name: "ece".to_owned(), unit: "1".to_owned(), better: Better::Lower, meaning: None };
        let scorer = Scorer {
            interpreter: "python3".to_owned(),
            program: "score.py".to_owned(),
            files: Vec::new(),
            metrics: vec![metric],
        };
        let told = |value: f64| {
            let value = Reading::Present(Estimate { value, interval: None });
            let figure = Figure { name: "ece".to_owned(), value, examples: Some(4) };
            Report { figures: vec![figure], ..report::ok(10) }
        };
        let judged = |scorer: &Option<Scorer>, report: &Report| {
            check_figures(Some(&of_scorer(scorer.clone())), report).map_err(|refusal| refusal.to_string())
        };
        let has = Some(scorer);
        assert_eq!(judged(&has, &told(0.1)), Ok(()), "the control");
        assert_eq!(judged(&has, &report::ok(10)), Ok(()), "without figures nothing is claimed");
        let nan = judged(&has, &told(f64::NAN)).unwrap_err();
        assert!(nan.starts_with("the figures of the dataset's scorer: ece: NaN"), "{nan}");
        let mut twice = told(0.1);
        twice.figures.push(twice.figures[0].clone());
        assert!(judged(&has, &twice).unwrap_err().ends_with("it tells \"ece\", twice"));
        let mut more = told(0.1);
        more.figures[0].examples = Some(5);
        assert!(judged(&has, &more).unwrap_err().ends_with("it rests on 5 examples, and the dataset has 4"));
        assert!(check_figures(None, &told(0.1)).is_err(), "nor a dataset");
        assert!(judged(&None, &told(0.1)).unwrap_err().ends_with("the job has no scorer"));
    }

    #[test]
    fn readings_of_power_beyond_any_bound_are_refused() {
        use seatrial_core::energy::{Calibration, Pack, PhaseKind, Recording};
        use seatrial_core::reason::Code;
        let why = Reason::new(Code::EndFed, &[]);
        let phase = Phase { kind: PhaseKind::Idle, start_s: 1.0, end_s: 31.0, inferences: 0 };
        let with = |phases: Vec<Phase>| {
            let energy = EnergyRecord {
                sources: Vec::new(),
                pack: Pack::none("not told"),
                calibration: Calibration::none("build", &why),
                trace: None,
                recording: Recording { phases, ..Recording::default() },
                end: why.clone(),
                input_suspended: false,
            };
            check(&Report { energy: Some(energy), ..report::ok(10) }).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(with(vec![phase]), Ok(()), "the control");
        let many = with(vec![phase; MAX_PHASES + 1]).unwrap_err();
        assert_eq!(many, "phases of idle and load: 101 is over the limit of 100");
        for lie in [Phase { start_s: -1.0, ..phase }, Phase { end_s: 1e9, ..phase }, Phase { end_s: f64::NAN, ..phase }]
        {
            assert!(with(vec![lie]).unwrap_err().starts_with("the end of a phase in s is"), "{lie:?}");
        }
    }

    #[test]
    fn a_success_needs_the_sentinel_of_every_process() {
        let mut report = report::ok(10);
        let second = ProcessRecord { index: 1, sentinel: false, ..report.processes[0].clone() };
        report.processes.push(second);
        assert_eq!(check(&report), Err(Refusal::NoSentinel { outcome: Outcome::Ok, process: 1 }));
        report.processes.clear();
        report.blocks.clear();
        assert_eq!(check(&report), Err(Refusal::NoProcess(Outcome::Ok)));
    }

    #[test]
    fn a_block_that_comes_twice_is_refused() {
        let mut report = report::ok(10);
        report.blocks.push(report.blocks[0].clone());
        assert_eq!(check(&report), Err(Refusal::Twice { kind: BlockKind::LatencyNs, process: 0 }));
    }

    #[test]
    fn a_report_of_a_newer_agent_asks_for_a_newer_server() {
        let report = Report { schema: REPORT_SCHEMA + 1, ..report::ok(10) };
        assert!(check(&report).unwrap_err().to_string().ends_with("update the server"));
    }
}
