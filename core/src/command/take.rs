//! Where in a run's output something stands, and taking it from there.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use regex::{Captures, Regex};
use serde_json::Value;

use super::Left;
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// One text of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
    /// Standard output, then standard error.
    Output,
    Viewer,
    /// A file of this name.
    File(String),
}

/// How something is found in its source.
#[derive(Debug)]
pub(super) enum How {
    Pattern { pattern: Regex, after: Option<Regex> },
    Pointer(String),
}

#[derive(Debug)]
pub(super) struct Take {
    pub from: Source,
    pub how: How,
}

/// A run's output, with what is made of it once.
pub(super) struct Texts<'a> {
    pub program: &'a str,
    left: &'a Left,
    output: String,
    /// The JSON documents that were read, by place in the list of sources.
    json: [OnceCell<Result<Value, String>>; 4],
    files: Vec<(&'a str, OnceCell<Result<Value, String>>)>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(program: &'a str, left: &'a Left) -> Self {
        let files = left.files.keys().map(|name| (name.as_str(), OnceCell::new())).collect();
        let output = format!("{}\n{}", left.stdout, left.stderr);
        Self { program, left, output, json: Default::default(), files }
    }

    fn text(&self, source: &Source) -> Result<&str, String> {
        let read = |reading: &'a Reading<String>| match reading {
            Reading::Present(text) => Ok(text.as_str()),
            Reading::Absent(why) => Err(why.clone()),
        };
        match source {
            Source::Stdout => Ok(&self.left.stdout),
            Source::Stderr => Ok(&self.left.stderr),
            Source::Output => Ok(&self.output),
            Source::Viewer => read(&self.left.viewer),
            Source::File(name) => self.left.files.get(name).map_or_else(|| Err("it is not there".to_owned()), read),
        }
    }

    fn document(&self, source: &Source) -> Result<&Value, String> {
        let cell = match source {
            Source::Stdout => &self.json[0],
            Source::Stderr => &self.json[1],
            Source::Output => &self.json[2],
            Source::Viewer => &self.json[3],
            Source::File(name) => match self.files.iter().find(|(known, _)| known == name) {
                Some((_, cell)) => cell,
                None => return Err("it is not there".to_owned()),
            },
        };
        let parse = || serde_json::from_str(self.text(source)?).map_err(|error| format!("it is not JSON: {error}"));
        cell.get_or_init(parse).as_ref().map_err(Clone::clone)
    }

    pub(super) fn why(&self, code: Code, arguments: &[(&str, &dyn Display)]) -> String {
        let program: (&str, &dyn Display) = ("program", &self.program);
        Reason::new(code, &[&[program][..], arguments].concat()).text().to_owned()
    }
}

impl Take {
    /// The text in which a pattern is looked for.
    fn searched<'t>(&self, texts: &'t Texts<'_>) -> Result<&'t str, String> {
        let text = texts.text(&self.from)?;
        match &self.how {
            How::Pattern { after: Some(after), .. } => Ok(after.find(text).map_or("", |found| &text[found.end()..])),
            How::Pattern { after: None, .. } | How::Pointer(_) => Ok(text),
        }
    }

    /// What is found, as text: the first match, or the value that a pointer names.
    pub(super) fn find(&self, texts: &Texts<'_>) -> Option<String> {
        match &self.how {
            How::Pattern { pattern, .. } => {
                pattern.find(self.searched(texts).ok()?).map(|found| found.as_str().trim().to_owned())
            }
            How::Pointer(pointer) => texts.document(&self.from).ok()?.pointer(pointer).map(shown),
        }
    }

