//! From the rule file as it is written to a rule: patterns are compiled, placeholders known, and everything is judged
//! that a schema cannot say.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::call::{Placeholder, Word, Words};
use super::file::{AcceleratorTable, PrecisionEntry, RuleFile, TakeEntry, TakeTable, WordEntry};
use super::take::{How, Source, Take};
use super::{AcceleratorRule, FailureRule, PrecisionRule, Rule, ToldRule};
use crate::backend::Accelerator;
use crate::suite::document::Reporter;
use crate::suite::problem::suggest;

/// Bytes that one compiled pattern may take.
const MAX_PATTERN_SIZE: usize = 1 << 20;

struct Resolver<'r, 't> {
    reporter: &'r mut Reporter<'t>,
    files: Vec<String>,
    has_viewer: bool,
}

/// `None` when a part could not be made; then the reporter says why.
pub(super) fn resolve(written: RuleFile, reporter: &mut Reporter<'_>) -> Option<Rule> {
    let RuleFile { name, written_for, formats, call, accelerators, version, threads, stages, samples, told, failures } =
        written;
    let has_viewer = call.viewer.is_some();
    let mut resolver = Resolver { reporter, files: call.files, has_viewer };
    resolver.judge_names(&name, &written_for);
    let arguments = resolver.all_words(call.arguments, "call.arguments");
    let viewer = call.viewer.map(|words| resolver.all_words(words, "call.viewer"));
    let environment = call.environment.into_iter().map(|(name, value)| {
        let path = format!("call.environment.{name}");
        if !is_variable(&name) {
            resolver.reporter.at(&path, format!("`{path}`: expected the name of a variable"), None);
        }
        Some((name, resolver.word(&value, &path)?))
    });
    let environment: Option<Vec<_>> = environment.collect();
    let tables = [
        (Accelerator::Cpu, accelerators.cpu),
        (Accelerator::Gpu, accelerators.gpu),
        (Accelerator::Npu, accelerators.npu),
    ];
    let accelerators = tables.into_iter().filter_map(|(accelerator, table)| Some((accelerator, table?)));
    let accelerators: Option<_> =
        accelerators.map(|(which, table)| Some((which, resolver.accelerator(which, table)?))).collect();
    let version = resolver.optional(version, "version", &["version"]);
    let threads = resolver.optional(threads, "threads", &["value"]);
    let stages = stages.into_iter().enumerate().map(|(index, table)| {
        Some((table.stage.stage(), resolver.pattern(&table.pattern, &format!("stages[{index}].pattern"), &[])?))
    });
    let stages: Option<Vec<_>> = stages.collect();
    let samples = match samples {
        None => Some(None),
        Some(table) => {
            if table.unit.nanoseconds().is_none() {
                let message = format!("`samples.unit`: {} is no unit of time", table.unit);
                resolver.reporter.at("samples.unit", message, Some("samples are in ns, us, ms or s".to_owned()));
            }
            resolver.take(table.values, "samples.values", &["value"]).map(|take| Some((table.unit, take)))
        }
    };
    if samples.as_ref().is_some_and(Option::is_none) && !told.iter().any(|figure| figure.required) {
        let hint = "add `samples`, or `required = true` to the figure that it never leaves out".to_owned();
        resolver.reporter.at("told", "nothing says that a run has measured anything", Some(hint));
    }
    let mut names = BTreeSet::new();
    let told = told.into_iter().enumerate().map(|(index, table)| {
        let path = format!("told[{index}]");
        if !is_word(&table.name) || !names.insert(table.name.clone()) {
            let message = format!("`{path}.name`: expected a name of its own, in lower-case letters, digits and _");
            resolver.reporter.at(&format!("{path}.name"), message, None);
        }
        let value = resolver.take(table.value, &format!("{path}.value"), &["value"])?;
        Some(ToldRule { name: table.name, unit: table.unit, value, required: table.required })
    });
    let told: Option<Vec<_>> = told.collect();
    let failures = failures.into_iter().enumerate().map(|(index, table)| {
        let found = resolver.take(table.found, &format!("failures[{index}].found"), &[])?;
        Some(FailureRule { class: table.class, found, advice: table.advice })
    });
    let failures: Option<Vec<_>> = failures.collect();
    let rule = Rule {
        name,
        written_for,
        formats,
        arguments: arguments?,
        environment: environment?,
        files: resolver.files.clone(),
        viewer: match viewer {
            Some(viewer) => Some(viewer?),
            None => None,
        },
        accelerators: accelerators?,
        version: version?,
        threads: threads?,
        stages: stages?,
        samples: samples?,
        told: told?,
        failures: failures?,
    };
    resolver.judge_precisions(&rule);
    Some(rule)
}

