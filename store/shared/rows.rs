//! Between our types and the words of the database.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use seatrial_core::digest::Digest;
use seatrial_core::store::Part;

use super::fault::Fault;

/// Many rows as one JSON array, for `json_each`.
pub(crate) fn rows<T: Serialize>(rows: &[T]) -> Result<String, Fault> {
    fields(&rows)
}

/// Rows of one kind as JSON, made by the caller so that the writer has only to put them together.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Separated by commas.
    text: String,
}

impl Rows {
    pub(crate) fn of<T: Serialize>(items: impl IntoIterator<Item = T>) -> Result<Self, Fault> {
        let mut text = String::new();
        for item in items {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&fields(&item)?);
        }
        Ok(Self { text })
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.text.len()
    }

    /// All of them as one array; `None` when there are none.
    pub(crate) fn array<'a>(many: impl IntoIterator<Item = &'a Self>) -> Option<String> {
        let texts: Vec<&str> =
            many.into_iter().map(|rows| rows.text.as_str()).filter(|text| !text.is_empty()).collect();
        (!texts.is_empty()).then(|| format!("[{}]", texts.join(",")))
    }
}

/// A document as JSON text, just as it is: in there a zero character is an escape.
pub(crate) fn document<T: Serialize + ?Sized>(value: &T, what: &str) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::corrupt(what, error))
}

/// JSON that the database takes apart into fields, [`clean`] throughout.
fn fields<T: Serialize + ?Sized>(value: &T) -> Result<String, Fault> {
    let what = "rows";
    let mut text = Vec::with_capacity(256);
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, Clean))
        .map_err(|error| Fault::corrupt(what, error))?;
    String::from_utf8(text).map_err(|error| Fault::corrupt(what, error))
}

/// Compact JSON without the zero character.
struct Clean;

impl Formatter for Clean {
    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        if matches!(escape, CharEscape::AsciiControl(0)) {
            writer.write_all(REPLACEMENT.as_bytes())
        } else {
            CompactFormatter.write_char_escape(writer, escape)
        }
    }
}

/// A stored document.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::corrupt(what, error))
}

/// A stored id or word of an enum.
pub(crate) fn word<T>(text: &str, what: &str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error| Fault::corrupt(what, error))
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, Fault> {
    Digest::try_from(bytes).map_err(|error| Fault::corrupt("digest", error))
}

/// A stored number that is never negative.
pub(crate) fn number<T: TryFrom<i64>>(value: i64, what: &str) -> Result<T, Fault> {
    T::try_from(value).map_err(|_| Fault::corrupt(what, format!("{value} is out of range")))
}

/// What a device may claim is as large as it likes; what we store ends at the largest integer of both databases.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// What takes the place of the zero character.
const REPLACEMENT: &str = "\u{fffd}";

/// Text from outside. PostgreSQL has no zero character in text, and nothing else ever needs one. Everything that is
/// bound as text goes through here; what travels as rows goes through [`fields`].
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', REPLACEMENT)) } else { Cow::Borrowed(text) }
}

/// The same for text that may be absent.
pub(crate) fn clean_some(text: Option<&String>) -> Option<String> {
    text.map(|text| clean(text).into_owned())
}

/// The positions of a part: the first, and the first beyond it.
pub(crate) fn range(part: Part) -> (i64, i64) {
    (part.from.into(), i64::from(part.from) + i64::from(part.count))
}

/// A row that is only an id.
#[derive(Serialize)]
pub(crate) struct Only<T> {
    pub(crate) id: T,
}

/// Splits work into rounds in which no key appears twice, so that one statement can serve a round: the second claim of
/// a job must see what the first has done.
pub(crate) fn rounds<T, K: std::hash::Hash + Eq>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<Vec<T>> {
    let mut seen = std::collections::HashMap::<K, usize>::new();
    let mut rounds: Vec<Vec<T>> = Vec::new();
    for item in items {
        let turn = seen.entry(key(&item)).or_default();
        if *turn == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*turn].push(item);
        *turn += 1;
    }
    rounds
}