    /// What one group holds, or the value that a pointer names. Matches that differ are no answer.
    pub(super) fn one(&self, texts: &Texts<'_>, group: &str) -> Reading<String> {
        let unread = |why: String| Reading::absent(texts.why(Code::ToldUnread, &[("why", &why)]));
        let silent = || Reading::absent(texts.why(Code::NotTold, &[]));
        match &self.how {
            How::Pointer(pointer) => match texts.document(&self.from) {
                Ok(document) => document.pointer(pointer).map_or_else(silent, |value| Reading::Present(shown(value))),
                Err(why) => unread(why),
            },
            How::Pattern { pattern, .. } => match self.searched(texts) {
                Err(why) => unread(why),
                Ok(text) => {
                    let mut found: Vec<&str> =
                        pattern.captures_iter(text).filter_map(|it| Some(it.name(group)?.as_str())).collect();
                    found.dedup();
                    match found[..] {
                        [] => silent(),
                        [only] => Reading::Present(only.to_owned()),
                        [..] => Reading::absent(texts.why(Code::ToldTwice, &[("count", &found.len())])),
                    }
                }
            },
        }
    }

    /// A number that can have been measured: finite and not negative.
    pub(super) fn number(&self, texts: &Texts<'_>) -> Reading<f64> {
        match self.one(texts, "value") {
            Reading::Present(text) => parse(&text, texts),
            Reading::Absent(why) => Reading::Absent(why),
        }
    }

    /// Every number, in order: of each match, or of the list that a pointer names.
    pub(super) fn numbers(&self, texts: &Texts<'_>, most: usize) -> Reading<Vec<f64>> {
        let unread = |why: String| Reading::absent(texts.why(Code::ToldUnread, &[("why", &why)]));
        let found: Vec<String> = match &self.how {
            How::Pointer(pointer) => match texts.document(&self.from) {
                Ok(document) => match document.pointer(pointer) {
                    Some(Value::Array(values)) => values.iter().take(most + 1).map(shown).collect(),
                    Some(_) | None => Vec::new(),
                },
                Err(why) => return unread(why),
            },
            How::Pattern { pattern, .. } => match self.searched(texts) {
                Ok(text) => {
                    let values =
                        pattern.captures_iter(text).filter_map(|it| Some(it.name("value")?.as_str().to_owned()));
                    values.take(most + 1).collect()
                }
                Err(why) => return unread(why),
            },
        };
        if found.is_empty() {
            return Reading::absent(texts.why(Code::NotTold, &[]));
        }
        if found.len() > most {
            return unread(format!("it holds more than {most} samples"));
        }
        let mut numbers = Vec::with_capacity(found.len());
        for text in found {
            match parse(&text, texts) {
                Reading::Present(number) => numbers.push(number),
                Reading::Absent(why) => return Reading::Absent(why),
            }
        }
        Reading::Present(numbers)
    }

    /// Nodes on the accelerator, of all nodes. A graph in parts is told part by part, and some more than once: what differs
    /// is added up, so that no part hides what another leaves to the CPU.
    pub(super) fn share(&self, texts: &Texts<'_>) -> Reading<(u32, u32)> {
        let group = |captures: &Captures<'_>, name: &str| captures.name(name)?.as_str().parse::<u32>().ok();
        let How::Pattern { pattern, .. } = &self.how else { return Reading::absent(texts.why(Code::NotTold, &[])) };
        let share = |captures: Captures<'_>| {
            let on = group(&captures, "on")?;
            let of = group(&captures, "of").or_else(|| on.checked_add(group(&captures, "rest")?))?;
            (on <= of).then_some((on, of))
        };
        let text = self.searched(texts).unwrap_or_default();
        let found: BTreeSet<(u32, u32)> = pattern.captures_iter(text).filter_map(share).collect();
        let add = |(on, of): (u32, u32), part: &(u32, u32)| (on.saturating_add(part.0), of.saturating_add(part.1));
        match found.iter().fold((0, 0), add) {
            (_, 0) => Reading::absent(texts.why(Code::NotTold, &[])),
            sum => Reading::Present(sum),
        }
    }
}

/// A JSON value as a program would have printed it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn parse(text: &str, texts: &Texts<'_>) -> Reading<f64> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Reading::Present(number),
        Ok(_) | Err(_) => {
            let short: String = text.chars().take(40).collect();
            Reading::absent(texts.why(Code::ToldNoNumber, &[("value", &short)]))
        }
    }
}