impl Resolver<'_, '_> {
    fn judge_names(&mut self, name: &str, written_for: &[String]) {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            let message = "`name`: expected letters, digits, '.', '_' and '-'";
            self.reporter.at("name", message, None);
        }
        if written_for.iter().any(|version| version.is_empty() || version.len() > 64) {
            self.reporter.at("written_for", "`written_for`: expected versions of at most 64 bytes", None);
        }
        for index in 0..self.files.len() {
            let file = &self.files[index];
            if file.is_empty() || file.len() > 100 || file.starts_with('.') || file.contains(['/', '\\', '\0']) {
                let path = format!("call.files[{index}]");
                self.reporter.at(&path, format!("`{path}`: expected a plain name in the output folder"), None);
            }
        }
    }

    fn accelerator(&mut self, which: Accelerator, table: AcceleratorTable) -> Option<AcceleratorRule> {
        let path = format!("accelerators.{}", which.as_str());
        if which != Accelerator::Cpu && table.ran.is_empty() {
            let hint =
                "list what it prints only when it runs there: else a run on the CPU would pass for one".to_owned();
            self.reporter.at(&path, format!("`{path}`: key `ran` is missing"), Some(hint));
        }
        let AcceleratorTable { word, threads, arguments, precision, ran, fallback, whole, doubt, delegated } = table;
        let precision = match precision {
            None => PrecisionRule::Unknown,
            Some(PrecisionEntry::Own(word)) => {
                if word != "model" {
                    let path = format!("{path}.precision");
                    let hint = "\"model\", or a table such as { fp32 = \"0\", fp16 = \"1\" }".to_owned();
                    self.reporter.at(&path, format!("`{path}`: {word:?} is nothing to compute in"), Some(hint));
                }
                PrecisionRule::Own
            }
            Some(PrecisionEntry::Words(words)) => PrecisionRule::Words(words),
        };
        let arguments = arguments.iter().enumerate();
        let arguments: Option<Vec<Word>> =
            arguments.map(|(index, word)| self.word(word, &format!("{path}.arguments[{index}]"))).collect();
        let ran = self.takes(ran, &format!("{path}.ran"));
        let fallback = self.takes(fallback, &format!("{path}.fallback"));
        let told = [!whole.is_empty(), doubt.is_some(), !delegated.is_empty()].into_iter().filter(|told| *told).count();
        if which != Accelerator::Cpu && (told == 0 || (told > 1 && doubt.is_some())) {
            let message = format!("`{path}`: nothing says how it is known that every node ran there");
            let hint = "one of `delegated` (it tells how many), `whole` (what it prints only then), `doubt` (why nobody \
                        can know; then every run is a fallback)";
            self.reporter.at(&path, message, Some(hint.to_owned()));
        }
        let whole = self.takes(whole, &format!("{path}.whole"));
        let delegated = delegated.into_iter().enumerate();
        let delegated: Option<Vec<Take>> =
            delegated.map(|(index, entry)| self.share(entry, &format!("{path}.delegated[{index}]"))).collect();
        let (arguments, ran, fallback, whole, delegated) = (arguments?, ran?, fallback?, whole?, delegated?);
        Some(AcceleratorRule { word, threads, arguments, precision, ran, fallback, whole, doubt, delegated })
    }

    /// Words for a precision and the place for them go together.
    fn judge_precisions(&mut self, rule: &Rule) {
        for (which, accelerator) in &rule.accelerators {
            let path = format!("accelerators.{}", which.as_str());
            let of_its_own = accelerator.arguments.iter().any(|word| word.uses(&Placeholder::Precision));
            let placed = of_its_own || rule.uses(&Placeholder::Precision);
            match (&accelerator.precision, placed) {
                (PrecisionRule::Words(_), false) => {
                    let hint = "put {precision} where the program is told".to_owned();
                    let path = format!("{path}.precision");
                    self.reporter.at(&path, format!("`{path}`: no argument uses these words"), Some(hint));
                }
                (PrecisionRule::Unknown | PrecisionRule::Own, true) => {
                    let hint = "say what {precision} stands for, as in { fp32 = \"0\", fp16 = \"1\" }".to_owned();
                    self.reporter.at(&path, format!("`{path}`: key `precision` is missing"), Some(hint));
                }
                (PrecisionRule::Words(_), true) | (PrecisionRule::Unknown | PrecisionRule::Own, false) => {}
            }
        }
    }

    /// A share has two forms, so that its groups are judged here.
    fn share(&mut self, entry: TakeEntry, path: &str) -> Option<Take> {
        let take = self.take(entry, path, &["on"])?;
        let whole = match &take.how {
            How::Pattern { pattern, .. } => {
                pattern.capture_names().flatten().any(|name| name == "of" || name == "rest")
            }
            How::Pointer(_) => false,
        };
        if !whole {
            let message = format!("`{path}`: expected a pattern with the groups `on` and `of`, or `on` and `rest`");
            self.reporter.at(path, message, None);
        }
        Some(take)
    }

    fn all_words(&mut self, entries: Vec<WordEntry>, path: &str) -> Option<Vec<Words>> {
        let words = entries.into_iter().enumerate().map(|(index, entry)| {
            let path = format!("{path}[{index}]");
            Some(match entry {
                WordEntry::Word(text) => Words { words: vec![self.word(&text, &path)?], optional: false },
                WordEntry::Group(texts) => {
                    let words: Option<Vec<Word>> = texts.iter().map(|text| self.word(text, &path)).collect();
                    Words { words: words?, optional: true }
                }
            })
        });
        words.collect()
    }

    fn word(&mut self, text: &str, path: &str) -> Option<Word> {
        if text.contains('\0') {
            self.reporter.at(path, format!("`{path}`: a word holds no NUL"), None);
            return None;
        }
        Word::parse(text)
            .map_err(|why| {
                let hint = format!("the placeholders are {{{}}}", Placeholder::NAMES.join("}, {"));
                self.reporter.at(path, format!("`{path}`: {why}"), Some(hint));
            })
            .ok()
    }

    fn takes(&mut self, entries: Vec<TakeEntry>, path: &str) -> Option<Vec<Take>> {
        entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| self.take(entry, &format!("{path}[{index}]"), &[]))
            .collect()
    }

    #[expect(clippy::option_option, reason = "absent is well; what is there and cannot be read is none at all")]
    fn optional(&mut self, entry: Option<TakeEntry>, path: &str, groups: &[&str]) -> Option<Option<Take>> {
        match entry {
            None => Some(None),
            Some(entry) => self.take(entry, path, groups).map(Some),
        }
    }

    fn take(&mut self, entry: TakeEntry, path: &str, groups: &[&str]) -> Option<Take> {
        let table = match entry {
            TakeEntry::Pattern(pattern) => {
                let how = How::Pattern { pattern: self.pattern(&pattern, path, groups)?, after: None };
                return Some(Take { from: Source::Output, how });
            }
            TakeEntry::Table(table) => table,
        };
        let TakeTable { from, pattern, after, pointer } = table;
        let from = match from {
            None => Some(Source::Output),
            Some(name) => self.source(&name, &format!("{path}.from")),
        };
        let how = match (pattern, after, pointer) {
            (Some(pattern), after, None) => {
                let pattern = self.pattern(&pattern, &format!("{path}.pattern"), groups);
                let after = after.map(|after| self.pattern(&after, &format!("{path}.after"), &[]));
                How::Pattern { pattern: pattern?, after: after.map_or(Some(None), |after| after.map(Some))? }
            }
            (None, None, Some(pointer)) if pointer.is_empty() || pointer.starts_with('/') => How::Pointer(pointer),
            (None, None, Some(_)) => {
                let path = format!("{path}.pointer");
                let hint = "as in \"/0/samples_ns\" (RFC 6901)".to_owned();
                self.reporter.at(&path, format!("`{path}`: a JSON pointer begins with /"), Some(hint));
                return None;
            }
            (_, _, _) => {
                let hint = "a pattern may have `after`; a pointer stands alone".to_owned();
                self.reporter.at(path, format!("`{path}`: expected either `pattern` or `pointer`"), Some(hint));
                return None;
            }
        };
        Some(Take { from: from?, how })
    }

    fn source(&mut self, name: &str, path: &str) -> Option<Source> {
        Some(match name {
            "stdout" => Source::Stdout,
            "stderr" => Source::Stderr,
            "output" => Source::Output,
            "viewer" if self.has_viewer => Source::Viewer,
            "viewer" => {
                let hint = "give the viewer's arguments in `call.viewer`".to_owned();
                self.reporter.at(path, format!("`{path}`: the rule file calls no viewer"), Some(hint));
                return None;
            }
            other => match other.strip_prefix("file:") {
                Some(file) if self.files.iter().any(|known| known == file) => Source::File(file.to_owned()),
                Some(file) => {
                    let known = self.files.iter().map(String::as_str);
                    let hint = suggest(file, known, "name it in `call.files`; there are");
                    self.reporter.at(path, format!("`{path}`: {file:?} is no file of `call.files`"), Some(hint));
                    return None;
                }
                None => {
                    let known = ["stdout", "stderr", "output", "viewer", "file:NAME"].into_iter();
                    self.reporter.at(
                        path,
                        format!("`{path}`: {other:?} is no source"),
                        Some(suggest(other, known, "use")),
                    );
                    return None;
                }
            },
        })
    }

    /// A pattern in which `^` and `$` are the ends of lines, with the groups that are read.
    fn pattern(&mut self, text: &str, path: &str, groups: &[&str]) -> Option<Regex> {
        let built = RegexBuilder::new(text).multi_line(true).size_limit(MAX_PATTERN_SIZE).build();
        let pattern = built
            .map_err(|error| {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim().to_owned();
                self.reporter.at(path, format!("`{path}`: is no regular expression: {why}"), None);
            })
            .ok()?;
        for group in groups {
            if !pattern.capture_names().flatten().any(|name| name == *group) {
                let hint = format!("put (?<{group}>…) around what is read");
                self.reporter.at(path, format!("`{path}`: the pattern has no group `{group}`"), Some(hint));
            }
        }
        Some(pattern)
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !name.starts_with("SEATRIAL_")
}
