//! From evidence to a class.

use super::rules::{Pattern, Rule};
use super::{Class, Evidence, Failure, MAX_LINE, MAX_TEXT, Rules, Seen, Source};
use crate::outcome::Outcome;

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
            let found = pattern.find(text)?;
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

/// The line around this place; of a long one the part in which the place is.
fn line_at(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    let line = &text[start..end];
    let from = if line.len() > MAX_LINE { (at - start).saturating_sub(MAX_LINE / 4) } else { 0 };
    let from = line.floor_char_boundary(from);
    let to = line.floor_char_boundary((from + MAX_LINE).min(line.len()));
    line[from..to].trim().to_owned()
}
