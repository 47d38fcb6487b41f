//! `seatrial-agent runner check`: what it says of a runner that keeps the protocol, and of runners that break each rule.

use std::path::{Path, PathBuf};
use std::process::Command;

use seatrial_agent::runtime::runner::check::{self, Finding, Options, Verdict};
use seatrial_core::dataset::npy;
use seatrial_core::tensor::Tensor;
use tempfile::TempDir;

use crate::runner::{placed, python};

/// Doubles two of its four inputs, as the SDK lets one write it.
const GOOD: &str = r#"
import os, struct, time
import seatrial_runner as sdk
from seatrial_runner import Loaded, Runner, Value, fields, number, tensor

class Doubler(Runner):
    runtime, version, formats = "doubler", "1", ["onnx"]

    def load(self, request):
        return Loaded(inputs=[tensor("input", "f32", [1, 4])], outputs=[tensor("output", "f32", [1, 2])])

    def set_inputs(self, inputs):
        self.values = struct.unpack("<4f", inputs["input"].content)

    def infer(self):
        end = time.perf_counter_ns() + 300_000
        self.result = [2 * value for value in self.values[:2]]
        while time.perf_counter_ns() < end:
            pass

    def outputs(self):
        return [Value("output", "f32", [1, 2], struct.pack("<2f", *self.result))]

class Session(sdk.Session):
    pass
"#;

const MAIN: &str = r#"
incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
Session(Doubler(), incoming, outgoing).run()
"#;

/// A check, and what breaks the rule that it is about.
const BROKEN: &[(&str, &str)] = &[
    ("it greets", "Doubler.version = ''"),
    (
        "an unknown request is an error",
        "good = Session.answer\nSession.answer = lambda self, n, kind, body: good(self, n, kind, body) if kind else os._exit(1)",
    ),
    ("a missing file is an error of loading", "os.path.isfile = lambda path: True"),
    (
        "a model loads, unknown fields are passed over",
        "class Strict(dict):\n    def __contains__(self, tag):\n        return super().__contains__(tag) or os._exit(1)\nsdk.REQUESTS = Strict(sdk.REQUESTS)",
    ),
    (
        "inputs and outputs are declared",
        "good = Doubler.load\ndef load(self, request):\n    loaded = good(self, request)\n    loaded.outputs = 2 * loaded.outputs\n    return loaded\nDoubler.load = load",
    ),
    (
        "as many samples as are asked for",
        "good = Session.loop\nSession.loop = lambda self, n, repeat, *rest: good(self, n, repeat + 1, *rest)",
    ),
    (
        "samples are believable",
        "good = Session.tell\nSession.tell = lambda self, n, samples, *rest: good(self, n, [one * 4 // 5 for one in samples], *rest)",
    ),
    (
        "a least duration is kept",
        "good = Session.loop\nSession.loop = lambda self, n, repeat, least, *rest: good(self, n, repeat, 0, *rest)",
    ),
    (
        "a bound of samples is kept",
        "good = Session.loop\nSession.loop = lambda self, n, repeat, least, most, *rest: good(self, n, repeat, least, 0, *rest)",
    ),
    ("inferences are paced", "good = Session.loop\nSession.loop = lambda self, *rest: good(self, *rest[:-1], 0)"),
    (
        "outputs are what was declared",
        "Doubler.outputs = lambda self: [Value('output', 'f32', [2], struct.pack('<2f', *self.result))]",
    ),
    (
        "inputs are kept",
        "good = Session.measure\ndef measure(self, n, body):\n    if 1 not in dict(fields(body)):\n        self.runner.values = (0, 0, 0, 0)\n    return good(self, n, body)\nSession.measure = measure",
    ),
    (
        "what is not captured is a digest",
        "good = Session.measure\nSession.measure = lambda self, n, body: good(self, n, body + number(5, 2))",
    ),
    (
        "a tensor in a file is read",
        "good = Session.value\ndef value(self, body):\n    one = good(self, body)\n    if 5 in dict(fields(body)):\n        one.content = bytes(len(one.content))\n    return one\nSession.value = value",
    ),
    (
        "a wrong input is an error",
        "def set_inputs(self, inputs):\n    if len(inputs[0].content) == 16:\n        self.runner.set_inputs({'input': inputs[0]})\n    else:\n        self.runner.values = (0, 0, 0, 0)\nSession.set_inputs = set_inputs",
    ),
    ("a long request shows life", "Session.live = lambda self: None"),
    ("it unloads and loads again", "Doubler.unload = lambda self: 1 / 0"),
    (
        "it shuts down",
        "good = Session.answer\nSession.answer = lambda self, n, kind, body: self.say(n, 'done', b'') if kind == 'shutdown' else good(self, n, kind, body)",
    ),
    (
        "standard output holds frames only",
        "good = Doubler.load\ndef load(self, request):\n    session.outgoing.write(b'Loading model...\\n')\n    return good(self, request)\nDoubler.load = load",
    ),
    ("it ends with its input", "good = Session.hear\nSession.hear = lambda self: good(self) or time.sleep(60)"),
];

