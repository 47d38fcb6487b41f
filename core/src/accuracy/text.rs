//! Recognised text: character and word error rate over a corpus.
//!
//! Texts are compared as jiwer compares them with its default transformations: white space around a text does not
//! count. Characters are Unicode code points. For words, two or more characters of white space in a row are one space,
//! and spaces separate; nothing else is normalised, neither case nor punctuation nor composed against decomposed forms.
//! A language that is written without spaces, as Chinese is, has one word a text: its word error rate says how many
//! texts are not exactly right, and the character error rate is the one to read.

/// A longer text, in characters or words, is refused.
pub const MAX_LENGTH: usize = 4096;
/// Characters or words of the truth times those of the answer, over all texts, that one call compares.
pub const MAX_CELLS: u64 = 1 << 30;

/// How far answers are from the truth, in characters or words.
///
/// The sum of the three kinds of error is the Levenshtein distance. Several shortest ways may share it out differently;
/// the one counted is RapidFuzz's, from the end of the texts: a deletion where one is possible, else an insertion, else
/// a substitution or a hit. Where what differs has 2²² pairs of characters or more, RapidFuzz takes another way to the
/// same sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edits {
    pub hits: u64,
    /// One for another.
    pub substitutions: u64,
    /// Missing from the answer.
    pub deletions: u64,
    /// Only in the answer.
    pub insertions: u64,
}

impl Edits {
    /// Characters or words of the truth.
    #[must_use]
    pub const fn truth(&self) -> u64 {
        self.hits + self.substitutions + self.deletions
    }

    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.substitutions + self.deletions + self.insertions
    }

    /// Errors for each character or word of the truth: 0 is perfect, and more than 1 is possible. `None` when the truth
    /// is empty.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.truth() > 0).then(|| self.errors() as f64 / self.truth() as f64)
    }

    const fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.substitutions += other.substitutions;
        self.deletions += other.deletions;
        self.insertions += other.insertions;
    }
}

/// Task metrics over a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text {
    pub examples: u32,
    /// Examples without an error in any character.
    pub exact: u32,
    /// Its rate is the character error rate.
    pub characters: Edits,
    /// Its rate is the word error rate.
    pub words: Edits,
}

/// Texts that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("there are {truth} texts of the truth and {answers} answers")]
    Length { truth: usize, answers: usize },
    #[error("the {of} of example {example} has {length} characters, at most {MAX_LENGTH} are compared")]
    TooLong { of: &'static str, example: usize, length: usize },
    #[error("the texts up to example {example} have more than {MAX_CELLS} pairs of characters to compare")]
    TooMany { example: usize },
}

/// Compares each answer with the truth of the same place.
pub fn summarise<T: AsRef<str>, A: AsRef<str>>(truth: &[T], answers: &[A]) -> Result<Text, TextError> {
    if truth.len() != answers.len() {
        return Err(TextError::Length { truth: truth.len(), answers: answers.len() });
    }
    let mut text = Text::default();
    let mut cells = 0;
    for (example, (truth, answer)) in truth.iter().zip(answers).enumerate() {
        let [truth, answer] = [("truth", truth.as_ref()), ("answer", answer.as_ref())].map(|(of, text)| {
            let text = text.trim_matches(is_space);
            // Words are never more than characters.
            let length = text.chars().count();
            if length > MAX_LENGTH {
                Err(TextError::TooLong { of, example, length })
            } else {
                Ok((text, length as u64))
            }
        });
        let ((truth, height), (answer, width)) = (truth?, answer?);
        cells += height * width;
        if cells > MAX_CELLS {
            return Err(TextError::TooMany { example });
        }
        let characters = edits(&truth.chars().collect::<Vec<_>>(), &answer.chars().collect::<Vec<_>>());
        text.examples += 1;
        text.exact += u32::from(characters.errors() == 0);
        text.characters.add(characters);
        let (truth, answer) = (single_spaced(truth), single_spaced(answer));
        text.words.add(edits(&words(&truth), &words(&answer)));
    }
    Ok(text)
}

/// Whether an answer has no error in any character.
#[must_use]
pub fn is_exact(truth: &str, answer: &str) -> bool {
    truth.trim_matches(is_space) == answer.trim_matches(is_space)
}

/// White space as Python's `str.isspace` has it: Unicode's, and the four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Two or more characters of white space become one space; a single one stays what it is.
fn single_spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let mut run = false;
        while is_space(character) && characters.next_if(|&next| is_space(next)).is_some() {
            run = true;
        }
        spaced.push(if run { ' ' } else { character });
    }
    spaced
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

/// The shortest way from the truth to the answer.
fn edits<T: PartialEq>(truth: &[T], answer: &[T]) -> Edits {
    let before = common(truth.iter().zip(answer));
    let (truth, answer) = (&truth[before..], &answer[before..]);
    let after = common(truth.iter().rev().zip(answer.iter().rev()));
    let (truth, answer) = (&truth[..truth.len() - after], &answer[..answer.len() - after]);
    let mut edits = Edits { hits: (before + after) as u64, ..Edits::default() };

    let distances = Distances::of(truth, answer);
    let (mut row, mut column) = (truth.len(), answer.len());
    while row > 0 && column > 0 {
        if distances.at(row, column) == distances.at(row - 1, column) + 1 {
            row -= 1;
            edits.deletions += 1;
        } else if distances.at(row, column - 1) + 1 == distances.at(row - 1, column - 1) {
            column -= 1;
            edits.insertions += 1;
        } else {
            row -= 1;
            column -= 1;
            if truth[row] == answer[column] {
                edits.hits += 1;
            } else {
                edits.substitutions += 1;
            }
        }
    }
    edits.deletions += row as u64;
    edits.insertions += column as u64;
    edits
}

