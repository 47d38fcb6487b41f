//! The checks, in the order in which they are made.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use seatrial_core::measure::plausible::{Belief, Claimed};
use seatrial_core::profile::StopRule;
use seatrial_core::tensor::Tensor;
use seatrial_proto::v1::from_runner::Message as Answer;
use seatrial_proto::v1::to_runner::Message as Request;
use seatrial_proto::v1::{self, ErrorClass, RunnerStage};

use super::super::process::LEAVING;
use super::{BUSY, Bench, Exchange, Failed, Ran, broken, said, tensors};
use crate::data::NamedTensor;

pub(super) type Check = fn(&mut Bench<'_>) -> Result<(), Failed>;

/// Name, what a runner has to do, and how to find out.
pub(super) const ALL: &[(&str, &str, Check)] = &[
    (
        "it greets",
        "say RunnerHello first, with the versions of the protocol, the engine's name and version, its formats and accelerators",
        greets,
    ),
    (
        "an unknown request is an error",
        "answer what is not known with an Error that carries its id, and go on",
        unknown_request,
    ),
    (
        "a missing file is an error of loading",
        "answer Load with an Error of stage load, compile or allocate and a class, and go on",
        missing_file,
    ),
    (
        "a model loads, unknown fields are passed over",
        "ignore fields that are not known, and answer Load with Loaded",
        loads,
    ),
    (
        "inputs and outputs are declared",
        "name each input and output once, with type and shape, and say what computes",
        declares,
    ),
    ("as many samples as are asked for", "take exactly `repeat` samples when no duration is given", counts),
    (
        "samples are believable",
        "time each inference alone, by a clock fine enough, and report what it showed",
        believable,
    ),
    ("a least duration is kept", "go on until `min_duration_ns` has passed", least_duration),
    ("a bound of samples is kept", "stop at `max_repeat`", most_samples),
    (
        "inferences are paced",
        "wait until each multiple of `interval_ns`, and tell in `start_ns` when each inference began",
        paced,
    ),
    (
        "outputs are what was declared",
        "give every declared output, in order, with its declared type and shape",
        outputs,
    ),
    ("inputs are kept", "use the inputs of the last Run when a Run brings none", keeps_inputs),
    (
        "what is not captured is a digest",
        "with CAPTURE_NONE send no tensor but the SHA-256 of the outputs' bytes",
        digest,
    ),
    ("a tensor in a file is read", "read inputs from the cache folder when they come as a file", by_file),
    (
        "a wrong input is an error",
        "answer a Run with inputs that the model does not have with an Error, and go on",
        wrong_input,
    ),
    ("a long request shows life", "say Progress at least every 5 s, from a thread of its own", alive),
    ("it unloads and loads again", "answer Unload with Done, and a second Load as the first", unloads),
    ("it shuts down", "answer Shutdown with Done and exit with code 0 within 2 s", shuts_down),
    (
        "standard output holds frames only",
        "lead what the program and its framework print to standard error",
        frames_only,
    ),
    ("it ends with its input", "exit within 2 s of the end of standard input", ends_with_input),
];

fn rule(least: u32, most: u32) -> StopRule {
    StopRule { min_samples: least, min_time: Duration::ZERO, max_samples: most, max_time: Duration::MAX }
}

fn last() -> v1::Run {
    v1::Run { capture: v1::Capture::Last.into(), ..Default::default() }
}

fn greets(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let accelerator = bench.options.accelerator.clone();
    let v1::RunnerHello { runtime, version, formats, accelerators, .. } = bench.client()?.hello();
    let missing = [
        (runtime.is_empty(), "the engine's name"),
        (version.is_empty(), "the engine's version"),
        (formats.is_empty(), "a format"),
        (!accelerators.iter().any(|one| one.kind == accelerator), "the accelerator that is asked for"),
    ];
    let missing: Vec<&str> = missing.into_iter().filter_map(|(missing, what)| missing.then_some(what)).collect();
    if missing.is_empty() { Ok(()) } else { broken(format!("the greeting lacks {}", missing.join(" and "))) }
}

pub(super) fn unknown_request(bench: &mut Bench<'_>) -> Result<(), Failed> {
    // Field 99 of a later version, an empty message.
    let Exchange { last, .. } = bench.exchange_with(None, &[0x9a, 0x06, 0])?;
    if matches!(last, Answer::Error(_)) { Ok(()) } else { broken(format!("it is answered with {}", said(&last))) }
}

fn missing_file(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let mut files = bench.options.files.clone();
    if files.is_empty() {
        files.push(("model".to_owned(), PathBuf::new()));
    }
    for (_, path) in &mut files {
        *path = "/nowhere/missing".into();
    }
    let load = bench.load_request(&files)?;
    let Exchange { last, .. } = bench.exchange(Request::Load(load))?;
    let Answer::Error(error) = &last else { return broken(format!("it is answered with {}", said(&last))) };
    let staged = matches!(error.stage(), RunnerStage::Load | RunnerStage::Compile | RunnerStage::Allocate);
    if staged && error.class() != ErrorClass::Unspecified && !error.message.is_empty() {
        Ok(())
    } else {
        broken(format!("the error lacks its stage, class or message: {}", said(&last)))
    }
}

fn loads(bench: &mut Bench<'_>) -> Result<(), Failed> {
    bench.model().map(|_| ())
}

fn declares(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let v1::Loaded { inputs, outputs, accelerator, fallback, .. } = bench.model()?.loaded;
    for (what, tensors) in [("input", &inputs), ("output", &outputs)] {
        let names: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        if names.len() < tensors.len() || names.contains("") {
            return broken(format!("an {what} has no name of its own"));
        }
    }
    if outputs.is_empty() {
        return broken("no output is declared");
    }
    if accelerator.is_empty() || (accelerator != bench.options.accelerator && fallback.is_empty()) {
        let asked = &bench.options.accelerator;
        return broken(format!("{asked} is asked for, and it says that {accelerator:?} computes, without a reason"));
    }
    Ok(())
}

fn counts(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    for count in [1, 20] {
        let Ran { claimed, .. } = bench.run(&rule(count, 0), v1::Run { inputs: inputs.clone(), ..last() })?;
        if claimed.samples != u64::from(count) {
            return broken(format!("{count} are asked for and {} come", claimed.samples));
        }
    }
    Ok(())
}

fn believable(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    let mut ask = |count| Ok(bench.run(&rule(count, 0), v1::Run { inputs: inputs.clone(), ..last() })?.claimed);
    let first: Claimed = ask(FEW)?;
    let count = enough(first.wall);
    let mut first = Some(first).filter(|_| count == FEW);
    believed(&rule(count, count), || match first.take() {
        Some(first) => Ok(first),
        None => ask(count),
    })
}

/// Samples of which times are judged, at least.
const FEW: u32 = 50;

/// As many samples as take about a second, when the first few took so long: of a shorter request the way there and back
/// hides too much.
fn enough(few: Duration) -> u32 {
    let times = 1.0 / few.as_secs_f64().max(1e-4);
    (f64::from(FEW) * times).clamp(f64::from(FEW), 100_000.0) as u32
}

/// Whether one of a few requests can be true: a busy machine takes the CPU away between two samples now and then, and a
/// liar lies every time. Where one may only have waited for a CPU, the machine is no place to judge it.
fn believed(rule: &StopRule, mut ask: impl FnMut() -> Result<Claimed, Failed>) -> Result<(), Failed> {
    const TRIES: u32 = 4;
    let (mut untold, mut refuted) = (None, None);
    for _ in 0..TRIES {
        match ask()?.judge(rule, false) {
            Belief::Believed => return Ok(()),
            Belief::Untold(unaccounted) => untold = Some(unaccounted),
            Belief::Refuted(why) => refuted = Some(why),
        }
    }
    match (untold, refuted) {
        (Some(unaccounted), _) => Err(Failed::Open(format!("{BUSY} ({unaccounted})"))),
        (None, Some(why)) => broken(why),
        (None, None) => Ok(()),
    }
}

fn least_duration(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    let asked = StopRule { min_time: Duration::from_millis(300), ..rule(1, 0) };
    let kept = StopRule { max_samples: u32::MAX, ..asked };
    believed(&kept, || Ok(bench.run(&asked, v1::Run { inputs: inputs.clone(), ..last() })?.claimed))
}

fn most_samples(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    let Ran { claimed, .. } =
        bench.run(&rule(u32::MAX, 5), v1::Run { inputs, max_duration_ns: 2_000_000_000, ..last() })?;
    if claimed.samples == 5 { Ok(()) } else { broken(format!("5 are the most and {} come", claimed.samples)) }
}

fn paced(bench: &mut Bench<'_>) -> Result<(), Failed> {
    const INTERVAL: u64 = 50_000_000;
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    let Ran { claimed, starts, .. } = bench.run(&rule(4, 0), v1::Run { inputs, interval_ns: INTERVAL, ..last() })?;
    // The first began when it was due, or a little after, from which on the others are counted.
    let early = (0..).zip(&starts).any(|(index, &start)| start + INTERVAL / 2 < INTERVAL * index);
    if early || claimed.wall < Duration::from_nanos(3 * INTERVAL) {
        return broken(format!(
            "inferences {} ms apart are asked for, and they began at {starts:?} ns",
            INTERVAL / 1_000_000
        ));
    }
    match claimed.judge(&rule(4, 4), true) {
        Belief::Refuted(why) => broken(why),
        Belief::Believed | Belief::Untold(_) => Ok(()),
    }
}

/// What a run with these inputs answers, held against the declaration.
fn outputs_of(bench: &mut Bench<'_>, inputs: Vec<v1::TensorValue>) -> Result<Vec<NamedTensor>, Failed> {
    let model = bench.model()?;
    let Ran { outputs, .. } = bench.run(&rule(1, 0), v1::Run { inputs, ..last() })?;
    let given: Result<Vec<NamedTensor>, String> =
        outputs.tensors.iter().map(|value| tensors::from_wire(value, &bench.folder)).collect();
    let given = given.map_err(Failed::Broken)?;
    tensors::contradiction(&model.outputs, &given).map_or(Ok(given), broken)
}

fn outputs(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    outputs_of(bench, inputs).map(|_| ())
}

fn keeps_inputs(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    let before = outputs_of(bench, inputs)?;
    let after = outputs_of(bench, Vec::new())?;
    if before == after { Ok(()) } else { broken("the outputs are others than with the inputs") }
}

fn digest(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let run = v1::Run { inputs: bench.inputs(&model)?, capture: v1::Capture::None.into(), ..Default::default() };
    let Ran { outputs: v1::Outputs { tensors, digest }, .. } = bench.run(&rule(1, 0), run)?;
    match (tensors.len(), digest.len()) {
        (0, 32) => Ok(()),
        (count, bytes) => broken(format!("{count} tensors and a digest of {bytes} bytes come")),
    }
}

fn by_file(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inline = bench.inputs(&model)?;
    let expected = outputs_of(bench, inline)?;
    let named = model.inputs.iter().enumerate();
    let files: std::io::Result<Vec<v1::TensorValue>> =
        named.map(|(index, (name, tensor))| tensors::value(index, name, tensor, false, &bench.folder)).collect();
    let files = files.map_err(|error| Failed::Open(format!("writing inputs: {error}")))?;
    let given = outputs_of(bench, files)?;
    if given == expected { Ok(()) } else { broken("the outputs are others than with the same tensors in the frame") }
}

fn wrong_input(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    if model.inputs.is_empty() {
        return Err(Failed::Open("the model has no input".to_owned()));
    }
    let tensor = Tensor::from_f32(vec![1], &[0.0]).map_err(|error| Failed::Open(error.to_string()))?;
    let value = tensors::value(0, "no such input", &tensor, true, &bench.folder)
        .map_err(|error| Failed::Open(error.to_string()))?;
    let run = v1::Run { inputs: vec![value], repeat: 1, ..last() };
    let Exchange { last, .. } = bench.exchange(Request::Run(run))?;
    if matches!(last, Answer::Error(_)) { Ok(()) } else { broken(format!("it is answered with {}", said(&last))) }
}

fn alive(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let model = bench.model()?;
    let inputs = bench.inputs(&model)?;
    let long = StopRule { min_time: Duration::from_millis(5_500), ..rule(1, 0) };
    let Ran { progress, .. } = bench.run(&long, v1::Run { inputs, ..last() })?;
    if progress > 0 { Ok(()) } else { broken("a request of 5.5 s went by without a Progress") }
}

fn unloads(bench: &mut Bench<'_>) -> Result<(), Failed> {
    bench.model()?;
    let Exchange { last, .. } = bench.exchange(Request::Unload(v1::Unload {}))?;
    if !matches!(last, Answer::Done(_)) {
        return broken(format!("unloading is answered with {}", said(&last)));
    }
    bench.model = None;
    bench.model().map(|_| ())
}

pub(super) fn shuts_down(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let Exchange { last, .. } = bench.exchange(Request::Shutdown(v1::Shutdown {}))?;
    if !matches!(last, Answer::Done(_)) {
        return broken(format!("it is answered with {}", said(&last)));
    }
    let status = bench.client()?.process.exit(LEAVING);
    bench.client = None;
    bench.model = None;
    match status {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => broken(format!("it ends with {status}")),
        Ok(None) => broken("it goes on"),
        Err(error) => broken(error.to_string()),
    }
}

/// Judged on everything that came before, and at least on a start and a load.
pub(super) fn frames_only(bench: &mut Bench<'_>) -> Result<(), Failed> {
    // What else is wrong with them other checks tell.
    let _ = bench.client().map(|_| ());
    let _ = bench.model();
    bench.spoiled.clone().map_or(Ok(()), broken)
}

pub(super) fn ends_with_input(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let status = bench.client()?.process.leave(LEAVING);
    bench.client = None;
    bench.model = None;
    match status {
        Ok(Some(_)) => Ok(()),
        Ok(None) => broken("it goes on"),
        Err(error) => broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: StopRule =
        StopRule { min_samples: 50, min_time: Duration::ZERO, max_samples: 50, max_time: Duration::MAX };

    /// 50 samples of about 20 ms, of which a runner leaves out so much, while it waited for so long.
    fn request(left_out: f64, waited_ms: u64) -> Claimed {
        let mut claimed = Claimed::default();
        for index in 0..50 {
            claimed.push(index * Duration::from_millis(20), Duration::from_micros(19_900 + u64::from(index)));
        }
        claimed.wall = claimed.span;
        claimed.sum = claimed.sum.mul_f64(1.0 - left_out);
        claimed.waited = Some(Duration::from_millis(waited_ms));
        claimed
    }

    /// What is found of requests that come one after the other, the last of them for ever.
    fn found(requests: &[Claimed]) -> Result<(), Failed> {
        let mut asked = requests.iter().chain(std::iter::repeat(&requests[requests.len() - 1]));
        believed(&ASKED, || Ok(*asked.next().unwrap()))
    }

    #[test]
    fn a_liar_is_told_from_a_busy_machine_and_an_honest_runner_is_never_called_one_there() {
        let (honest, liar, busy) = (request(0.0, 0), request(0.07, 0), request(0.07, 900));
        assert!(found(&[honest]).is_ok());
        assert!(matches!(found(&[liar]), Err(Failed::Broken(_))), "it lies every time");
        assert!(found(&[liar, busy, honest]).is_ok(), "once was enough");
        for requests in [&[busy][..], &[liar, liar, liar, busy]] {
            let Err(Failed::Open(why)) = found(requests) else { panic!("nobody can tell") };
            assert!(why.starts_with(BUSY) && why.contains("waited 900.0 ms for a CPU"), "{why}");
        }
    }

    #[test]
    fn fast_models_are_asked_for_so_many_samples_that_a_request_takes_a_while() {
        assert_eq!(enough(Duration::from_secs(3)), FEW);
        assert_eq!(enough(Duration::from_millis(15)), 3333);
        assert_eq!(enough(Duration::ZERO), 100_000);
    }

    #[test]
    fn the_page_shows_as_many_checks_as_there_are() {
        let page = include_str!("../../../../../docs/runner.md");
        assert!(page.contains(&format!("\n{} ok, 1 failed, 0 not checked\n", ALL.len() - 1)), "{}", ALL.len());
    }
}
