//! What is asked of a device, as `tables/evidence.toml` lists it.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::evidence::{Ending, MAX_PIECE_BYTES, Piece, RawEvidence};
use super::glob;

/// Longest time that one step may take.
const MAX_SECONDS: u32 = 10;

/// One thing that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub piece: Piece,
    pub source: Source,
    /// After so many seconds a command is ended.
    pub seconds: u32,
    /// What is kept of the output.
    pub bytes: usize,
}

impl Step {
    /// Keeps what was read without the script, as the script does: the lines that are wanted, as far as the step's
    /// bound. A command that said one of them and then failed has said it.
    pub fn keep(&self, evidence: &mut RawEvidence, output: &str, ending: Ending) {
        let (mut text, ending) = match &self.source {
            Source::Run { lines, .. } if !lines.is_empty() => {
                let wanted = |line: &&str| lines.iter().any(|text| line.contains(text.as_str()));
                let text: String = output.split_inclusive('\n').filter(wanted).collect();
                match ending {
                    Ending::Whole if text.is_empty() => (text, Ending::Failed(1)),
                    Ending::Failed(_) if !text.is_empty() => (text, Ending::Whole),
                    Ending::Whole | Ending::Cut | Ending::Failed(_) => (text, ending),
                }
            }
            Source::Run { .. } | Source::File(_) | Source::Values(_) | Source::Exist(_) => (output.to_owned(), ending),
        };
        if text.len() > self.bytes {
            text.truncate(text.floor_char_boundary(self.bytes));
            return evidence.keep(self.piece, text, Ending::Cut);
        }
        evidence.keep(self.piece, text, ending);
    }
}

/// Where a piece comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A program with its arguments; of its output only the lines that hold one of these texts, or all when there is none.
    Run { words: Vec<String>, lines: Vec<String> },
    /// A file as it is.
    File(String),
    /// Files of one line each, as `PATH=LINE`, or `PATH!denied`; those that are not there are left out.
    Values(Vec<String>),
    /// Those of these paths that are there, one a line.
    Exist(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanFile {
    piece: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Piece,
    #[serde(default)]
    run: Option<Vec<String>>,
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    values: Option<Vec<String>>,
    #[serde(default)]
    exist: Option<Vec<String>>,
    #[serde(default = "a_while")]
    seconds: u32,
    bytes: usize,
}

const fn a_while() -> u32 {
    3
}

/// The steps of the file, each piece once; `libraries` are looked for beside the paths of the piece of that name.
pub(super) fn steps(file: PlanFile, libraries: Vec<String>) -> Result<Vec<Step>, String> {
    let mut libraries = Some(libraries);
    let mut seen = BTreeSet::new();
    let mut steps = Vec::new();
    for entry in file.piece {
        let name = entry.name.as_str();
        if !seen.insert(entry.name) {
            return Err(format!("the piece {name} stands there twice"));
        }
        if entry.seconds == 0 || entry.seconds > MAX_SECONDS {
            return Err(format!("the piece {name} may take {} s; 1 to {MAX_SECONDS} are allowed", entry.seconds));
        }
        if entry.bytes == 0 || entry.bytes > MAX_PIECE_BYTES {
            return Err(format!(
                "of the piece {name} {} bytes are kept; 1 to {MAX_PIECE_BYTES} are allowed",
                entry.bytes
            ));
        }
        let source = match (entry.run, entry.file, entry.values, entry.exist) {
            (Some(words), None, None, None) => Source::Run { words, lines: entry.lines },
            (None, Some(file), None, None) => Source::File(file),
            (None, None, Some(paths), None) => Source::Values(paths),
            (None, None, None, Some(mut paths)) => {
                paths.extend(libraries.take().filter(|_| entry.name == Piece::Libraries).unwrap_or_default());
                Source::Exist(paths)
            }
            _ => return Err(format!("the piece {name} needs one of run, file, values and exist")),
        };
        if let Some(fault) = fault(&source) {
            return Err(format!("the piece {name}: {fault}"));
        }
        steps.push(Step { piece: entry.name, source, seconds: entry.seconds, bytes: entry.bytes });
    }
    match Piece::ALL.iter().find(|piece| !seen.contains(piece)) {
        Some(missing) => Err(format!("the piece {} is missing", missing.as_str())),
        None => Ok(steps),
    }
}

fn fault(source: &Source) -> Option<String> {
    let path_fault = |path: &String| glob::fault(path).map(|fault| format!("{path:?} {fault}"));
    let text_fault = |text: &String| {
        let odd = text.is_empty() || text.contains(['\'', '\n', '\0']);
        odd.then(|| format!("{text:?} is empty or cannot be quoted"))
    };
    match source {
        Source::Run { words, .. } if words.is_empty() => Some("there is no command".to_owned()),
        Source::Run { words, lines } => words.iter().chain(lines).find_map(text_fault),
        Source::File(path) => path_fault(path),
        Source::Values(paths) | Source::Exist(paths) => paths.iter().find_map(path_fault),
    }
}
