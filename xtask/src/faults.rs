//! `docs/faults.md` stays true: every test that its table names is in the tree and is run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::command::root;

/// A row of the table: what goes wrong, what a person sees, the tests that inject it, and their positive controls.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    fault: String,
    tests: Vec<String>,
    controls: Vec<String>,
}

/// Rows of every table of four columns, heads left out.
fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inside.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let body = |cells: &Vec<String>| cells.len() == 4 && cells[0] != "fault" && !cells[0].starts_with("---");
    let lines = text.lines().filter_map(cells).filter(body);
    lines.map(|cells| Row { fault: cells[0].clone(), tests: names(&cells[2]), controls: names(&cells[3]) }).collect()
}

/// What stands in backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Names of functions that a test runner runs: those with a test's attribute, and the cases of the store's conformance
/// suite, which a macro turns into two tests each.
fn tests_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut is_test, mut in_suite) = (false, false);
    for whole in text.lines() {
        let line = whole.trim();
        if line.starts_with("conformance! {") {
            in_suite = true;
        } else if in_suite {
            in_suite = whole != "}";
            found.extend(line.strip_suffix(',').map(str::to_owned));
        }
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false; // started by other tests only
        } else if let Some((_, rest)) = line.split_once("fn ")
            && !line.starts_with("//")
            && std::mem::take(&mut is_test)
        {
            found.extend(rest.split(['(', '<']).next().map(str::to_owned));
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn every_test() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    files.iter().flat_map(|file| tests_in(&std::fs::read_to_string(file).unwrap())).collect()
}

/// What is wrong with the rows, given the tests that there are.
fn faults_of(rows: &[Row], tests: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for Row { fault, tests: injecting, controls } in rows {
        if injecting.is_empty() || controls.is_empty() {
            found.push(format!("{fault}: a test or its control is missing"));
        }
        let missing = injecting.iter().chain(controls).filter(|name| !tests.contains(*name));
        found.extend(missing.map(|name| format!("{fault}: there is no test {name}")));
    }
    found
}

#[test]
fn every_test_that_the_table_of_faults_names_is_run() {
    let rows = rows(&std::fs::read_to_string(root().join("docs/faults.md")).unwrap());
    assert!(rows.len() >= 25, "only {} rows were read: the table has another form", rows.len());
    let found = faults_of(&rows, &every_test());
    assert!(found.is_empty(), "docs/faults.md:\n  {}", found.join("\n  "));
}

#[test]
fn a_table_that_names_what_is_not_there_is_noticed() {
    let text = "| fault | what you see | tests | control |\n|---|---|---|---|\n\
                | a | b | `is_there`, `is_gone` | `is_there` |\n| c | d | `is_there` | – |\n";
    let source = "#[test]\nfn is_there() {}\n// fn is_gone() {}\nfn helper() {}\n\
                  #[tokio::test]\n#[ignore = \"a child\"]\nasync fn is_gone() {}\n\
                  conformance! {\n people {\n a_case,\n }\n}\n";
    let tests = tests_in(source);
    assert_eq!(tests.iter().map(String::as_str).collect::<Vec<_>>(), ["a_case", "is_there"]);
    assert_eq!(faults_of(&rows(text), &tests), ["a: there is no test is_gone", "c: a test or its control is missing"]);
}
