//! A fault in a file that a person wrote: where it is, what is wrong, and what would be right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A fault in a suite file or a dataset manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where the text came from, as the caller named it.
    pub file: String,
    /// From 1; 0 when the fault has no place.
    pub line: u32,
    /// In characters, from 1; 0 when the fault has no place.
    pub column: u32,
    pub message: String,
    /// What would be right.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    /// `file:line:column: message`, then the suggestion on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "\n  hint: {suggestion}"),
            None => Ok(()),
        }
    }
}

/// All problems as text for people, one after the other in the order of the file.
#[must_use]
pub fn render(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// A place in a text; both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub line: u32,
    pub column: u32,
}

/// Where the lines of a text begin.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The place of a byte offset. An offset outside the text is taken as its end.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts[line - 1];
        let before = self.text.get(start..offset).or_else(|| self.text.get(start..)).unwrap_or("");
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { line: count(line), column: count(before.chars().count() + 1) }
    }
}

/// The candidate that a mistyped word most likely means, if any is near enough: at most a third of the word may differ,
/// or the word is the beginning of the candidate.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = edit_distance(word, candidate, allowed);
            let begins = length >= 3 && candidate.starts_with(word);
            (distance <= allowed || begins).then_some((distance, candidate))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// What to say to a word that is not known: the candidate that it most likely means, else all of them.
pub(crate) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone, otherwise: &str) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("{otherwise} {}", one_of(known)),
    }
}

/// Levenshtein distance without regard to case, with a swap of neighbours as one edit (optimal string alignment).
/// Words whose lengths alone differ by more than `enough` are not compared.
fn edit_distance(left: &str, right: &str, enough: usize) -> usize {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).take(64).collect::<Vec<char>>();
    let (left, right) = (lower(left), lower(right));
    if left.len().abs_diff(right.len()) > enough {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=right.len()).collect();
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

/// Words for a message: `"a", "b" or "c"`; a long list is cut.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let words: Vec<&str> = words.into_iter().collect();
    let mut quoted: Vec<String> = words.iter().take(SHOWN).map(|word| format!("\"{word}\"")).collect();
    if words.len() > SHOWN {
        return format!("{} and {} more", quoted.join(", "), words.len() - SHOWN);
    }
    match (quoted.pop(), quoted.is_empty()) {
        (None, _) => "none".to_owned(),
        (Some(only), true) => only,
        (Some(last), false) => format!("{} or {last}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_a_different_word_finds_none() {
        let keys = ["threads", "track", "accelerator", "affinity"];
        assert_eq!(nearest("thread", keys), Some("threads"));
        assert_eq!(nearest("htreads", keys), Some("threads"));
        assert_eq!(nearest("Affinity", keys), Some("affinity"));
        assert_eq!(nearest("accel", keys), Some("accelerator"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn places_count_characters_and_not_bytes() {
        let place = |text, offset| Lines::new(text).place(offset);
        assert_eq!(place("a\n模型 x", 9), Place { line: 2, column: 4 });
        assert_eq!(place("", 0), Place { line: 1, column: 1 });
        assert_eq!(place("ab", 99), Place { line: 1, column: 3 });
    }

    #[test]
    fn a_problem_without_a_place_shows_no_line() {
        let problem =
            Problem { file: "s.toml".into(), line: 0, column: 0, message: "is too large".into(), suggestion: None };
        assert_eq!(problem.to_string(), "s.toml: is too large");
    }
}