fn runner(broken: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doubler.py");
    let main = MAIN.replace(
        "Session(Doubler(), incoming, outgoing).run()",
        "session = Session(Doubler(), incoming, outgoing)\nsession.run()",
    );
    std::fs::write(&path, [GOOD, "\n", broken, "\n", &main].concat()).unwrap();
    let (home, program) = placed(&path);
    (home, program)
}

fn options(program: &Path, only: Option<&str>) -> Options {
    Options {
        program: program.to_owned(),
        interpreter: Some(python()),
        files: vec![("model".into(), program.to_owned())],
        format: None,
        accelerator: "cpu".into(),
        threads: 1,
        labels: None,
        outputs: Vec::new(),
        metrics: Vec::new(),
        only: only.map(str::to_owned),
    }
}

/// Times alone are not judged on a busy machine, and it says so.
fn is_busy(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Open(why) if why.starts_with(check::BUSY))
}

#[test]
fn a_runner_of_the_sdk_keeps_every_rule() {
    let (_home, program) = runner("");
    let findings = check::run(&options(&program, None)).unwrap();
    let fallen = findings.iter().filter(|finding| finding.verdict != Verdict::Kept && !is_busy(&finding.verdict));
    let fallen: Vec<&Finding> = fallen.collect();
    assert!(fallen.is_empty(), "{fallen:#?}");
    assert_eq!(findings.len(), BROKEN.len(), "every check has a runner that breaks its rule");
}

#[test]
fn a_runner_that_breaks_a_rule_is_told_which_and_what_to_do() {
    for &(name, broken) in BROKEN {
        let (_home, program) = runner(broken);
        let findings = check::run(&options(&program, Some(name))).unwrap();
        let [finding] = findings.as_slice() else { panic!("{name} is one check: {findings:?}") };
        if is_busy(&finding.verdict) {
            continue;
        }
        assert!(matches!(finding.verdict, Verdict::Broken(_)), "{name}: {:?}", finding.verdict);
        let text = check::table(&findings);
        assert!(text.contains("failed  ") && text.contains(&format!("do: {}", finding.rule)), "{text}");
    }
}

#[test]
fn the_command_prints_a_table_and_its_exit_code_is_the_verdict() {
    let run = |broken: &str, model: bool| {
        let (_home, program) = runner(broken);
        let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial-agent"));
        command.args(["runner", "check"]).arg(&program).arg("--interpreter").arg(python()).args(["--only", "it "]);
        if model {
            command.arg("--file").arg(format!("model={}", program.display()));
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run("", true);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("\n4 ok, 0 failed, 0 not checked\n"), "{text}");
    let (code, text) = run("", false);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("it unloads and loads again  not checked: give a model: --file ROLE=PATH"), "{text}");
    let (code, text) = run("Doubler.version = ''", true);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the greeting lacks the engine's version"), "{text}");
}

/// Sums what it is given, as the SDK lets one write it.
const GOOD_SCORER: &str = r#"
import os, struct, time
import seatrial_runner as sdk
from seatrial_runner import Figure, Scorer

