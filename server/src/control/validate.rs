//! What names, labels and texts of a caller may be.

use std::collections::BTreeMap;
use std::str::FromStr;

use seatrial_core::device::Labels;
use seatrial_core::digest::Digest;
use seatrial_proto::v1;
use serde::de::DeserializeOwned;

use crate::error::Error;

pub(super) const MAX_NAME: usize = 100;
const MAX_TEXT: usize = 2000;
const MAX_LABELS: usize = 64;
const MAX_LABEL_KEY: usize = 64;
const MAX_LABEL_VALUE: usize = 256;
const MAX_FILE_NAME: usize = 255;
/// Bytes of a JSON document within a message.
const MAX_JSON: usize = 1 << 20;

/// A name that can stand in a suite, an address and a file name: ASCII letters, digits, `.`, `_` and `-`.
pub(super) fn name(field: &str, text: &str) -> Result<String, Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let starts_plain = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_plain && text.len() <= MAX_NAME && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    let why = format!(
        "{:?} is not a name (1 to {MAX_NAME} ASCII letters, digits, \".\", \"_\", \"-\", the first a letter or digit)",
        shown(text)
    );
    Err(Error::field(field, why))
}

/// A name for people: any script, no control characters.
pub(super) fn title(field: &str, text: &str) -> Result<String, Error> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > MAX_NAME || text.chars().any(char::is_control) {
        let why =
            format!("{:?} is not a name (1 to {MAX_NAME} characters, none of them control characters)", shown(text));
        return Err(Error::field(field, why));
    }
    Ok(text.to_owned())
}

/// An optional line of text; empty counts as absent.
pub(super) fn text(field: &str, text: Option<String>) -> Result<Option<String>, Error> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.len() > MAX_TEXT || text.chars().any(|c| c.is_control() && c != '\n') {
        let why = format!("at most {MAX_TEXT} bytes without control characters are accepted");
        return Err(Error::field(field, why));
    }
    Ok(Some(text))
}

pub(super) fn labels(field: &str, labels: Vec<v1::Label>) -> Result<Labels, Error> {
    if labels.len() > MAX_LABELS {
        return Err(Error::field(field, format!("{} labels; at most {MAX_LABELS} are accepted", labels.len())));
    }
    let mut map = BTreeMap::new();
    for (index, v1::Label { key, value }) in labels.into_iter().enumerate() {
        let field = format!("{field}[{index}]");
        let is_identifier = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_identifier || key.len() > MAX_LABEL_KEY {
            let why = format!(
                "{:?} is not a label key (1 to {MAX_LABEL_KEY} ASCII letters, digits and \"_\", no digit first)",
                shown(&key)
            );
            return Err(Error::field(format!("{field}.key"), why));
        }
        if value.len() > MAX_LABEL_VALUE || value.chars().any(char::is_control) {
            let why = format!("at most {MAX_LABEL_VALUE} bytes without control characters are accepted");
            return Err(Error::field(format!("{field}.value"), why));
        }
        if map.insert(key.clone(), value).is_some() {
            return Err(Error::field(format!("{field}.key"), format!("{key:?} is given twice")));
        }
    }
    Ok(map)
}

/// A flat file name: what an engine finds in the attempt's own folder, and never a way out of it.
pub(super) fn file_name(field: &str, text: &str) -> Result<String, Error> {
    let is_flat = !text.is_empty()
        && text.len() <= MAX_FILE_NAME
        && !text.starts_with('.')
        && !text.contains(['/', '\\', ':'])
        && !text.chars().any(char::is_control);
    if is_flat {
        return Ok(text.to_owned());
    }
    let why =
        format!("{:?} is not a flat file name (no path, no leading dot, at most {MAX_FILE_NAME} bytes)", shown(text));
    Err(Error::field(field, why))
}

pub(super) fn digest(field: &str, bytes: &[u8]) -> Result<Digest, Error> {
    Digest::try_from(bytes)
        .map_err(|_| Error::field(field, format!("{} bytes are not a BLAKE3 digest of 32", bytes.len())))
}

/// A word of one of our enums.
pub(super) fn word<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| Error::field(field, error))
}

/// A JSON document within a message; the error names the key at fault.
pub(super) fn json<T: DeserializeOwned>(field: &str, text: &str) -> Result<T, Error> {
    if text.len() > MAX_JSON {
        return Err(Error::field(field, format!("{} bytes; at most {MAX_JSON} are accepted", text.len())));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { field.to_owned() } else { format!("{field}.{path}") };
        Error::field(at, error.into_inner())
    })
}

/// The beginning of what a caller sent, for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_suite_or_an_address_are_refused() {
        for good in ["digits-cnn", "a", "9", "v1.2_b"] {
            assert_eq!(name("name", good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", ".", "a b", "a/b", "a@1", "é", "a\n", &"a".repeat(101)] {
            assert_eq!(name("name", bad).unwrap_err().field.as_deref(), Some("name"), "{bad:?}");
        }
    }

    #[test]
    fn a_file_name_never_leads_anywhere() {
        for good in ["model.onnx", "model (1).bin", "模型.onnx"] {
            assert!(file_name("f", good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "..\\b", "c:d", "nul\0", &"a".repeat(256)] {
            assert!(file_name("f", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_bounded_unique_and_usable_in_a_selector() {
        let label = |key: &str, value: &str| v1::Label { key: key.into(), value: value.into() };
        assert_eq!(labels("labels", vec![label("shelf", "A3")]).unwrap()["shelf"], "A3");
        let refused = |labels_: Vec<v1::Label>| labels("labels", labels_).unwrap_err().field.unwrap();
        assert_eq!(refused(vec![label("a", ""), label("a", "")]), "labels[1].key");
        assert_eq!(refused(vec![label("rack-1", "x")]), "labels[0].key");
        assert_eq!(refused(vec![label("a", "\u{7}")]), "labels[0].value");
        assert_eq!(refused((0..65).map(|n| label(&format!("a{n}"), "")).collect()), "labels");
    }

    #[test]
    fn a_fault_in_json_names_the_key() {
        let error = json::<seatrial_core::dataset::Binding>("bindings[0].binding_json", r#"{"inputs":[{"tensor":3}]}"#);
        assert_eq!(error.unwrap_err().field.as_deref(), Some("bindings[0].binding_json.inputs[0].tensor"));
    }
}
