//! Small text files under a root, with the reason when one cannot be read.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};

/// Longer files are cut: none of the kernel's that are read here comes near it.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file without surrounding white space and trailing NULs.
    pub(crate) fn text(&self, path: &str) -> Reading<String> {
        let read = std::fs::File::open(self.place(path)).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        match read {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Reading::Present(text.trim_matches(['\0', ' ', '\n', '\t']).to_owned())
            }
            Err(error) => Reading::Absent(reason(path, &error)),
        }
    }

    pub(crate) fn number<T: FromStr>(&self, path: &str) -> Reading<T> {
        match self.text(path) {
            Reading::Present(text) => {
                Reading::from_option(text.parse().ok(), format!("/{path} holds {:?}, not a number", clip(&text)))
            }
            Reading::Absent(reason) => Reading::Absent(reason),
        }
    }

    /// Paths of the entries of a folder whose names have a prefix, by the number after it.
    pub(crate) fn entries(&self, folder: &str, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.place(folder)).into_iter().flatten();
        let mut found: Vec<(u32, String)> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let number = name.strip_prefix(prefix)?.parse().unwrap_or(u32::MAX);
                Some((number, format!("{folder}/{name}")))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.place(path).exists()
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// The first present reading, or the reason of the last.
pub(super) fn first<T>(readings: impl IntoIterator<Item = Reading<T>>, nothing: &str) -> Reading<T> {
    let mut absent = Reading::absent(nothing);
    for reading in readings {
        if reading.present().is_some() {
            return reading;
        }
        absent = reading;
    }
    absent
}

fn reason(path: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        format!("there is no /{path}")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        Reason::new(Code::NotReadable, &[("path", &format!("/{path}"))]).into()
    } else {
        format!("/{path}: {error}")
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}
