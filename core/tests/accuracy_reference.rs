//! Task metrics against pycocotools, scikit-learn, jiwer and statsmodels, on generated cases.
//!
//! `SEATRIAL_TEST_PYTHON` names an interpreter with `fixtures/demo/requirements.txt` and `xtask/requirements.txt`;
//! `cargo xtask test` sets it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests that cannot go on fails the test")]

#[path = "../examples/accuracy/answer.rs"]
mod answer;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn script(step: &str, input: &str) -> Output {
    let python = std::env::var_os("SEATRIAL_TEST_PYTHON");
    let mut child = Command::new(python.expect("SEATRIAL_TEST_PYTHON is not set; `cargo xtask test` sets it"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/check_accuracy.py"))
        .arg(step)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn cases() -> String {
    let output = script("cases", "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn check(answers: &[Value]) -> (Option<i32>, String) {
    let output = script("check", &serde_json::to_string(answers).unwrap());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn task_metrics_are_those_of_the_reference_implementations() {
    let answers = answer::answer(&cases()).unwrap();
    let (status, text) = check(&answers);
    assert_eq!(status, Some(0), "{text}");
    let summary: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(summary["wrong"], 0);
    for kind in
        ["classification", "detection", "segmentation", "text", "retrieval", "deviation", "multilabel", "paired"]
    {
        assert!(summary["cases"][kind].as_u64() >= Some(30), "{kind}: {summary}");
    }
}

/// Changes the first figure of this name that is there, by less than anybody would see; returns the number of its case.
fn alter(answers: &mut [Value], untouched: &mut Vec<usize>, figure: &str) -> usize {
    let pick = |value: &Value| value.get(figure).is_some_and(|value| first_number(&mut value.clone()).is_some());
    let case = (0..answers.len()).rev().find(|&case| untouched.contains(&case) && pick(&answers[case]));
    let case = case.unwrap_or_else(|| panic!("no case has {figure}"));
    untouched.retain(|&other| other != case);
    let value = first_number(answers[case].get_mut(figure).unwrap()).unwrap();
    *value = if let Some(whole) = value.as_i64() {
        Value::from(whole + 1)
    } else {
        let figure = value.as_f64().unwrap();
        Value::from(figure + 1e-8 * figure.abs().max(1.0))
    };
    case
}

fn first_number(value: &mut Value) -> Option<&mut Value> {
    match value {
        Value::Number(_) => Some(value),
        Value::Array(values) => values.iter_mut().find_map(first_number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => None,
    }
}

#[test]
fn one_altered_figure_of_any_kind_is_named() {
    let mut answers = answer::answer(&cases()).unwrap();
    let mut untouched: Vec<usize> = (0..answers.len()).collect();
    let figures = [
        "ap",
        "ap_50",
        "ap_75",
        "ap_small",
        "ap_medium",
        "ap_large",
        "ar_1",
        "ar_10",
        "ar_100",
        "per_class",
        "per_class_recall",
        "objects",
        "top5",
        "top1",
        "confusion",
        "iou",
        "mean_iou",
        "pixel_accuracy",
        "exact",
        "characters",
        "cer",
        "words",
        "wer",
        "ranked",
        "hits",
        "recall",
        "pairs",
        "mae",
        "rmse",
        "max",
        "f1",
        "micro_f1",
        "macro_f1",
        "precision",
        "p",
        "difference",
        "interval",
    ];
    let altered = figures.map(|figure| (alter(&mut answers, &mut untouched, figure), figure));
    let (status, text) = check(&answers);
    assert_eq!(status, Some(1), "{text}");
    for (case, figure) in altered {
        let named = text.lines().any(|line| line.starts_with(&format!("case {case}: ")) && line.contains(figure));
        assert!(named, "{figure} of case {case}: {text}");
    }
    let named = text.lines().filter(|line| line.starts_with("case ") && line.contains(" as claimed")).count();
    assert_eq!(named, figures.len(), "nothing else is named: {text}");
}

#[test]
fn answers_that_are_missing_are_no_agreement() {
    let mut answers = answer::answer(&cases()).unwrap();
    answers.pop();
    assert_eq!(check(&answers).0, Some(2));
    let (status, text) = check(&[]);
    assert_eq!(status, Some(2), "{text}");
}
