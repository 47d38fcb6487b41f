//! Raw evidence of a device: what each command and file said, and whether that is all of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bytes that are kept of one piece.
pub const MAX_PIECE_BYTES: usize = 256 << 10;

macro_rules! pieces {
    ($($name:ident = $text:literal,)*) => {
        /// One command or group of files that is asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Piece { $(#[serde(rename = $text)] $name,)* }

        impl Piece {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

pieces! {
    Getprop = "getprop",
    Cpuinfo = "cpuinfo",
    Cpus = "cpus",
    SurfaceFlinger = "surfaceflinger",
    Vkjson = "vkjson",
    Gpu = "gpu",
    Soc = "soc",
    DeviceTreeModel = "device_tree_model",
    DeviceTreeCompatible = "device_tree_compatible",
    OsRelease = "os_release",
    TegraRelease = "tegra_release",
    Meminfo = "meminfo",
    Storage = "storage",
    RootStorage = "root_storage",
    PageSize = "page_size",
    Machine = "machine",
    DeviceName = "device_name",
    Services = "services",
    Libraries = "libraries",
}

/// How the output of a piece ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Whole,
    /// It was longer than what is kept, or the connection ended.
    Cut,
    /// The command ended with this code.
    Failed(i32),
}

/// What one piece said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    pub text: String,
    pub ending: Ending,
}

impl Collected {
    /// Whole, and nothing in it: of a list of what is there, that nothing is.
    pub(super) fn is_empty_list(&self) -> bool {
        self.ending == Ending::Whole && self.text.trim().is_empty()
    }
}

/// Everything that a device said, by piece.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RawEvidence {
    pieces: BTreeMap<Piece, Collected>,
}

/// The text of a piece that can be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'e> {
    pub text: &'e str,
    /// False when there may have been more.
    pub whole: bool,
}

impl RawEvidence {
    /// Keeps what a piece said; more than [`MAX_PIECE_BYTES`] is cut.
    pub fn keep(&mut self, piece: Piece, mut text: String, ending: Ending) {
        let mut ending = ending;
        if text.len() > MAX_PIECE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_PIECE_BYTES));
            ending = Ending::Cut;
        }
        self.pieces.insert(piece, Collected { text, ending });
    }

    #[must_use]
    pub fn get(&self, piece: Piece) -> Option<&Collected> {
        self.pieces.get(&piece)
    }

    /// The text, or why there is none.
    pub(super) fn said(&self, piece: Piece) -> Result<Said<'_>, String> {
        let name = piece.as_str();
        let collected = self.get(piece).ok_or_else(|| format!("the device was not asked for {name}"))?;
        let text = collected.text.trim_matches(['\0', ' ', '\r', '\n', '\t']);
        match collected.ending {
            Ending::Whole if text.is_empty() => Err(format!("{name} is empty")),
            Ending::Whole => Ok(Said { text, whole: true }),
            Ending::Cut if text.is_empty() => Err(format!("the output ended before {name} said anything")),
            Ending::Cut => Ok(Said { text, whole: false }),
            Ending::Failed(code) if text.is_empty() => {
                Err(format!("{name} says nothing here and ended with code {code}"))
            }
            Ending::Failed(code) => Err(format!("{name} ended with code {code}: {}", super::clip(text))),
        }
    }

    /// The value of a file of one line among `PATH=VALUE` lines.
    pub(super) fn value(&self, piece: Piece, path: &str) -> Option<&str> {
        let said = self.said(piece).ok()?;
        values(said).find_map(|(name, value)| (name == path).then_some(value))
    }
}

/// `PATH=VALUE` lines that are whole and not empty. `PATH!WHY` says that a file could not be read.
pub(super) fn values(said: Said<'_>) -> impl Iterator<Item = (&str, &str)> {
    whole_lines(said).filter_map(|line| line.split_once('=')).filter(|(_, value)| !value.trim().is_empty())
}

/// Lines, without the last of a text that is cut.
pub(super) fn whole_lines(said: Said<'_>) -> impl Iterator<Item = &str> {
    let count = if said.whole { usize::MAX } else { said.text.lines().count().saturating_sub(1) };
    said.text.lines().take(count)
}
