//! Reads a TOML file into a type and reports every fault at once, each with its place.
//!
//! The JSON schema of the type is the one source of what a file may hold: the text is checked against it first, and
//! only a text without faults is handed to serde. So what an editor completes from the schema, what is refused here
//! and what is documented cannot drift apart.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Lines, Place, Problem};
use super::schema::Checker;

/// More problems than this help nobody.
const MAX_PROBLEMS: usize = 100;

/// Collects the problems of one text and knows the place of every value in it.
#[derive(Debug)]
pub(crate) struct Reporter<'t> {
    file: &'t str,
    lines: Lines<'t>,
    /// Byte offset of each value by its path: `backends[1].threads`.
    offsets: BTreeMap<String, usize>,
    problems: Vec<Problem>,
}

impl<'t> Reporter<'t> {
    fn new(text: &'t str, file: &'t str) -> Self {
        Self { file, lines: Lines::new(text), offsets: BTreeMap::new(), problems: Vec::new() }
    }

    pub(super) fn remember(&mut self, path: &str, offset: usize) {
        self.offsets.insert(path.to_owned(), offset);
    }

    /// The place of a value, or of the nearest table around it when the value itself is not in the file.
    pub(crate) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(&offset) = self.offsets.get(path) {
                return self.lines.place(offset);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Place { line: 1, column: 1 },
            }
        }
    }

    /// A problem with the value at `path`.
    pub(crate) fn at(&mut self, path: &str, message: impl Into<String>, suggestion: Option<String>) {
        let place = self.place(path);
        self.at_place(place, message, suggestion);
    }

    pub(super) fn at_offset(&mut self, offset: usize, message: impl Into<String>, suggestion: Option<String>) {
        let place = self.lines.place(offset);
        self.at_place(place, message, suggestion);
    }

    pub(crate) fn at_place(&mut self, place: Place, message: impl Into<String>, suggestion: Option<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            let Place { line, column } = place;
            self.problems.push(Problem {
                file: self.file.to_owned(),
                line,
                column,
                message: message.into(),
                suggestion,
            });
        }
    }

    pub(crate) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The value, if nothing was found wrong; else all problems in the order of the file.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() { Ok(value) } else { Err(self.into_problems()) }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

/// Reads `text` as a `T`. The reporter goes on collecting what only the caller can judge.
pub(crate) fn read<'t, T>(text: &'t str, file: &'t str, max_bytes: usize) -> Result<(T, Reporter<'t>), Vec<Problem>>
where
    T: DeserializeOwned + JsonSchema + 'static,
{
    let mut reporter = Reporter::new(text, file);
    if text.len() > max_bytes {
        let message = format!("the file is {} bytes long, and at most {max_bytes} are read", text.len());
        reporter.at_place(Place::default(), message, None);
        return Err(reporter.into_problems());
    }
    let (root, faults) = DeTable::parse_recoverable(text);
    report_syntax(&faults, &mut reporter);
    if reporter.has_problems() {
        return Err(reporter.into_problems());
    }
    let schema = known_schema_of::<T>();
    let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
    Checker::new(&schema, &mut reporter).check_root(&root);
    if reporter.has_problems() {
        return Err(reporter.into_problems());
    }
    match T::deserialize(toml::de::ValueDeserializer::from(root)) {
        Ok(value) => Ok((value, reporter)),
        Err(fault) => {
            let offset = fault.span().map_or(0, |span| span.start);
            reporter.at_offset(offset, one_line(fault.message()), None);
            Err(reporter.into_problems())
        }
    }
}

/// The first fault of each line, and the last of all: the parser reads on after a fault, and most of what it says about
/// the rest of a line follows from that one. What is never closed is only known at the end.
fn report_syntax(faults: &[toml::de::Error], reporter: &mut Reporter<'_>) {
    let offset = |fault: &toml::de::Error| fault.span().map_or(0, |span| span.start);
    let mut faults: Vec<&toml::de::Error> = faults.iter().collect();
    faults.sort_by_key(|fault| offset(fault));
    let mut line = 0;
    for (index, fault) in faults.iter().enumerate() {
        let place = reporter.lines.place(offset(fault));
        if place.line != line || index + 1 == faults.len() {
            line = place.line;
            reporter.at_place(place, format!("is not TOML: {}", one_line(fault.message())), None);
        }
    }
}

/// The JSON schema of a file's type.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// The same, made once: it takes longer than to read a file.
fn known_schema_of<T: JsonSchema + 'static>() -> Arc<Value> {
    static KNOWN: LazyLock<Mutex<HashMap<TypeId, Arc<Value>>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(schema_of::<T>())).clone()
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
