//! Dataset packages: a folder is packed into a stored zip whose bytes depend on nothing but its files; a zip is taken
//! as it is.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use seatrial_core::dataset::package::{MANIFEST_NAME, MAX_LABEL_BYTES, MAX_MANIFEST_BYTES, PackageManifest};
use seatrial_core::dataset::truth;
use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::members::{self, Members, Wrong};
use crate::error::{CliError, Result};

/// A package that is ready to be uploaded.
pub(crate) struct Package {
    pub manifest: PackageManifest,
    file: PackageFile,
}

enum PackageFile {
    Given(PathBuf),
    /// Removed when it is no longer needed.
    Packed(NamedTempFile),
}

impl Package {
    pub(crate) fn path(&self) -> &Path {
        match &self.file {
            PackageFile::Given(path) => path,
            PackageFile::Packed(file) => file.path(),
        }
    }

    /// Reads the manifest and the labels, checks that every member is there and holds what the manifest says, and packs a
    /// folder.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let metadata = fs_err::metadata(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
        if metadata.is_dir() { Self::from_folder(path) } else { Self::from_zip(path) }
    }

    /// The manifest as it stands in the package.
    pub(crate) fn manifest_text(&self) -> Result<String> {
        let mut archive = self.archive()?;
        read_manifest(&mut archive).map_err(|error| CliError::failed("read the dataset's manifest", error))
    }

    /// Writes members beside each other into a folder.
    pub(crate) fn unpack(&self, members: &[String], folder: &Path) -> Result<()> {
        let mut archive = self.archive()?;
        for member in members {
            let unpacked = archive.by_name(member).map_err(io::Error::from).and_then(|mut from| {
                let mut to = fs_err::File::create_new(folder.join(member))?;
                io::copy(&mut from, &mut to)
            });
            unpacked.map_err(|error| CliError::failed(format!("unpack {member}"), error))?;
        }
        Ok(())
    }

    fn archive(&self) -> Result<ZipArchive<io::BufReader<fs_err::File>>> {
        let read = |source| CliError::Read { path: self.path().to_owned(), source };
        let file = fs_err::File::open(self.path()).map_err(read)?;
        ZipArchive::new(io::BufReader::new(file)).map_err(|error| read(error.into()))
    }

    fn from_folder(folder: &Path) -> Result<Self> {
        let at = folder.join(MANIFEST_NAME);
        let text = fs_err::read_to_string(&at).map_err(|source| {
            let absent = source.kind() == io::ErrorKind::NotFound;
            let error = CliError::failed(format!("read {}", at.display()), source);
            if absent {
                error.with_hint("a dataset package is a folder or zip with dataset.toml; docs/dataset.md describes it")
            } else {
                error
            }
        })?;
        let manifest = parse(&text, &at)?;
        let members = manifest.members();
        let is_file =
            |member: &&String| fs_err::symlink_metadata(folder.join(member)).is_ok_and(|metadata| metadata.is_file());
        let missing: Vec<&String> = members.iter().filter(|member| !is_file(member)).collect();
        refuse_missing(folder, &missing)?;
        if let Some(labels) = &manifest.labels {
            let member = folder.join(&labels.member);
            let file = fs_err::File::open(&member).map_err(|source| CliError::Read { path: member.clone(), source })?;
            check_labels(&manifest, &member, file)?;
        }
        let mut files = folder;
        check_members(&manifest, folder, &mut files)?;
        let packed = pack(folder, &text, &members)
            .map_err(|error| CliError::failed(format!("pack {}", folder.display()), error))?;
        Ok(Self { manifest, file: PackageFile::Packed(packed) })
    }

    fn from_zip(path: &Path) -> Result<Self> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            CliError::failed(format!("read {} as a zip", path.display()), error)
                .with_hint("a dataset package is a folder or zip with dataset.toml; docs/dataset.md describes it")
        };
        let file = fs_err::File::open(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
        let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(|error| failed(error.into()))?;
        let text = read_manifest(&mut archive).map_err(failed)?;
        let manifest = parse(&text, &path.join(MANIFEST_NAME))?;
        let names: std::result::Result<BTreeSet<_>, _> = archive.file_names().collect();
        let present = names.map_err(|error| failed(error.into()))?;
        let members = manifest.members();
        let missing: Vec<&String> = members.iter().filter(|member| !present.contains(member.as_str())).collect();
        refuse_missing(path, &missing)?;
        if let Some(labels) = &manifest.labels {
            let member = archive.by_name(&labels.member).map_err(|error| failed(error.into()))?;
            check_labels(&manifest, &path.join(&labels.member), member)?;
        }
        check_members(&manifest, path, &mut archive)?;
        Ok(Self { manifest, file: PackageFile::Given(path.to_owned()) })
    }
}

