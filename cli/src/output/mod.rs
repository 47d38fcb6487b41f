//! What people and programs read: data on stdout, everything else on stderr.

pub(crate) mod job;
pub(crate) mod json;
pub(crate) mod numbers;
pub(crate) mod progress;
pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod watching;

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;
use comfy_table::Table;
use seatrial_core::suite::Problem;
use serde::Serialize;

use crate::args::Format;
use crate::error::{CliError, Result};

/// How this command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub format: Format,
    pub colour: Colour,
}

/// Where colour is used. The choice of `auto` is made for each stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Colour {
    pub stdout: bool,
    pub stderr: bool,
}

impl Colour {
    pub(crate) fn decide(choice: ColorChoice) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match choice {
            ColorChoice::Always => Self { stdout: true, stderr: true },
            ColorChoice::Never => Self { stdout: false, stderr: false },
            ColorChoice::Auto => {
                Self { stdout: !plain && io::stdout().is_terminal(), stderr: !plain && io::stderr().is_terminal() }
            }
        }
    }
}

impl Output {
    /// The same data for a program or for a person.
    pub(crate) fn emit<T: Serialize>(self, data: &T, table: impl FnOnce() -> Table) -> Result<()> {
        match self.format {
            Format::Json => print_json(data),
            Format::Table => self.table(table()),
        }
    }

    pub(crate) fn table(self, mut table: Table) -> Result<()> {
        table::fit(&mut table);
        if self.colour.stdout {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        print_text(&table.trim_fmt())
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

pub(crate) fn print_json<T: Serialize>(data: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(data).map_err(|error| CliError::failed("write JSON", error))?;
    print_text(&text)
}

/// A text and a line end on stdout.
pub(crate) fn print_text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(CliError::Output)
}

/// A line for the person at the terminal, on stderr. A closed stderr is no reason to fail.
pub(crate) fn note(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// The error with its causes, its places in files, and after a blank line what to do.
pub(crate) fn complain(error: &CliError) {
    let colour = Colour::decide(ColorChoice::Auto).stderr;
    note(&describe(error, colour));
}

fn describe(error: &CliError, colour: bool) -> String {
    let label = if colour { "\u{1b}[1;31merror\u{1b}[0m" } else { "error" };
    let mut lines = vec![format!("{label}: {error}")];
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(current) = cause {
        lines.extend(indented("  cause: ", &current.to_string()));
        cause = current.source();
    }
    if let CliError::Problems { problems, .. } = error {
        lines.extend(problems.iter().map(problem));
    }
    if let Some(hint) = error.hint() {
        lines.push(String::new());
        lines.extend(indented("hint: ", &hint));
    }
    lines.join("\n")
}

/// The first line after its label, the others beneath it.
fn indented(label: &str, text: &str) -> Vec<String> {
    let margin = " ".repeat(label.len());
    text.lines().enumerate().map(|(i, line)| format!("{}{line}", if i == 0 { label } else { &margin })).collect()
}

/// `file:line:column: message`, as editors jump to, and beneath it what would be right.
pub(crate) fn problem(problem: &Problem) -> String {
    let Problem { file, line, column, message, suggestion } = problem;
    let place = match (line, column) {
        (0, _) => file.clone(),
        (line, 0) => format!("{file}:{line}"),
        (line, column) => format!("{file}:{line}:{column}"),
    };
    match suggestion.as_deref() {
        None | Some("") => format!("  {place}: {message}"),
        Some(suggestion) => format!("  {place}: {message}\n      {suggestion}"),
    }
}

/// The first of several reasons, and how many more there are.
pub(crate) fn first(reasons: &[String]) -> String {
    match reasons {
        [] => "no reason was reported".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first}; and {}", count(rest.len(), "more reason")),
    }
}

/// `1 problem`, `3 problems`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_what_failed_why_and_what_to_do() {
        let source = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let error = CliError::Unreachable { address: "http://lab:7077".to_owned(), source: source.into() };
        insta::assert_snapshot!(describe(&error, false), @r"
        error: failed to reach the server at http://lab:7077
          cause: connection refused

        hint: start one with `seatrial serve`, or name another with --server URL, SEATRIAL_SERVER or `seatrial login`
        ");
    }

    #[test]
    fn a_problem_without_a_place_names_only_its_file() {
        let mut one = Problem {
            file: "night.toml".to_owned(),
            line: 0,
            column: 0,
            message: "no models".to_owned(),
            suggestion: None,
        };
        assert_eq!(problem(&one), "  night.toml: no models");
        (one.line, one.column) = (3, 7);
        one.suggestion = Some("did you mean `models`?".to_owned());
        assert_eq!(problem(&one), "  night.toml:3:7: no models\n      did you mean `models`?");
    }
}