class Sum(Scorer):
    runtime, version = "sum", "1"

    def open(self, request):
        with open(request.labels, encoding="utf-8") as file:
            file.read()
        self.values, self.examples = [], request.examples

    def judge(self, index, outputs):
        self.values += struct.unpack("<2f", outputs["y"].content)
        return index == 0

    def figures(self):
        return [Figure("sum", sum(self.values), examples=self.examples)]

class Session(sdk.Judging):
    pass
"#;

const SCORER_MAIN: &str = r#"
incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
Session(Sum(), incoming, outgoing).run()
"#;

const BROKEN_SCORERS: &[(&str, &str)] = &[
    ("it greets", "Sum.version = ''"),
    (
        "an unknown request is an error",
        "good = Session.answer\nSession.answer = lambda self, n, kind, body: good(self, n, kind, body) if kind else os._exit(1)",
    ),
    (
        "missing labels are an error",
        "Sum.open = lambda self, request: vars(self).update(values=[], examples=request.examples)",
    ),
    (
        "judging opens, unknown fields are passed over",
        "class Strict(dict):\n    def __contains__(self, tag):\n        return super().__contains__(tag) or os._exit(1)\nsdk.REQUESTS = Strict(sdk.REQUESTS)",
    ),
    (
        "examples are judged",
        "good = Sum.judge\nSum.judge = lambda self, index, outputs: good(self, index, outputs) if index else None",
    ),
    ("figures are those that are asked for", "Sum.figures = lambda self: [Figure('sum', float('nan'))]"),
    (
        "judging begins anew",
        "Sum.values = []\nSum.open = lambda self, request: vars(self).update(values=list(self.values), examples=request.examples)",
    ),
    (
        "a tensor in a file is read",
        "good = Session.value\nSession.value = lambda self, body: os._exit(1) if 5 in dict(sdk.fields(body)) else good(self, body)",
    ),
    (
        "it shuts down",
        "good = Session.answer\nSession.answer = lambda self, n, kind, body: self.say(n, 'done', b'') if kind == 'shutdown' else good(self, n, kind, body)",
    ),
    (
        "standard output holds frames only",
        "good = Session.run\ndef run(self):\n    self.outgoing.write(b'Hello!\\n')\n    good(self)\nSession.run = run",
    ),
    ("it ends with its input", "os._exit = lambda code: time.sleep(60)"),
];

/// A scorer with the file and the outputs that it judges.
fn scorer(broken: &str, only: Option<&str>) -> (TempDir, TempDir, Options) {
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("sum.py");
    std::fs::write(&script, [GOOD_SCORER, broken, SCORER_MAIN].join("\n")).unwrap();
    let outputs = home.path().join("y.npy");
    let values = Tensor::from_f32(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    std::fs::write(&outputs, npy::write(&values)).unwrap();
    let (folder, program) = placed(&script);
    let options = Options {
        files: Vec::new(),
        labels: Some(script),
        outputs: vec![("y".into(), outputs)],
        metrics: vec!["sum".into()],
        ..options(&program, only)
    };
    (home, folder, options)
}

#[test]
fn a_scorer_of_the_sdk_keeps_every_rule() {
    let (_home, _folder, options) = scorer("", None);
    let findings = check::run(&options).unwrap();
    let fallen: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict != Verdict::Kept).collect();
    assert!(fallen.is_empty(), "{fallen:#?}");
    assert_eq!(findings.len(), BROKEN_SCORERS.len(), "every check has a scorer that breaks its rule");
    let findings = check::run(&Options { outputs: Vec::new(), ..options }).unwrap();
    let open = findings.iter().filter(|finding| matches!(finding.verdict, Verdict::Open(_))).count();
    assert_eq!(open, 4, "what needs outputs is not checked without them: {findings:#?}");
}

#[test]
fn a_scorer_that_breaks_a_rule_is_told_which_and_what_to_do() {
    for &(name, broken) in BROKEN_SCORERS {
        let (_home, _folder, options) = scorer(broken, Some(name));
        let findings = check::run(&options).unwrap();
        let [finding] = findings.as_slice() else { panic!("{name} is one check: {findings:?}") };
        assert!(matches!(finding.verdict, Verdict::Broken(_)), "{name}: {:?}", finding.verdict);
    }
}
