//! From evidence to a class.

use super::rules::{Pattern, Rule};
use super::{Class, Evidence, Failure, MAX_LINE, MAX_TEXT, Rules, Seen, Source};
use crate::outcome::Outcome;

/// By which a line of the system's log names a process of ours.
const OURS: [&str; 2] = ["seatrial", "/data/local/tmp/"];

/// The class of a failed attempt by these rules: of the first rule whose every condition holds. `None` exactly for what
/// has passed, or was cancelled: no text makes a pass of a failure.
#[must_use]
pub fn classify(evidence: &Evidence<'_>, rules: &Rules) -> Option<Failure> {
    if matches!(evidence.outcome, Outcome::Ok | Outcome::Cancelled) {
        return None;
    }
    let texts = Source::ALL.map(|source| (source, tail(evidence.text(source))));
    let found = rules.in_order.iter().find_map(|rule| Some((rule, rule.holds(evidence, &texts)?)));
    let (class, blame, seen) = match found {
        Some((rule, Held { seen })) => (rule.class, rule.blame, seen),
        None => (Class::Unknown, None, None),
    };
    let follows = rules.of(class);
    Some(Failure {
        class,
        stage: evidence.stage,
        blame: blame.unwrap_or(follows.blame),
        retryable: follows.retryable,
        quarantine: follows.quarantine,
        seen,
        rules: rules.version(),
    })
}

/// What made a rule hold.
struct Held {
    seen: Option<Seen>,
}

impl Rule {
    fn holds(&self, evidence: &Evidence<'_>, texts: &[(Source, &str)]) -> Option<Held> {
        let Self {
            class: _,
            blame: _,
            outcome,
            signal,
            code,
            stage,
            accelerator,
            boot_changed,
            our_kill,
            text,
            sources,
            ours,
        } = self;
        let holds = (outcome.is_empty() || outcome.iter().any(|word| word == evidence.outcome.class()))
            && among(signal, evidence.signal())
            && among(code, evidence.code())
            && among(stage, evidence.stage)
            && among(accelerator, evidence.accelerator)
            && (!boot_changed || evidence.boot_changed())
            && our_kill.is_none_or(|ours| ours == evidence.is_our_kill());
        if !holds {
            return None;
        }
        let Some(Pattern(pattern)) = text else { return Some(Held { seen: None }) };
        let mut allowed = texts.iter().filter(|(source, _)| sources.is_empty() || sources.contains(source));
        allowed.find_map(|(source, text)| {
            let speaks_of_it = |at: usize| !ours || names(line_around(text, at).0, evidence.pid);
            let found = pattern.find_iter(text).find(|found| speaks_of_it(found.start()))?;
            Some(Held { seen: Some(Seen { source: *source, line: line_at(text, found.start()) }) })
        })
    }
}

/// Whether a condition that lists values holds; one that lists none always does.
fn among<T: PartialEq>(listed: &[T], value: Option<T>) -> bool {
    listed.is_empty() || value.is_some_and(|value| listed.contains(&value))
}

impl<'a> Evidence<'a> {
    const fn text(&self, source: Source) -> &'a str {
        match source {
            Source::Output => self.output,
            Source::System => self.system,
            Source::Message => self.message,
        }
    }
}

fn tail(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(MAX_TEXT))..]
}

/// Whether a line of the system's log speaks of the process: by its number where that is known, else by words of ours.
fn names(line: &str, pid: Option<u32>) -> bool {
    let Some(pid) = pid.map(|pid| pid.to_string()) else { return OURS.iter().any(|word| line.contains(word)) };
    line.match_indices(&pid).any(|(at, _)| {
        let digit = |text: Option<char>| text.is_some_and(|sign| sign.is_ascii_digit());
        !digit(line[..at].chars().next_back()) && !digit(line[at + pid.len()..].chars().next())
    })
}

/// The line around this place, and where it begins.
fn line_around(text: &str, at: usize) -> (&str, usize) {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    (&text[start..end], start)
}

/// The line around this place; of a long one the part in which the place is.
fn line_at(text: &str, at: usize) -> String {
    let (line, start) = line_around(text, at);
    let from = if line.len() > MAX_LINE { (at - start).saturating_sub(MAX_LINE / 4) } else { 0 };
    let from = line.floor_char_boundary(from);
    let to = line.floor_char_boundary((from + MAX_LINE).min(line.len()));
    line[from..to].trim().to_owned()
}
