//! The suite that the form of a new run makes, as the text that the user could have written.

use std::fmt::Write as _;

/// What was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub name: String,
    /// Model and, when not all, its variants.
    pub models: Vec<(String, Vec<String>)>,
    pub datasets: Vec<String>,
    pub runtimes: Vec<String>,
    pub accelerators: Vec<String>,
    pub threads: Vec<u16>,
    pub profiles: Vec<String>,
    pub selector: String,
}

/// A TOML basic string.
fn string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| string(value)).collect();
    format!("[{}]", quoted.join(", "))
}

/// One value stands alone, several in a list: `threads = [1, 2]`.
fn one_or_many(values: &[String], quote: bool) -> String {
    let values: Vec<String> = values.iter().map(|value| if quote { string(value) } else { value.clone() }).collect();
    match values.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

pub(crate) fn text(choice: &Choice) -> String {
    let mut out = format!("name = {}\n", string(&choice.name));
    if !choice.selector.is_empty() {
        let _ = writeln!(out, "devices = {}", string(&choice.selector));
    }
    let whole: Vec<String> =
        choice.models.iter().filter(|(_, variants)| variants.is_empty()).map(|(name, _)| name.clone()).collect();
    let all_whole = whole.len() == choice.models.len();
    if all_whole {
        let _ = writeln!(out, "models = {}", list(&whole));
    }
    if !choice.datasets.is_empty() {
        let _ = writeln!(out, "datasets = {}", list(&choice.datasets));
    }
    if !choice.profiles.is_empty() {
        let _ = writeln!(out, "profiles = {}", list(&choice.profiles));
    }
    if !all_whole {
        for (name, variants) in &choice.models {
            let _ = write!(out, "\n[[models]]\nname = {}\n", string(name));
            if !variants.is_empty() {
                let _ = writeln!(out, "variants = {}", list(variants));
            }
        }
    }
    out.push_str("\n[[backends]]\n");
    if !choice.runtimes.is_empty() {
        let _ = writeln!(out, "runtime = {}", one_or_many(&choice.runtimes, true));
    }
    if !choice.accelerators.is_empty() {
        let _ = writeln!(out, "accelerator = {}", one_or_many(&choice.accelerators, true));
    }
    if !choice.threads.is_empty() {
        let threads: Vec<String> = choice.threads.iter().map(u16::to_string).collect();
        let _ = writeln!(out, "threads = {}", one_or_many(&threads, false));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> Choice {
        Choice {
            name: "try \"it\"\\\n".to_owned(),
            models: vec![
                ("digits-cnn".to_owned(), vec!["fp32".to_owned(), "int8".to_owned()]),
                ("b".to_owned(), vec![]),
            ],
            datasets: vec!["digits".to_owned()],
            runtimes: vec!["tract".to_owned()],
            accelerators: vec!["cpu".to_owned()],
            threads: vec![1, 2],
            profiles: vec!["quick".to_owned()],
            selector: "device.gpu == \"Adreno 830\"".to_owned(),
        }
    }

    #[test]
    fn what_was_chosen_reads_back_from_the_text() {
        let table: toml::Table = toml::from_str(&text(&choice())).expect("the suite is TOML");
        assert_eq!(table["name"].as_str(), Some("try \"it\"\\\n"));
        assert_eq!(table["devices"].as_str(), Some("device.gpu == \"Adreno 830\""));
        assert_eq!(table["models"][0]["variants"].as_array().map(Vec::len), Some(2));
        assert!(table["models"][1].get("variants").is_none());
        assert_eq!(table["backends"][0]["threads"].as_array().map(Vec::len), Some(2));
        assert_eq!(table["backends"][0]["runtime"].as_str(), Some("tract"));
    }

    #[test]
    fn models_without_chosen_variants_are_names() {
        let whole = Choice { models: vec![("a".to_owned(), vec![])], ..choice() };
        let table: toml::Table = toml::from_str(&text(&whole)).unwrap();
        assert_eq!(table["models"][0].as_str(), Some("a"));
    }
}
