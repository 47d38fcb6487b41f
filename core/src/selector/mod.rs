//! Which devices a suite wants: a CEL expression over what was probed of a device and how operators labelled it.
//!
//! An expression is bounded before it is parsed and its names are known before it is evaluated, so that a typing error
//! is a fault of the suite and not a device that silently fails to match. Evaluation is total: it answers yes, no, or
//! why it cannot tell. What is deliberately absent: functions that build values, regular expressions, and loops
//! within loops; with them the cost of an expression would not be bounded by its length.

mod limits;
mod names;
mod variables;

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::{Program, Value};

pub use limits::{MAX_BYTES, MAX_DEPTH, MAX_TOKENS};
pub use variables::{VARIABLES, Variable};

use crate::store::DeviceRow;

/// Why an expression is no selector, or why it cannot tell about a device.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SelectorError {
    #[error("the selector has {length} bytes, and at most {MAX_BYTES} are read")]
    TooLong { length: usize },
    #[error("the selector has more than {MAX_TOKENS} words and signs")]
    TooManyTokens,
    #[error("the selector nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("the selector is not CEL: {message} (at character {column})")]
    Syntax { message: String, column: usize },
    #[error("unknown name `{name}` in the selector")]
    UnknownName { name: String, nearest: Option<String>, known: Vec<String> },
    #[error("{what} is not allowed in a selector")]
    NotAllowed { what: String, instead: String },
    #[error("the selector gives {found} instead of true or false")]
    NotBoolean { found: &'static str },
    /// The device lacks what the expression needs.
    #[error("the selector cannot be decided: {reason}")]
    Undecided { reason: String },
}

impl SelectorError {
    /// What would be right, for the hint below the message.
    #[must_use]
    pub fn suggestion(&self) -> Option<String> {
        match self {
            Self::UnknownName { nearest: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            Self::UnknownName { nearest: None, known, .. } => Some(format!("the names here are {}", known.join(", "))),
            Self::NotAllowed { instead, .. } => Some(instead.clone()),
            Self::NotBoolean { .. } => Some("compare with something, as in `cpu.count >= 4`".to_owned()),
            Self::TooLong { .. } | Self::TooManyTokens | Self::TooDeep => {
                Some("give the devices a common label and select by it".to_owned())
            }
            Self::Syntax { .. } | Self::Undecided { .. } => None,
        }
    }
}

/// A selector whose names and size are known to be right. The empty one selects every device.
#[derive(Clone)]
pub struct Selector {
    text: String,
    compiled: Option<Arc<Compiled>>,
}

struct Compiled {
    program: Program,
    used: names::Used,
}

impl Selector {
    /// Every device.
    #[must_use]
    pub const fn all() -> Self {
        Self { text: String::new(), compiled: None }
    }

    /// Reads an expression; a blank one selects every device.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        limits::check(text)?;
        if text.trim().is_empty() {
            return Ok(Self::all());
        }
        let program = compile(text)?;
        let used = names::check(program.expression())?;
        Ok(Self { text: text.to_owned(), compiled: Some(Arc::new(Compiled { program, used })) })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the device is selected. An error says what about this device cannot be decided.
    pub fn matches(&self, device: &DeviceRow) -> Result<bool, SelectorError> {
        let Some(compiled) = &self.compiled else { return Ok(true) };
        let Compiled { program, used } = compiled.as_ref();
        let context = variables::context(device, used);
        // The interpreter is another's code and a selector is a stranger's text: its panic must not become ours.
        match catch_unwind(AssertUnwindSafe(|| program.execute(&context))) {
            Ok(Ok(Value::Bool(selected))) => Ok(selected),
            Ok(Ok(other)) => Err(SelectorError::NotBoolean { found: kind_of(&other) }),
            Ok(Err(error)) => Err(SelectorError::Undecided { reason: variables::reason(device, used, &error) }),
            Err(_) => Err(SelectorError::Undecided { reason: "the interpreter failed".to_owned() }),
        }
    }

    /// The parts that must all hold, each a selector of its own: what stands between the outermost `&&`.
    /// A single part when there is no outermost `&&`.
    #[must_use]
    pub fn conjuncts(&self) -> Vec<Self> {
        let parts: Option<Vec<Self>> =
            limits::conjuncts(&self.text).into_iter().map(|part| Self::parse(part.trim()).ok()).collect();
        parts.unwrap_or_else(|| vec![self.clone()])
    }

    /// The names that the expression reads: `cpu.count`, `labels.shelf`.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<String> {
        self.compiled.as_ref().map(|compiled| compiled.used.names()).unwrap_or_default()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() { f.write_str("true") } else { f.write_str(&self.text) }
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({self})")
    }
}

impl PartialEq for Selector {
    /// Two selectors are equal when they are written alike.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn compile(text: &str) -> Result<Program, SelectorError> {
    match catch_unwind(AssertUnwindSafe(|| Program::compile(text))) {
        Ok(Ok(program)) => Ok(program),
        Ok(Err(errors)) => {
            let first = errors.errors.first();
            // The parser lists every token that could have stood there; what did is enough.
            let message = first.map_or("it cannot be read", |error| error.msg.as_str());
            let message = message.split(" expecting ").next().unwrap_or(message).trim_start_matches("Syntax error: ");
            let message = message.replace("mismatched input '<EOF>'", "it ends too early").chars().take(200).collect();
            let column = first.and_then(|error| usize::try_from(error.pos.1).ok()).map_or(1, |column| column.max(1));
            Err(SelectorError::Syntax { message, column })
        }
        Err(_) => Err(SelectorError::Syntax { message: "the parser failed".to_owned(), column: 1 }),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::String(_) => "a string",
        Value::List(_) => "a list",
        Value::Map(_) => "a group",
        Value::Null => "null",
        Value::Bytes(_) | Value::Function(..) | Value::Opaque(_) | Value::Struct(_) => "a value",
    }
}

#[cfg(test)]
mod tests;
