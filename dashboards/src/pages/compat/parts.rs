//! The matrix and its lists as markup, for the page and for the file that goes to others.

use seatrial_core::reading::Reading;

use crate::compat::{Against, By, Cell, Cells, Compat, Device, Entry, Standing};
use crate::format::{DASH, count};
use crate::html::{self, Html, escape, glyph};
use crate::i18n::Words;
use crate::status::{self, Status};
use crate::visit::{Setting, encode};

/// Cells that a page shows.
const MOST_CELLS: usize = 4000;

/// Where a cell leads.
pub(super) enum Target<'a> {
    /// To the page itself, with what is behind the cell.
    Page(&'a Setting),
    /// To the line of the failure in the same file, which lists these.
    File(&'a [&'a Entry]),
}

/// Devices of one value of the trait by which they are grouped.
pub(super) struct Group {
    pub name: String,
    pub devices: Vec<Head>,
}

/// Head of a column.
pub(super) struct Head {
    pub name: String,
    pub note: String,
    pub href: String,
}

pub(super) struct Row {
    pub model: String,
    pub href: String,
    pub cells: Vec<Html>,
}

/// A combination in a list.
pub(super) struct Line {
    /// By which a cell of a file leads to it.
    pub anchor: String,
    pub status: Html,
    pub model: String,
    pub device: String,
    pub backend: String,
    /// Why the text of the backend cannot be read; empty when it can.
    pub unread: String,
    pub dataset: String,
    pub stage: String,
    /// Class and what it means; empty of what did not fail.
    pub class: String,
    pub meaning: String,
    pub blame: String,
    /// The line that decided, the message, or the reason.
    pub evidence: String,
    pub advice: String,
    pub attempts: String,
    pub job: Option<(String, String)>,
}

pub(super) fn groups(matrix: &Compat, by: By, words: Words) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for device in &matrix.devices {
        let name = match by.of(&device.traits) {
            Reading::Present(name) => name.clone(),
            Reading::Absent(_) => words.t("compat.not_told").into_owned(),
        };
        let head = head(device, by);
        match groups.last_mut().filter(|group| group.name == name) {
            Some(group) => group.devices.push(head),
            None => groups.push(Group { name, devices: vec![head] }),
        }
    }
    groups
}

fn head(device: &Device, by: By) -> Head {
    let traits = &device.traits;
    // What the group does not say already.
    let note = match by {
        By::Gpu => traits.gpu.present().or(traits.soc.present()),
        By::Soc => traits.gpu.present(),
        By::Brand | By::Rom => traits.soc.present(),
    };
    Head { name: device.name.clone(), note: note.cloned().unwrap_or_default(), href: format!("/devices/{}", device.id) }
}

/// As many rows as fit, and what is left out.
pub(super) fn rows(
    matrix: &Compat,
    cells: &Cells<'_>,
    against: Option<&Against>,
    target: &Target<'_>,
    words: Words,
) -> (Vec<Row>, String) {
    let most = (MOST_CELLS / matrix.devices.len().max(1)).max(1);
    let rows = matrix.rows.iter().take(most).map(|row| {
        let entries_of = |device: &Device| cells.get(&(row.model.as_str(), row.variant.as_str(), device.id));
        let cell = |device: &Device| {
            let Some(cell) = entries_of(device).and_then(|entries| Cell::of(entries)) else { return Html::default() };
            let difference = against.and_then(|against| against.of_cell(&row.model, &row.variant, device.id));
            let was = difference.map(|one| (one.change.looks(), one.was));
            markup(&row.model, &row.variant, device, &cell, was, target, words)
        };
        let versions = matrix.devices.iter().filter_map(entries_of).flatten().filter_map(|entry| entry.version).max();
        Row {
            model: match versions {
                Some(version) => format!("{} v{version} {}", row.model, row.variant),
                None => format!("{} {}", row.model, row.variant),
            },
            href: format!("/models/{}", encode(&row.model)),
            cells: matrix.devices.iter().map(cell).collect(),
        }
    });
    let left = match matrix.rows.len().saturating_sub(most) {
        0 => String::new(),
        rest => words.count("run.rows_left", rest as u64, &[]),
    };
    (rows.collect(), left)
}

