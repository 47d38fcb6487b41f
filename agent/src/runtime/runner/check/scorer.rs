//! The checks of a scorer, which judges outputs and loads no model.

use seatrial_core::dataset::npy;
use seatrial_core::dataset::scorer::{DEFAULT_INTERPRETER, Figure, Scorer as Declared, ScorerMetric};
use seatrial_core::metric::Better;
use seatrial_core::tensor::Tensor;
use seatrial_proto::v1::from_runner::Message as Answer;
use seatrial_proto::v1::to_runner::Message as Request;
use seatrial_proto::v1::{self, ErrorClass};

use super::super::scorer::Scorer;
use super::checks::{Check, ends_with_input, frames_only, shuts_down, unknown_request};
use super::{Bench, Exchange, Failed, broken, said, tensors};
use crate::data::NamedTensor;

/// Name, what a scorer has to do, and how to find out.
pub(super) const ALL: &[(&str, &str, Check)] = &[
    (
        "it greets",
        "say RunnerHello first, with the versions of the protocol, FEATURE_JUDGING, and a name and version",
        greets,
    ),
    (
        "an unknown request is an error",
        "answer what is not known with an Error that carries its id, and go on",
        unknown_request,
    ),
    (
        "missing labels are an error",
        "answer an Open whose labels are not there with an Error that has a class and a message, and go on",
        missing_labels,
    ),
    (
        "judging opens, unknown fields are passed over",
        "ignore fields that are not known, and answer Open with Done",
        opens,
    ),
    ("examples are judged", "answer each Judge with Judged, and tell `right` of every example or of none", judges),
    (
        "figures are those that are asked for",
        "answer Conclude with one figure for each metric of Open: a finite number within its bounds, or a reason",
        concludes,
    ),
    ("judging begins anew", "forget with Open whatever was judged before", begins_anew),
    ("a tensor in a file is read", "read outputs from the cache folder when they come as a file", by_file),
    ("it shuts down", "answer Shutdown with Done and exit with code 0 within 2 s", shuts_down),
    ("standard output holds frames only", "lead what the program prints to standard error", frames_only),
    ("it ends with its input", "exit within 2 s of the end of standard input", ends_with_input),
];

/// The outputs of each example, from arrays whose first axis counts them.
fn examples(bench: &Bench<'_>) -> Result<Vec<Vec<NamedTensor>>, Failed> {
    let outputs = &bench.options.outputs;
    if outputs.is_empty() {
        return Err(Failed::Open("give outputs: --output NAME=FILE.npy".to_owned()));
    }
    let mut examples: Vec<Vec<NamedTensor>> = Vec::new();
    for (name, path) in outputs {
        let wrong = |why: String| Failed::Open(format!("{}: {why}", path.display()));
        let bytes = fs_err::read(path).map_err(|error| wrong(error.to_string()))?;
        let all = npy::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        let Some((&count, rest)) = all.shape().split_first().filter(|(count, _)| **count > 0) else {
            return Err(wrong("it has no axis of examples".to_owned()));
        };
        examples.resize_with(count.max(examples.len()), Vec::new);
        let shape = [&[1], rest].concat();
        for (example, bytes) in examples.iter_mut().zip(all.bytes().chunks_exact((all.bytes().len() / count).max(1))) {
            let one =
                Tensor::new(all.dtype(), shape.clone(), bytes.to_vec()).map_err(|error| wrong(error.to_string()))?;
            example.push((name.clone(), one));
        }
    }
    if examples.iter().any(|example| example.len() != outputs.len()) {
        return Err(Failed::Open("the outputs are not all of as many examples".to_owned()));
    }
    Ok(examples)
}

fn open(bench: &Bench<'_>) -> v1::Open {
    let labels = bench.options.labels.as_ref();
    v1::Open {
        labels: labels.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        examples: examples(bench).map_or(1, |examples| examples.len() as u32),
        cache_folder: bench.folder.to_string_lossy().into_owned(),
        metrics: bench.options.metrics.clone(),
    }
}

fn greets(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let v1::RunnerHello { runtime, version, .. } = bench.client()?.hello();
    if runtime.is_empty() || version.is_empty() { broken("the greeting lacks its name or version") } else { Ok(()) }
}