/// How many pairs from the start on are equal.
fn common<'a, T: PartialEq + 'a>(pairs: impl Iterator<Item = (&'a T, &'a T)>) -> usize {
    pairs.take_while(|(truth, answer)| truth == answer).count()
}

/// Levenshtein distance of every beginning of the truth to every beginning of the answer.
struct Distances {
    width: usize,
    cells: Vec<u16>,
}

impl Distances {
    fn of<T: PartialEq>(truth: &[T], answer: &[T]) -> Self {
        let width = answer.len() + 1;
        let mut cells = Vec::with_capacity(width * (truth.len() + 1));
        cells.extend(0..width as u16);
        for (row, of_truth) in truth.iter().enumerate() {
            let mut left = row as u16 + 1;
            cells.push(left);
            for (column, of_answer) in answer.iter().enumerate() {
                let above = cells[row * width + column + 1];
                let diagonal = cells[row * width + column];
                left = (diagonal + u16::from(of_truth != of_answer)).min(above.min(left) + 1);
                cells.push(left);
            }
        }
        Self { width, cells }
    }

    fn at(&self, row: usize, column: usize) -> u16 {
        self.cells[row * self.width + column]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compare(truth: &str, answer: &str) -> Text {
        summarise(&[truth], &[answer]).unwrap()
    }

    const fn edits_of(hits: u64, substitutions: u64, deletions: u64, insertions: u64) -> Edits {
        Edits { hits, substitutions, deletions, insertions }
    }

    /// Values of jiwer 4.0.
    #[test]
    fn texts_are_compared_as_jiwer_compares_them() {
        for (truth, answer, characters, words) in [
            ("hello world", "hello duck", edits_of(6, 4, 1, 0), edits_of(1, 1, 0, 0)),
            ("kitten", "sitting", edits_of(4, 2, 0, 1), edits_of(0, 1, 0, 0)),
            ("ab", "ba", edits_of(1, 0, 1, 1), edits_of(0, 1, 0, 0)),
            ("the cat sat", "", edits_of(0, 0, 11, 0), edits_of(0, 0, 3, 0)),
            (" a\u{3000}\u{2003}b ", "a b", edits_of(2, 1, 1, 0), edits_of(2, 0, 0, 0)),
            ("a\tb", "a b", edits_of(2, 1, 0, 0), edits_of(0, 1, 0, 1)),
            ("今天天气很好", "今天天汽很好", edits_of(5, 1, 0, 0), edits_of(0, 1, 0, 0)),
            ("e\u{301}", "\u{e9}", edits_of(0, 1, 1, 0), edits_of(0, 1, 0, 0)),
        ] {
            let text = compare(truth, answer);
            assert_eq!((text.characters, text.words), (characters, words), "{truth:?} and {answer:?}");
        }
    }

    #[test]
    fn a_rate_is_that_of_the_corpus_and_not_the_mean_of_the_texts() {
        let text = summarise(&["a", "abcdefghi"], &["b", "abcdefghi"]).unwrap();
        assert_eq!(text.characters.rate(), Some(0.1));
        assert_eq!((text.examples, text.exact), (2, 1));
        assert_eq!(text.words.rate(), Some(0.5));
    }

    #[test]
    fn an_empty_truth_has_no_rate_and_its_insertions_count_in_the_corpus() {
        assert_eq!(compare("", "ab").characters.rate(), None);
        assert_eq!(compare("", "").exact, 1);
        assert_eq!(
            summarise(&["", "ab"], &["xyz", "ab"]).unwrap().characters.rate(),
            Some(1.5),
            "more than 1 is possible"
        );
    }

    #[test]
    fn texts_that_cost_too_much_are_refused() {
        let long = "x".repeat(MAX_LENGTH + 1);
        assert_eq!(
            summarise(&["a", "a"], &["a", &long]).unwrap_err().to_string(),
            "the answer of example 1 has 4097 characters, at most 4096 are compared"
        );
        let largest = vec![" ".repeat(9) + &"x".repeat(MAX_LENGTH); 65];
        assert_eq!(summarise(&largest, &largest), Err(TextError::TooMany { example: 64 }));
        assert_eq!(summarise::<&str, &str>(&["a"], &[]), Err(TextError::Length { truth: 1, answers: 0 }));
    }

    proptest! {
        #[test]
        fn every_character_is_accounted_for(truth in "[ab c]{0,12}", answer in "[ab c]{0,12}") {
            let text = compare(&truth, &answer);
            for (edits, truth, answer) in [
                (text.characters, truth.trim().chars().count(), answer.trim().chars().count()),
                (text.words, truth.split_whitespace().count(), answer.split_whitespace().count()),
            ] {
                prop_assert_eq!(edits.truth(), truth as u64);
                prop_assert_eq!(edits.hits + edits.substitutions + edits.insertions, answer as u64);
                prop_assert!(edits.errors() <= truth.max(answer) as u64);
            }
            let back = compare(&answer, &truth);
            prop_assert_eq!(text.characters.errors(), back.characters.errors(), "the distance is the same both ways");
        }

        #[test]
        fn no_text_makes_it_panic(truth in any::<String>(), answer in any::<String>()) {
            let text = compare(&truth, &answer);
            prop_assert_eq!(text.exact == 1, truth.trim_matches(is_space) == answer.trim_matches(is_space));
            prop_assert_eq!(compare(&truth, &truth).characters.errors(), 0);
        }
    }
}
