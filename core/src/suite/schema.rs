//! Checks a TOML document against a JSON schema and words each fault for the person who wrote the file.
//!
//! Only the keywords that `schemars` writes for our own types are known; a test over all of them keeps a new keyword
//! from being ignored in silence.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::DeValue;

use super::document::Reporter;
use super::problem::{nearest, one_of};

/// What a value is, as far as a schema tells values apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    List,
    Table,
    Date,
}

impl Kind {
    fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(_) => Self::Text,
            DeValue::Integer(_) => Self::Integer,
            DeValue::Float(_) => Self::Number,
            DeValue::Boolean(_) => Self::Boolean,
            DeValue::Datetime(_) => Self::Date,
            DeValue::Array(_) => Self::List,
            DeValue::Table(_) => Self::Table,
        }
    }

    const fn singular(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::List => "a list",
            Self::Table => "a table",
            Self::Date => "a date",
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Text => "strings",
            Self::Integer => "integers",
            Self::Number => "numbers",
            Self::Boolean => "true or false",
            Self::List => "lists",
            Self::Table => "tables",
            Self::Date => "dates",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "string" => Some(Self::Text),
            "integer" => Some(Self::Integer),
            "number" => Some(Self::Number),
            "boolean" => Some(Self::Boolean),
            "array" => Some(Self::List),
            "object" => Some(Self::Table),
            _ => None,
        }
    }

    /// Whether a value of this kind may stand where the schema asks for `asked`.
    fn serves_as(self, asked: Self) -> bool {
        self == asked || (self == Self::Integer && asked == Self::Number)
    }
}

/// One way in which a value may be written: a schema without references and choices.
struct Form<'s> {
    kind: Kind,
    schema: &'s Map<String, Value>,
}

impl Form<'_> {
    /// The words that a string may be, if it is not free.
    fn words(&self) -> Option<Vec<&str>> {
        if let Some(word) = self.schema.get("const").and_then(Value::as_str) {
            return Some(vec![word]);
        }
        let words = self.schema.get("enum")?.as_array()?;
        Some(words.iter().filter_map(Value::as_str).collect())
    }
}

pub(super) struct Checker<'s, 'r, 't> {
    root: &'s Value,
    reporter: &'r mut Reporter<'t>,
}

impl<'s, 'r, 't> Checker<'s, 'r, 't> {
    pub(super) fn new(root: &'s Value, reporter: &'r mut Reporter<'t>) -> Self {
        Self { root, reporter }
    }

    pub(super) fn check_root(mut self, value: &Spanned<DeValue<'_>>) {
        self.check(value, self.root, "");
    }

