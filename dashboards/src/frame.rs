//! What stands around every page: bar, notice, footer.

use crate::assets;
use crate::html::{Html, glyph};
use crate::i18n::Words;
use crate::visit::Setting;

/// The part of the site that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nav {
    Home,
    Runs,
    Fleet,
    Models,
    Datasets,
    None,
}

pub struct NavLink {
    pub href: &'static str,
    pub label: String,
    /// After `g`.
    pub key: &'static str,
    pub current: bool,
}

/// Everything that the base template needs.
pub struct Frame {
    pub words: Words,
    pub title: String,
    pub nav: Vec<NavLink>,
    /// Shows the notice that figures are generated.
    pub simulated: bool,
    pub viewer: String,
    /// Proof that the form to sign out is of this viewer; `None` where there is no session to end.
    pub logout: Option<String>,
    pub version: String,
    pub zone: String,
    /// This page in the other language.
    pub switch: String,
    /// Label and address of the page's data in other formats.
    pub exports: Vec<(&'static str, String)>,
    /// Address of the page's stream of fragments.
    pub live: Option<String>,
    /// Uses the whole width of the screen.
    pub full: bool,
    /// This page without its parameters for language and format.
    pub permalink: String,
}

impl Frame {
    #[must_use]
    pub fn new(setting: &Setting, title: String, nav: Nav) -> Self {
        let words = setting.words;
        let link = |href, label: &str, key, page| NavLink {
            href,
            label: words.t(label).into_owned(),
            key,
            current: page == nav,
        };
        Self {
            words,
            title,
            nav: vec![
                link("/", "nav.home", "t", Nav::Home),
                link("/runs", "nav.runs", "r", Nav::Runs),
                link("/devices", "nav.fleet", "f", Nav::Fleet),
                link("/models", "nav.models", "o", Nav::Models),
                link("/datasets", "nav.datasets", "d", Nav::Datasets),
            ],
            simulated: false,
            viewer: setting
                .viewer
                .as_ref()
                .map_or_else(String::new, |(name, role)| format!("{name}, {}", words.role(*role))),
            logout: setting.logout.clone(),
            version: setting.version.clone(),
            zone: setting.moments.offset(),
            switch: setting.link("lang", Some(words.0.other().tag())),
            exports: Vec::new(),
            live: None,
            full: false,
            permalink: setting.path.clone(),
        }
    }

    /// Offers the page as JSON, and its table as CSV.
    #[must_use]
    pub fn with_exports(mut self, setting: &Setting, csv: bool) -> Self {
        if csv {
            self.exports.push(("CSV", setting.link("format", Some("csv"))));
        }
        self.exports.push(("JSON", setting.link("format", Some("json"))));
        self
    }

    #[must_use]
    pub fn simulated(self, simulated: bool) -> Self {
        Self { simulated, ..self }
    }

    pub fn t<'a>(&self, key: &'a str) -> std::borrow::Cow<'a, str> {
        self.words.t(key)
    }

    pub fn glyph(&self, name: &str) -> Html {
        glyph(name)
    }

    /// A sentence in large type.
    pub fn glue(&self, text: &str) -> String {
        crate::format::glued(text)
    }

    pub fn sprite(&self) -> Html {
        Html::trusted(assets::SPRITE.to_owned())
    }

    pub fn style(&self) -> String {
        assets::style()
    }

    pub fn script(&self) -> String {
        assets::script()
    }

    pub fn mark(&self) -> String {
        assets::mark()
    }

    pub fn language(&self) -> &'static str {
        self.words.0.tag()
    }

    pub fn other_language(&self) -> &'static str {
        self.words.0.other().tag()
    }

    pub fn other_language_name(&self) -> &'static str {
        match self.words.0.other() {
            crate::i18n::Language::English => "English",
            crate::i18n::Language::Chinese => "中文",
        }
    }

    /// Keys and what they do.
    pub fn keys(&self) -> Vec<(Vec<&'static str>, String)> {
        let key = |keys: &[&'static str], meaning: &str| (keys.to_vec(), self.words.t(meaning).into_owned());
        vec![
            key(&["j", "k"], "key.rows"),
            key(&["Enter"], "key.open"),
            key(&["u"], "key.up"),
            key(&["/"], "key.search"),
            key(&["g", "t"], "key.go"),
            key(&["t"], "key.theme"),
            key(&["l"], "key.language"),
            key(&["?"], "key.help"),
        ]
    }
}
