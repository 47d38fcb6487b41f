//! Faults of a suite file as callers hear them.

use seatrial_core::suite::{Problem, render};
use seatrial_proto::v1;

use crate::error::{Code, Error};

pub(super) fn message(problem: Problem) -> v1::Problem {
    let Problem { file, line, column, message, suggestion } = problem;
    v1::Problem { file, line, column, message, suggestion: suggestion.unwrap_or_default() }
}

/// All of them in one error, in the order of the file.
pub(super) fn error(problems: &[Problem]) -> Error {
    Error { code: Code::Invalid, field: Some("suite_toml".to_owned()), message: render(problems) }
}
