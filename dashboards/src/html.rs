//! Text that is already HTML. Only functions that escape make one, so templates never need a `safe` filter.

use std::fmt::{self, Write as _};

use crate::format::{DASH, Moments, Shown};
use crate::i18n::Words;
use crate::pages::list::Head;
use crate::status::Status;
use seatrial_core::time::Timestamp;

/// Markup whose every foreign part was escaped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Html(String);

impl Html {
    /// The caller vouches that `markup` is escaped.
    pub(crate) fn trusted(markup: String) -> Self {
        Self(markup)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

/// Text for element content and for attributes in double quotes. Control characters that HTML forbids become `�`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A glyph of the sprite; decoration, since the word stands beside it.
#[must_use]
pub fn glyph(name: &str) -> Html {
    Html(format!(r##"<svg class="g" aria-hidden="true"><use href="#g-{}"/></svg>"##, escape(name)))
}

/// Glyph and word.
#[must_use]
pub fn status(status: &Status) -> Html {
    Html(format!(r#"<span class="st {}">{}{}</span>"#, status.class, glyph(status.glyph), escape(&status.word)))
}

/// Glyph and word on a wash of their colour.
#[must_use]
pub fn tag(status: &Status) -> Html {
    Html(format!(r#"<span class="tag {}">{}{}</span>"#, status.class, glyph(status.glyph), escape(&status.word)))
}

/// A value with its unit and lighter interval, or a dash with the reason.
#[must_use]
pub fn shown(shown: &Shown, words: Words) -> Html {
    if !shown.absent.is_empty() {
        return Html(format!(r#"<span class="iv wrap">{}</span>"#, escape(&shown.line(words))));
    }
    let mut out = format!("{}{}", escape(&shown.number), escape(&shown.unit));
    if !shown.interval.is_empty() {
        let _ = write!(out, r#" <span class="iv">{}</span>"#, escape(&shown.interval));
    }
    Html(out)
}

/// The same for a table cell whose head names the unit: a dash carries its reason as a title.
#[must_use]
pub fn cell(shown: &Shown, words: Words) -> Html {
    if !shown.absent.is_empty() {
        return missing(&shown.number, &words.phrase(&shown.absent));
    }
    let mut out = escape(&shown.number);
    if !shown.interval.is_empty() {
        let _ = write!(out, r#" <span class="iv">{}</span>"#, escape(&shown.interval));
    }
    Html(out)
}

/// A dash in a table cell, with its reason as a title.
#[must_use]
pub(crate) fn dash(why: &str) -> Html {
    missing(&DASH.to_string(), why)
}

fn missing(mark: &str, why: &str) -> Html {
    let why = escape(why);
    Html(format!(r#"<span class="iv" title="{why}">{}<span class="vh"> {why}</span></span>"#, escape(mark)))
}

/// The head of a column.
#[must_use]
pub(crate) fn head(label: &str, numeric: bool) -> Html {
    let class = if numeric { r#" class="r""# } else { "" };
    Html(format!(r#"<th scope="col"{class}>{}</th>"#, escape(label)))
}

/// The head of a column with the link that sorts by it.
#[must_use]
pub(crate) fn sorting_head(head: &Head) -> Html {
    let Head { name: _, label, href, numeric, sorted } = head;
    let class = if *numeric { r#" class="r""# } else { "" };
    let (state, mark) = match *sorted {
        "" => (String::new(), ""),
        sorted => (format!(r#" aria-sort="{sorted}""#), if sorted == "descending" { " ▼" } else { " ▲" }),
    };
    let link = format!(r#"<a class="sort" href="{}">{}</a>"#, escape(href), escape(label));
    Html(format!(r#"<th scope="col"{class}{state}>{link}<span aria-hidden="true">{mark}</span></th>"#))
}

fn time(moment: Timestamp, moments: &Moments, text: &str) -> Html {
    let (machine, full) = (moments.machine(moment), moments.full(moment));
    Html(format!(r#"<time datetime="{machine}" title="{full}">{}</time>"#, escape(text)))
}

/// `3 min ago`, with the absolute time in the title.
#[must_use]
pub fn ago(moment: Timestamp, moments: &Moments) -> Html {
    time(moment, moments, &moments.relative(moment))
}

/// `03:01`, with the whole time in the title.
#[must_use]
pub fn at(moment: Timestamp, moments: &Moments) -> Html {
    time(moment, moments, &moments.clock(moment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(escape("<script>\"'&\u{0}\u{1b}"), "&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}");
        let hostile = Status { glyph: "ok", class: "s-ok", word: "<img src=x onerror=1>".to_owned() };
        assert!(!status(&hostile).as_str().contains("<img"));
        let shown = Shown { number: "–".to_owned(), absent: "\"><b>".to_owned(), ..Shown::default() };
        assert!(!cell(&shown, Words(Language::English)).as_str().contains("<b>"));
    }
}