/// So are inputs and references.
fn check_members(manifest: &PackageManifest, package: &Path, from: &mut dyn Members) -> Result<()> {
    members::check(manifest, from).map_err(|Wrong { member, why }| {
        CliError::plain(format!("{}: {why}", package.join(member).display()))
            .with_hint("docs/dataset.md says how inputs and references are written")
    })
}

/// Labels that a device could not use are refused here, where somebody can mend them.
fn check_labels(manifest: &PackageManifest, path: &Path, member: impl Read) -> Result<()> {
    let wrong = |why: String| {
        CliError::plain(format!("{}: {why}", path.display()))
            .with_hint("docs/dataset.md says how the labels of each task are written")
    };
    let mut bytes = Vec::new();
    member
        .take(MAX_LABEL_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_LABEL_BYTES {
        return Err(wrong(format!("the labels are longer than {MAX_LABEL_BYTES} bytes")));
    }
    truth::read(manifest, &bytes).map(drop).map_err(|error| wrong(error.to_string()))
}

fn parse(text: &str, at: &Path) -> Result<PackageManifest> {
    let file = at.display().to_string();
    PackageManifest::parse(text, &file).map_err(|problems| CliError::Problems { file, problems })
}

fn read_manifest<R: io::Read + io::Seek>(
    archive: &mut ZipArchive<R>,
) -> std::result::Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let member = archive.by_name(MANIFEST_NAME)?;
    let mut text = String::new();
    member.take(MAX_MANIFEST_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn refuse_missing(package: &Path, missing: &[&String]) -> Result<()> {
    const SHOWN: usize = 5;
    if missing.is_empty() {
        return Ok(());
    }
    let named: Vec<&str> = missing.iter().take(SHOWN).map(|member| member.as_str()).collect();
    let more = missing.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(CliError::plain(format!(
        "{} names members that are not in it: {}{more}",
        package.join(MANIFEST_NAME).display(),
        named.join(", ")
    ))
    .with_hint("members lie beside dataset.toml and are regular files"))
}

/// The manifest, then the members sorted by name; stored, with no times and one permission.
fn pack(folder: &Path, manifest: &str, members: &[String]) -> zip::result::ZipResult<NamedTempFile> {
    let mut writer = ZipWriter::new(NamedTempFile::with_prefix("seatrial-dataset-")?);
    let options = |size: u64| {
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644)
            .large_file(size >= u64::from(u32::MAX))
    };
    writer.start_file(MANIFEST_NAME, options(manifest.len() as u64))?;
    writer.write_all(manifest.as_bytes())?;
    for member in members.iter().collect::<BTreeSet<_>>() {
        let mut file = fs_err::File::open(folder.join(member))?;
        writer.start_file(member.as_str(), options(file.metadata()?.len()))?;
        io::copy(&mut file, &mut writer)?;
    }
    let mut packed = writer.finish()?;
    packed.flush()?;
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use seatrial_core::dataset::npy;
    use seatrial_core::tensor::Tensor;

    use super::*;

    const MANIFEST: &str = r#"
name = "two"
task = "classification"
examples = 2
classes = ["a", "b"]

[[inputs]]
name = "x"
kind = "npy"
member = "x.npy"

[labels]
kind = "lines"
member = "y.txt"
"#;

    /// Two examples of one number.
    fn array() -> Vec<u8> {
        npy::write(&Tensor::from_f32(vec![2, 1], &[0.5, 1.0]).unwrap())
    }

    fn folder(members: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in members {
            fs_err::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn bytes(package: &Package) -> Vec<u8> {
        fs_err::read(package.path()).unwrap()
    }

    #[test]
    fn equal_folders_pack_into_equal_bytes_and_unnamed_files_stay_out() {
        let one = folder(&[("dataset.toml", MANIFEST.as_bytes()), ("x.npy", &array()), ("y.txt", b"a\nb\n")]);
        let other = folder(&[
            ("y.txt", b"a\nb\n"),
            ("notes.txt", b"?"),
            ("x.npy", &array()),
            ("dataset.toml", MANIFEST.as_bytes()),
        ]);
        let (one, other) = (Package::open(one.path()).unwrap(), Package::open(other.path()).unwrap());
        assert_eq!(bytes(&one), bytes(&other));
        assert_eq!(one.manifest.examples, 2);
    }

    #[test]
    fn a_packed_folder_is_a_package_itself_and_is_taken_as_it_is() {
        let source = folder(&[("dataset.toml", MANIFEST.as_bytes()), ("x.npy", &array()), ("y.txt", b"a\nb\n")]);
        let packed = Package::open(source.path()).unwrap();
        let again = Package::open(packed.path()).unwrap();
        assert_eq!(again.path(), packed.path());
        assert_eq!(again.manifest, packed.manifest);
    }

    #[test]
    fn a_member_that_is_missing_or_no_regular_file_is_named() {
        let source = folder(&[("dataset.toml", MANIFEST.as_bytes()), ("y.txt", b"a\nb\n")]);
        std::os::unix::fs::symlink("/etc/hostname", source.path().join("x.npy")).unwrap();
        let error = Package::open(source.path()).err().unwrap();
        assert!(error.to_string().ends_with("names members that are not in it: x.npy"), "{error}");
    }

    #[test]
    fn labels_that_mean_nothing_are_refused_before_anything_is_uploaded() {
        for (labels, said) in [
            (&b"a\n"[..], "y.txt: there are 1 labels for 2 examples"),
            (b"a\nc\n", "y.txt: line 2: \"c\" is neither the name nor the index of a class"),
        ] {
            let source = folder(&[("dataset.toml", MANIFEST.as_bytes()), ("x.npy", &array()), ("y.txt", labels)]);
            let error = Package::open(source.path()).err().unwrap();
            assert!(error.to_string().contains(said), "{error}");
            let zip = source.path().join("package.zip");
            let mut writer = ZipWriter::new(fs_err::File::create(&zip).unwrap());
            for (name, bytes) in [("dataset.toml", MANIFEST.as_bytes()), ("x.npy", &array()), ("y.txt", labels)] {
                writer.start_file(name, SimpleFileOptions::default()).unwrap();
                writer.write_all(bytes).unwrap();
            }
            writer.finish().unwrap();
            let error = Package::open(&zip).err().unwrap();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn inputs_that_no_device_could_read_are_refused_before_anything_is_uploaded() {
        let members = |x: &[u8]| folder(&[("dataset.toml", MANIFEST.as_bytes()), ("x.npy", x), ("y.txt", b"a\nb\n")]);
        let error = Package::open(members(b"random bytes").path()).err().unwrap();
        assert!(error.to_string().ends_with("x.npy: not an npy file: it does not begin with NumPy's mark"), "{error}");
        let source = members(&array());
        let packed = Package::open(source.path()).unwrap();
        // The control is whole; the same package as a zip, with an array that was cut.
        let zip = source.path().join("package.zip");
        let mut writer = ZipWriter::new(fs_err::File::create(&zip).unwrap());
        let whole = array();
        let cut = &whole[..whole.len() - 1];
        for (name, bytes) in [("dataset.toml", MANIFEST.as_bytes()), ("x.npy", cut), ("y.txt", b"a\nb\n")] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
        let error = Package::open(&zip).err().unwrap();
        assert!(error.to_string().contains("package.zip/x.npy: it ends after "), "{error}");
        assert!(Package::open(packed.path()).is_ok());
    }

    #[test]
    fn what_is_no_package_says_what_a_package_is() {
        let empty = folder(&[("text.zip", b"not a zip")]);
        for path in [empty.path().to_owned(), empty.path().join("text.zip")] {
            let error = Package::open(&path).err().unwrap();
            assert!(error.hint().is_some_and(|hint| hint.contains("dataset.toml")), "{error}");
        }
    }
}
