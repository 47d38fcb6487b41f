//! A dataset package as a stream of members. Nothing is unpacked: members are read by name, into memory, bounded.

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use seatrial_core::dataset::package::{
    MANIFEST_NAME, MAX_LABEL_BYTES, MAX_MANIFEST_BYTES, MAX_TENSOR_BYTES, PackageManifest,
};
use seatrial_core::dataset::scorer::MAX_FILE_BYTES;
use zip::ZipArchive;

use super::DataError;

#[derive(Debug)]
pub(super) struct Package {
    archive: ZipArchive<File>,
}

impl Package {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| DataError::Package(error.to_string()))?;
        let archive =
            ZipArchive::new(file).map_err(|error| DataError::Package(format!("not a zip archive: {error}")))?;
        Ok(Self { archive })
    }

    pub(super) fn manifest(&mut self) -> Result<PackageManifest, DataError> {
        let text = read_member(&mut self.archive, MANIFEST_NAME, MAX_MANIFEST_BYTES as u64)?;
        let text = String::from_utf8(text).map_err(|_| DataError::Package(format!("{MANIFEST_NAME} is not UTF-8")))?;
        PackageManifest::parse(&text, MANIFEST_NAME).map_err(|problems| {
            let lines: Vec<String> =
                problems.iter().map(|problem| format!("line {}: {}", problem.line, problem.message)).collect();
            DataError::Package(format!("{MANIFEST_NAME}: {}", lines.join("; ")))
        })
    }

    /// A member that the manifest names.
    pub(super) fn read(&mut self, member: &str) -> Result<Vec<u8>, DataError> {
        read_member(&mut self.archive, member, MAX_TENSOR_BYTES)
    }

    /// The first bytes of a member, at most so many.
    pub(super) fn start(&mut self, member: &str, most: u64) -> Result<Vec<u8>, DataError> {
        start_of(&mut self.archive, member, most)
    }

    /// The member that holds the labels.
    pub(super) fn read_labels(&mut self, member: &str) -> Result<Vec<u8>, DataError> {
        read_member(&mut self.archive, member, MAX_LABEL_BYTES)
    }

    /// A member that is part of a scorer.
    pub(super) fn read_program(&mut self, member: &str) -> Result<Vec<u8>, DataError> {
        read_member(&mut self.archive, member, MAX_FILE_BYTES)
    }

    /// A member of a member: arrays of an npz file.
    pub(super) fn read_nested(&mut self, member: &str, inner: &str) -> Result<Vec<u8>, DataError> {
        read_member(&mut self.nested(member)?, inner, MAX_TENSOR_BYTES)
    }

    pub(super) fn nested_start(&mut self, member: &str, inner: &str, most: u64) -> Result<Vec<u8>, DataError> {
        start_of(&mut self.nested(member)?, inner, most)
    }

    fn nested(&mut self, member: &str) -> Result<ZipArchive<Cursor<Vec<u8>>>, DataError> {
        let outer = self.read(member)?;
        ZipArchive::new(Cursor::new(outer)).map_err(|error| DataError::Member {
            member: member.to_owned(),
            detail: format!("not an npz file: {error}"),
        })
    }
}

fn start_of(archive: &mut ZipArchive<impl Read + Seek>, name: &str, most: u64) -> Result<Vec<u8>, DataError> {
    let wrong = |detail: String| DataError::Member { member: name.to_owned(), detail };
    let member = archive.by_name(name).map_err(|error| wrong(error.to_string()))?;
    let mut bytes = Vec::new();
    member.take(most.min(MAX_TENSOR_BYTES)).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    Ok(bytes)
}

/// The size in an archive is a claim: no more than that is read, and no more than the limit.
fn read_member(archive: &mut ZipArchive<impl Read + Seek>, name: &str, limit: u64) -> Result<Vec<u8>, DataError> {
    let wrong = |detail: String| DataError::Member { member: name.to_owned(), detail };
    let member = archive.by_name(name).map_err(|error| wrong(error.to_string()))?;
    if !member.is_file() {
        return Err(wrong("not a regular file".to_owned()));
    }
    let size = member.size();
    if size > limit {
        return Err(wrong(format!("{size} bytes long, at most {limit} are read")));
    }
    let mut bytes = Vec::new();
    member.take(size + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 != size {
        return Err(wrong(format!("holds {} bytes or more and says {size}", bytes.len())));
    }
    Ok(bytes)
}
