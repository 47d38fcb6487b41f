//! `seatrial suite`: checks suite files where they are written, without a server.

use seatrial_core::suite::{self, Problem};
use serde_json::json;

use super::{Context, read_text};
use crate::args::SuiteAction;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;

pub(super) fn run(action: SuiteAction, context: &Context) -> Result<Exit> {
    match action {
        SuiteAction::Schema => {
            output::print_json(&suite::json_schema())?;
            Ok(Exit::Ok)
        }
        SuiteAction::Check { files, output } => {
            let json = context.output(output).is_json();
            let mut found: Vec<Problem> = Vec::new();
            for file in &files {
                let name = file.display().to_string();
                match suite::parse(&read_text(file)?, &name) {
                    Ok(_) if json => {}
                    Ok(_) => output::note(&format!("{name}: no problems")),
                    Err(problems) => found.extend(problems),
                }
            }
            report(&found, json)
        }
    }
}

/// Problems are what was asked for, so they are data.
fn report(problems: &[Problem], json: bool) -> Result<Exit> {
    if json {
        output::print_json(&json!({ "problems": problems }))?;
    } else {
        for problem in problems {
            output::print_text(&problem.to_string())?;
        }
        if !problems.is_empty() {
            output::note(&format!("\n{}", output::count(problems.len(), "problem")));
        }
    }
    Ok(if problems.is_empty() { Exit::Ok } else { Exit::Invalid })
}