fn missing_labels(bench: &mut Bench<'_>) -> Result<(), Failed> {
    if bench.options.labels.is_none() {
        return Err(Failed::Open("give the labels: --labels FILE".to_owned()));
    }
    let open = v1::Open { labels: "/nowhere/missing".to_owned(), ..open(bench) };
    let Exchange { last, .. } = bench.exchange(Request::Open(open))?;
    let Answer::Error(error) = &last else { return broken(format!("it is answered with {}", said(&last))) };
    if error.class() == ErrorClass::Unspecified || error.message.is_empty() {
        return broken(format!("the error lacks its class or message: {}", said(&last)));
    }
    Ok(())
}

fn opens(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let open = open(bench);
    // Field 900 of a later version, a string.
    let Exchange { last, .. } = bench.exchange_with(Some(Request::Open(open)), &[0xa2, 0x38, 1, b'x'])?;
    if matches!(last, Answer::Done(_)) { Ok(()) } else { broken(format!("it is answered with {}", said(&last))) }
}

/// Everything that a pass asks, as the agent asks it, in a process of its own or in the one that is there.
fn pass(bench: &mut Bench<'_>) -> Result<Vec<Figure>, Failed> {
    let examples = examples(bench)?;
    let open = open(bench);
    bench.client()?;
    let Some(client) = bench.client.take() else { return broken("the scorer could not be started") };
    let mut scorer = Scorer::open(client, &bench.folder, open).map_err(|error| bench.note(error))?;
    for (index, outputs) in (0..).zip(&examples) {
        scorer.judge(index, outputs).map_err(|error| bench.note(error))?;
    }
    let figures = scorer.conclude().map_err(|error| bench.note(error))?;
    bench.client = Some(scorer.into_client());
    Ok(figures)
}

fn judges(bench: &mut Bench<'_>) -> Result<(), Failed> {
    pass(bench).map(drop)
}

fn concludes(bench: &mut Bench<'_>) -> Result<(), Failed> {
    if bench.options.metrics.is_empty() {
        return Err(Failed::Open("name what the dataset asks for: --metric NAME".to_owned()));
    }
    let figures = pass(bench)?;
    let metric = |name: &String| ScorerMetric {
        name: name.clone(),
        unit: "1".to_owned(),
        better: Better::Neither,
        meaning: None,
    };
    let declared = Declared {
        interpreter: DEFAULT_INTERPRETER.to_owned(),
        program: String::new(),
        files: Vec::new(),
        metrics: bench.options.metrics.iter().map(metric).collect(),
    };
    declared.refuted(&figures, examples(bench)?.len() as u32).map_or(Ok(()), broken)
}

fn begins_anew(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let first = pass(bench)?;
    let again = pass(bench)?;
    if first == again { Ok(()) } else { broken("the figures of the same outputs are others after a second Open") }
}

fn by_file(bench: &mut Bench<'_>) -> Result<(), Failed> {
    let expected = pass(bench)?;
    let (examples, open) = (examples(bench)?, open(bench));
    let done = |last: Answer| {
        if matches!(last, Answer::Error(_)) {
            return broken(format!("an output in a file is answered with {}", said(&last)));
        }
        Ok(last)
    };
    done(bench.exchange(Request::Open(open))?.last)?;
    for (index, outputs) in (0..).zip(&examples) {
        let files = outputs.iter().enumerate();
        let files: std::io::Result<Vec<v1::TensorValue>> =
            files.map(|(place, (name, tensor))| tensors::value(place, name, tensor, false, &bench.folder)).collect();
        let outputs = files.map_err(|error| Failed::Open(format!("writing outputs: {error}")))?;
        done(bench.exchange(Request::Judge(v1::Judge { index, outputs }))?.last)?;
    }
    let Answer::Figures(told) = done(bench.exchange(Request::Conclude(v1::Conclude {}))?.last)? else {
        return broken("Conclude is not answered with Figures");
    };
    let value = |name: &str| told.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    let same = expected
        .iter()
        .all(|figure| value(&figure.name) == Some(figure.value.present().map(|estimate| estimate.value)));
    if same { Ok(()) } else { broken("the figures are others than with the same tensors in the frame") }
}