    fn check(&mut self, value: &Spanned<DeValue<'_>>, schema: &'s Value, path: &str) {
        let offset = value.span().start;
        self.reporter.remember(path, offset);
        let forms = forms(self.root, schema);
        let kind = Kind::of(value.get_ref());
        let fitting: Vec<&Form<'_>> = forms.iter().filter(|form| kind.serves_as(form.kind)).collect();
        let Some(form) = fitting.first() else {
            let message =
                format!("{}expected {}, found {}", subject(path), describe(self.root, &forms), kind.singular());
            self.reporter.at_offset(offset, message, None);
            return;
        };
        match value.get_ref() {
            DeValue::String(text) => self.check_text(text, offset, &fitting, path),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => self.check_number(number as f64, integer.as_str(), offset, form.schema, path),
                Err(_) => {
                    self.reporter.at_offset(offset, format!("{}the number has too many digits", subject(path)), None);
                }
            },
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => {
                    self.check_number(number, float.as_str(), offset, form.schema, path);
                }
                Ok(_) | Err(_) => {
                    self.reporter.at_offset(offset, format!("{}expected a finite number", subject(path)), None);
                }
            },
            DeValue::Array(items) => {
                self.check_count(items.len(), offset, form.schema, path);
                if let Some(schema) = form.schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.check(item, schema, &format!("{path}[{index}]"));
                    }
                }
            }
            DeValue::Table(table) => self.check_table(table, offset, form.schema, path),
            DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn check_text(&mut self, text: &str, offset: usize, forms: &[&Form<'_>], path: &str) {
        let words: Option<Vec<Vec<&str>>> = forms.iter().map(|form| form.words()).collect();
        match words {
            Some(words) => {
                let words = words.concat();
                if !words.contains(&text) {
                    let suggestion =
                        nearest(text, words.iter().copied()).map(|word| format!("did you mean \"{word}\"?"));
                    let message = format!("{}unknown value {text:?}: expected {}", subject(path), one_of(words));
                    self.reporter.at_offset(offset, message, suggestion);
                }
            }
            None => {
                for form in forms {
                    let length = text.chars().count() as u64;
                    let bound = |key| form.schema.get(key).and_then(Value::as_u64);
                    if bound("minLength").is_some_and(|least| length < least) {
                        self.reporter.at_offset(offset, format!("{}the text is empty", subject(path)), None);
                    }
                    if let Some(most) = bound("maxLength").filter(|&most| length > most) {
                        let message = format!(
                            "{}the text has {length} characters, and at most {most} are allowed",
                            subject(path)
                        );
                        self.reporter.at_offset(offset, message, None);
                    }
                }
            }
        }
    }

    fn check_number(&mut self, number: f64, written: &str, offset: usize, schema: &Map<String, Value>, path: &str) {
        let bound = |key| schema.get(key).and_then(Value::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        let above = bound("exclusiveMinimum");
        let too_small = least.is_some_and(|least| number < least) || above.is_some_and(|above| number <= above);
        if too_small || most.is_some_and(|most| number > most) {
            let range = match (least, above, most) {
                (Some(least), _, Some(most)) => format!("{least} to {most}"),
                (Some(least), _, None) => format!("{least} or more"),
                (None, Some(above), Some(most)) => format!("more than {above}, at most {most}"),
                (None, Some(above), None) => format!("more than {above}"),
                (None, None, Some(most)) => format!("at most {most}"),
                (None, None, None) => "a number".to_owned(),
            };
            let message = format!("{}{written} is out of range: expected {range}", subject(path));
            self.reporter.at_offset(offset, message, None);
        }
    }

    fn check_count(&mut self, count: usize, offset: usize, schema: &Map<String, Value>, path: &str) {
        let bound = |key| schema.get(key).and_then(Value::as_u64);
        let (least, most, count) = (bound("minItems"), bound("maxItems"), count as u64);
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let found =
                if count == 0 { "the list is empty".to_owned() } else { format!("the list has {count} entries") };
            let expected = match (least, most) {
                (Some(least), Some(most)) if least == most => format!("exactly {least}"),
                (Some(least), Some(most)) => format!("{least} to {most}"),
                (Some(least), None) => format!("at least {least}"),
                (None, Some(most)) => format!("at most {most}"),
                (None, None) => "any number".to_owned(),
            };
            self.reporter.at_offset(offset, format!("{}{found}: expected {expected}", subject(path)), None);
        }
    }

    fn check_table(
        &mut self,
        table: &toml::de::DeTable<'_>,
        offset: usize,
        schema: &'s Map<String, Value>,
        path: &str,
    ) {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        for (key, value) in table {
            let inner = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            let expected = known.and_then(|known| known.get(key.get_ref().as_ref())).or(others);
            match expected {
                Some(expected) => self.check(value, expected, &inner),
                None => self.unknown_key(key.get_ref(), key.span().start, known, path),
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            if !table.iter().any(|(present, _)| present.get_ref() == key) {
                self.reporter.at_offset(offset, format!("{}key `{key}` is missing", subject(path)), None);
            }
        }
    }

    fn unknown_key(&mut self, key: &str, offset: usize, known: Option<&Map<String, Value>>, path: &str) {
        let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let suggestion = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys here are {}", known.join(", ")),
        };
        self.reporter.at_offset(offset, format!("{}unknown key `{}`", subject(path), shown(key)), Some(suggestion));
    }
}

/// Every way in which the schema lets a value be written; `null` is not one of them, for TOML has none.
fn forms<'s>(root: &'s Value, schema: &'s Value) -> Vec<Form<'s>> {
    let Some(object) = schema.as_object() else { return Vec::new() };
    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
        let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or_else(Vec::new, |target| forms(root, target));
    }
    if let Some(choices) = object.get("anyOf").or_else(|| object.get("oneOf")).and_then(Value::as_array) {
        return choices.iter().flat_map(|choice| forms(root, choice)).collect();
    }
    let names = match object.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    names.into_iter().filter_map(Kind::named).map(|kind| Form { kind, schema: object }).collect()
}

/// What was expected, in words: `an integer or a list of integers`.
fn describe(root: &Value, forms: &[Form<'_>]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let words: Vec<&str> = forms.iter().filter_map(Form::words).flatten().collect();
    for form in forms {
        let part = if form.kind == Kind::Text && !words.is_empty() {
            one_of(words.iter().copied())
        } else if form.kind == Kind::List {
            format!("a list of {}", describe_items(root, form.schema))
        } else {
            form.kind.singular().to_owned()
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join(" or ")
}

fn describe_items(root: &Value, schema: &Map<String, Value>) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for form in schema.get("items").map_or_else(Vec::new, |items| forms(root, items)) {
        if !parts.contains(&form.kind.plural()) {
            parts.push(form.kind.plural());
        }
    }
    parts.join(" or ")
}

/// The key that a message is about, as its beginning.
fn subject(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("`{}`: ", shown(path)) }
}

/// A text from the file, short and without control characters.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        short.push('…');
    }
    short
}