type Was = ((&'static str, &'static str, &'static str), Option<Standing>);

fn markup(
    model: &str,
    variant: &str,
    device: &Device,
    cell: &Cell<'_>,
    was: Option<Was>,
    target: &Target<'_>,
    words: Words,
) -> Html {
    let (mark, class, _, word) = cell.standing.looks();
    let word = words.t(word).into_owned();
    let mut tip = vec![format!("{model} {variant} · {}", device.name)];
    tip.extend(cell.entries.iter().take(8).map(|entry| format!("{}: {}", entry.backend, brief(entry, words))));
    tip.extend((cell.entries.len() > 8).then(|| words.count("run.left", cell.entries.len() as u64 - 8, &[])));
    let text = match cell.decided() {
        Some(Entry { outcome: Some(outcome), .. }) if cell.standing.is_failure() => status::code(*outcome),
        _ if cell.ok < cell.entries.len() && cell.standing == Standing::Ok => {
            format!("{}/{}", cell.ok, cell.entries.len())
        }
        _ => String::new(),
    };
    let change = was.map_or_else(String::new, |((mark, class, word), was)| {
        let before = was.map_or_else(|| words.t("compat.new").into_owned(), |was| words.t(was.looks().3).into_owned());
        tip.push(format!("{}: {before}", words.t("compat.was")));
        let word = escape(&words.t(word));
        format!(r#"<span class="{class}">{}<span class="vh"> {word}</span></span>"#, glyph(mark))
    });
    let href = match target {
        Target::Page(setting) => {
            let id = format!("{model}|{variant}|{}", device.id);
            let href = setting.link_with(&[("cell", Some(&id))]);
            format!(r#" href="{}#cell""#, escape(&href))
        }
        Target::File(listed) => {
            let decided = cell.decided();
            let place = listed.iter().position(|listed| decided.is_some_and(|entry| std::ptr::eq(*listed, entry)));
            place.map_or_else(String::new, |place| format!(r##" href="#{}""##, anchor(place)))
        }
    };
    let tip: Vec<String> = tip.iter().map(|line| escape(&line.replace('|', "¦"))).collect();
    let hover = match target {
        Target::Page(_) => format!(r#" data-tip="{}""#, tip.join("|")),
        Target::File(_) => format!(r#" title="{}""#, tip.join("&#10;")),
    };
    let class = if class.is_empty() { String::new() } else { format!(r#" class="{class}""#) };
    let text = escape(&text);
    Html::trusted(format!(
        r#"<a{class}{href}{hover}>{}{text}{change}<span class="vh">{}</span></a>"#,
        glyph(mark),
        escape(&word)
    ))
}

/// A combination in a few words.
fn brief(entry: &Entry, words: Words) -> String {
    let word = words.t(entry.standing.looks().3).into_owned();
    match (&entry.failure, &entry.misfit, entry.outcome) {
        (Some(failure), ..) => format!("{word} · {}", words.class(failure.class)),
        (None, Some(reason), _) => words.with("state.misfit_why", &[("reason", &words.reason(reason))]),
        (None, None, Some(outcome)) if entry.standing.is_failure() => {
            format!("{word} · {}", status::class_and_code(outcome))
        }
        // It failed before: flaky, and somebody may want to know.
        (None, None, Some(_)) if entry.attempts > 1 => {
            words.with("compat.at_attempt", &[("word", &word), ("n", &entry.attempts.to_string())])
        }
        (None, None, _) => word,
    }
}

/// Combinations that did not give what was asked for, the worst first.
pub(super) fn marked(matrix: &Compat) -> Vec<&Entry> {
    let mut marked: Vec<&Entry> = matrix.entries.iter().filter(|entry| is_marked(entry)).collect();
    marked
        .sort_by(|a, b| b.standing.cmp(&a.standing).then_with(|| (&a.model, &a.variant).cmp(&(&b.model, &b.variant))));
    marked
}

fn is_marked(entry: &Entry) -> bool {
    entry.standing.is_failure() || matches!(entry.standing, Standing::Fallback | Standing::Invalid)
}

pub(super) fn lines<'a>(entries: impl Iterator<Item = &'a Entry>, matrix: &Compat, words: Words) -> Vec<Line> {
    entries.enumerate().map(|(place, entry)| line(entry, place, matrix, words)).collect()
}

/// Of a line by its place among those that are marked.
fn anchor(place: usize) -> String {
    format!("f-{}", place + 1)
}

fn line(entry: &Entry, place: usize, matrix: &Compat, words: Words) -> Line {
    let device = matrix.devices.iter().find(|device| device.id == entry.device);
    let (mark, _, class, word) = entry.standing.looks();
    let word = match entry.outcome {
        Some(outcome) if entry.standing.is_failure() => status::class_and_code(outcome),
        Some(_) | None => words.t(word).into_owned(),
    };
    let failure = entry.failure.as_ref();
    let evidence = [
        failure.and_then(|failure| failure.seen.as_ref()).map(|seen| seen.line.clone()),
        entry.message.as_deref().map(|message| words.phrase(message)),
        entry.misfit.as_ref().map(|reason| words.reason(reason)),
        (!entry.invalid.is_empty()).then(|| words.reasons(&entry.invalid)),
    ];
    let mut evidence: Vec<String> = evidence.into_iter().flatten().collect();
    evidence.dedup();
    Line {
        anchor: anchor(place),
        status: html::status(&Status { glyph: mark, class, word }),
        model: match entry.version {
            Some(version) => format!("{} v{version} {}", entry.model, entry.variant),
            None => format!("{} {}", entry.model, entry.variant),
        },
        device: device.map_or_else(|| entry.device.to_string(), |device| device.name.clone()),
        backend: entry.backend.clone(),
        unread: entry.accelerator.reason().map(|_| words.t("compat.unreadable").into_owned()).unwrap_or_default(),
        dataset: [entry.dataset.clone(), Some(entry.profile.clone())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" · "),
        stage: entry.stage.map_or_else(|| DASH.to_string(), |stage| stage.to_string()),
        class: failure.map(|failure| failure.class.to_string()).unwrap_or_default(),
        meaning: failure.map(|failure| words.class(failure.class)).unwrap_or_default(),
        blame: failure.map_or_else(|| DASH.to_string(), |failure| words.blame(failure.blame)),
        evidence: evidence.join(words.semicolon()),
        advice: failure.map(|failure| words.remedy(failure.class)).unwrap_or_default(),
        attempts: if entry.attempts == 0 { DASH.to_string() } else { entry.attempts.to_string() },
        job: entry.job.map(|job| (format!("/jobs/{job}"), job.short())),
    }
}

/// Backends whose text cannot be read, each with the reason: they are in the matrix, and in no filter by accelerator.
pub(super) fn unread(matrix: &Compat) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = matrix
        .entries
        .iter()
        .filter_map(|entry| Some((entry.backend.clone(), entry.accelerator.reason()?.to_owned())))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The page's question, answered; and what else there is to say.
pub(super) fn sentence(matrix: &Compat, words: Words) -> (String, String) {
    let counts = matrix.counts();
    let of = |wanted: fn(Standing) -> bool| {
        counts.iter().filter(|(standing, _)| wanted(**standing)).map(|(_, count)| count).sum::<usize>()
    };
    let all: usize = counts.values().sum();
    let number = |n: usize| count(n as u64);
    if all == 0 {
        return (words.t("compat.empty").into_owned(), String::new());
    }
    let (ok, failed) = (of(|it| it == Standing::Ok), of(Standing::is_failure));
    let sentence =
        words.with("compat.sentence", &[("ok", &number(ok)), ("n", &number(all)), ("failed", &number(failed))]);
    let parts = [
        ("compat.n_fallback", of(|it| it == Standing::Fallback)),
        ("compat.n_invalid", of(|it| it == Standing::Invalid)),
        ("compat.n_open", of(|it| it == Standing::Open)),
        ("compat.n_cancelled", of(|it| it == Standing::Cancelled)),
        ("compat.n_misfit", of(|it| it == Standing::Misfit)),
    ];
    let parts = parts.into_iter().filter(|(_, n)| *n > 0).map(|(key, n)| words.with(key, &[("n", &number(n))]));
    let (models, devices) = (number(matrix.rows.len()), number(matrix.devices.len()));
    let size = words.with("compat.size", &[("models", &models), ("devices", &devices)]);
    (sentence, std::iter::once(size).chain(parts).collect::<Vec<_>>().join(words.semicolon()))
}

/// What the marks mean.
pub(super) fn legend(words: Words) -> Vec<Html> {
    let shown = [
        Standing::Ok,
        Standing::Fallback,
        Standing::Invalid,
        Standing::Died,
        Standing::Hung,
        Standing::WrongOutput,
        Standing::CannotLoad,
        Standing::LabOrRom,
        Standing::Open,
        Standing::Misfit,
    ];
    let status = |standing: Standing| {
        let (glyph, _, class, word) = standing.looks();
        html::status(&Status { glyph, class, word: words.t(word).into_owned() })
    };
    shown.into_iter().map(status).collect()
}
