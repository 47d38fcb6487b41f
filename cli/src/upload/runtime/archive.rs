//! Libraries as users have them: in wheels, AARs, npm tarballs, zips, or plain. Only what is needed leaves the archive,
//! into files of our own naming.

use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use fs_err::File;
use seatrial_core::model::Manifest;
use seatrial_core::runtimes::recognise::{Contents, Declared, Library, Recognised, is_library, recognise};
use seatrial_core::runtimes::{ENGINE_ROLE, PackageKind, RuntimePackage};
use zip::ZipArchive;

use super::{Found, PackageFile, elf};
use crate::error::{CliError, Result};

/// Members that are looked at.
const MAX_MEMBERS: usize = 100_000;
/// Bytes of one library.
const MAX_LIBRARY: u64 = 1 << 30;
/// Bytes of all libraries of one archive.
const MAX_LIBRARIES: u64 = 4 << 30;
/// Bytes of a text with metadata.
const MAX_METADATA: u64 = 256 << 10;
/// Links that are remembered, and bytes of what one leads to.
const MAX_LINKS: usize = 4096;
const MAX_TARGET: u64 = 4 << 10;

/// The packages that an archive holds, with their files unpacked into `scratch`.
pub(super) fn open(path: &Path, version: Option<&str>, scratch: &Path) -> Result<Vec<Found>> {
    let mut reader = Reader::new(path, scratch);
    reader.read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    let unpacked = reader.unpacked;
    let packages = recognise(&unpacked.contents, version)
        .map_err(|refusal| CliError::plain(format!("{} is no runtime package: {refusal}", path.display())))?;
    packages.into_iter().map(|recognised| found(recognised, &unpacked)).collect()
}

fn found(recognised: Recognised, unpacked: &Unpacked) -> Result<Found> {
    let Recognised { engine, version, abi, accelerators, library, companions } = recognised;
    let mut files = vec![unpacked.file(ENGINE_ROLE, &library)?];
    for companion in companions {
        files.push(unpacked.file("library", &companion)?);
    }
    let package = RuntimePackage {
        runtime: engine.as_str().to_owned(),
        kind: PackageKind::Library { engine },
        version,
        abi: Some(abi),
        accelerators,
        formats: engine.formats().to_vec(),
        manifest: Manifest::default(),
    };
    Ok(Found { package, files })
}

/// Programs of these names and all libraries of an archive or a folder; of a program, what lies beside it.
pub(super) fn programs(path: &Path, is_program: bool, names: &[&str], scratch: &Path) -> Result<Unpacked> {
    let mut reader = Reader::new(path, scratch);
    reader.programs = names.iter().map(|&name| name.to_owned()).collect();
    let done = match path.parent().filter(|_| is_program) {
        Some(parent) if parent.as_os_str().is_empty() => reader.read_folder(Path::new(".")),
        Some(parent) => reader.read_folder(parent),
        None if path.is_dir() => reader.read_folder(path),
        None => reader.read(path),
    };
    done.map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    reader.follow_links();
    Ok(reader.unpacked)
}

/// Whether the first bytes of a file are those of an archive that is read.
pub(super) fn is_archive(path: &Path) -> Result<bool> {
    let magic = magic(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    Ok(magic.starts_with(ZIP) || magic.starts_with(GZIP))
}

const ZIP: &[u8] = b"PK";
const GZIP: &[u8] = &[0x1f, 0x8b];

fn magic(path: &Path) -> io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut magic)?;
    Ok(magic)
}

/// What was taken out of an archive.
pub(super) struct Unpacked {
    pub contents: Contents,
    /// By path in the archive.
    places: Vec<(String, PathBuf)>,
}

impl Unpacked {
    fn place(&self, member: &str) -> Option<&PathBuf> {
        self.places.iter().find(|(path, _)| path == member).map(|(_, place)| place)
    }

    pub(super) fn file(&self, role: &str, member: &str) -> Result<PackageFile> {
        let place = self.place(member).cloned();
        let place = place.ok_or_else(|| CliError::plain(format!("{member} was recognised and is not there")))?;
        let file_name = member.rsplit('/').next().unwrap_or(member).to_owned();
        Ok(PackageFile { role: role.to_owned(), file_name, place })
    }
}

struct Reader<'a> {
    unpacked: Unpacked,
    /// Names of programs that are unpacked like libraries.
    programs: Vec<String>,
    /// Links between files of one folder of the archive: each with what it leads to.
    links: Vec<(String, String)>,
    scratch: &'a Path,
    members: usize,
    bytes: u64,
}

impl<'a> Reader<'a> {
    fn new(path: &Path, scratch: &'a Path) -> Self {
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let contents = Contents { file_name, ..Contents::default() };
        let unpacked = Unpacked { contents, places: Vec::new() };
        Self { unpacked, programs: Vec::new(), links: Vec::new(), scratch, members: 0, bytes: 0 }
    }

    /// Tells the kind of archive by its first bytes.
    fn read(&mut self, path: &Path) -> io::Result<()> {
        let magic = magic(path)?;
        let file = File::open(path)?;
        if magic.starts_with(ZIP) {
            self.read_zip(file)
        } else if magic.starts_with(GZIP) {
            self.read_tar(GzDecoder::new(BufReader::new(file)))
        } else if magic == b"\x7fELF" {
            let size = file.metadata()?.len();
            let name = self.unpacked.contents.file_name.clone();
            self.library(&name, size, file)
        } else {
            Err(io::Error::other(
                "neither a zip (wheel, AAR), a tar.gz (npm, release) nor a shared library; a runner has its \
                 description beside it, as run.py has run.toml",
            ))
        }
    }

    fn read_zip(&mut self, file: File) -> io::Result<()> {
        let mut archive = ZipArchive::new(BufReader::new(file))?;
        for index in 0..archive.len() {
            let member = archive.by_index(index)?;
            let (name, size) = (member.name()?.into_owned(), member.size());
            if member.is_symlink() {
                let mut target = Vec::new();
                member.take(MAX_TARGET).read_to_end(&mut target)?;
                self.link(&name, &target)?;
            } else if member.is_file() {
                self.member(&name, size, member)?;
            }
        }
        Ok(())
    }

    fn read_tar(&mut self, stream: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(stream);
        for member in archive.entries()? {
            let member = member?;
            let (name, size) = (String::from_utf8_lossy(&member.path_bytes()).into_owned(), member.size());
            let kind = member.header().entry_type();
            if kind.is_symlink() {
                let target = member.link_name_bytes().unwrap_or_default();
                self.link(&name, &target)?;
            } else if kind.is_file() {
                self.member(&name, size, member)?;
            }
        }
        Ok(())
    }

    /// The files of a folder, and not of folders in it.
    fn read_folder(&mut self, folder: &Path) -> io::Result<()> {
        let paths: io::Result<Vec<PathBuf>> = fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
        let mut paths = paths?;
        // The same folder is the same package.
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(OsStr::to_str).filter(|name| self.is_wanted(name));
            // A link that leads nowhere is no file.
            if let (Some(name), Ok(about)) = (name, fs_err::metadata(&path))
                && about.is_file()
            {
                self.member(name, about.len(), File::open(&path)?)?;
            }
        }
        Ok(())
    }

    /// Libraries are linked to under the names by which others need them.
    fn link(&mut self, name: &str, target: &[u8]) -> io::Result<()> {
        let target = String::from_utf8_lossy(target).into_owned();
        if self.programs.is_empty() || target.contains('/') {
            return Ok(());
        }
        if self.links.len() >= MAX_LINKS {
            return Err(io::Error::other(format!("it has more than {MAX_LINKS} links")));
        }
        let beside = name.rsplit_once('/').map_or(target.clone(), |(folder, _)| format!("{folder}/{target}"));
        self.links.push((name.to_owned(), beside));
        Ok(())
    }

    /// Gives what was unpacked the names of the links to it.
    fn follow_links(&mut self) {
        let Self { unpacked, links, .. } = self;
        while let Some(next) = links.iter().position(|(_, target)| unpacked.place(target).is_some()) {
            let (name, target) = links.swap_remove(next);
            let library = unpacked.contents.libraries.iter().find(|library| library.path == target).cloned();
            let (place, is_new) = (unpacked.place(&target).cloned(), unpacked.place(&name).is_none());
            if let (Some(place), Some(library), true) = (place, library, is_new) {
                unpacked.places.push((name.clone(), place));
                unpacked.contents.libraries.push(Library { path: name, ..library });
            }
        }
    }

    fn member(&mut self, name: &str, size: u64, bytes: impl Read) -> io::Result<()> {
        self.members += 1;
        if self.members > MAX_MEMBERS {
            return Err(io::Error::other(format!("it has more than {MAX_MEMBERS} members")));
        }
        let last = name.rsplit('/').next().unwrap_or(name);
        if self.is_wanted(last) {
            self.library(name, size, bytes)
        } else if let Some(read) = metadata(name) {
            let mut text = Vec::new();
            bytes.take(MAX_METADATA).read_to_end(&mut text)?;
            if let Some(declared) = read(&String::from_utf8_lossy(&text)) {
                self.unpacked.contents.declared.get_or_insert(declared);
            }
            Ok(())
        } else {
            Ok(())
        }
    }

    fn is_wanted(&self, name: &str) -> bool {
        is_library(name) || self.programs.iter().any(|program| program == name)
    }

    /// Unpacks a library into a file of our own naming and reads its headers.
    fn library(&mut self, name: &str, size: u64, bytes: impl Read) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(size);
        if size > MAX_LIBRARY || self.bytes > MAX_LIBRARIES {
            return Err(io::Error::other(format!("{name} makes it larger than is looked at ({size} bytes)")));
        }
        let path = self.scratch.join(format!("{}.so", self.unpacked.places.len()));
        let mut file = File::create_new(&path)?;
        // What a header promises is not believed.
        if io::copy(&mut bytes.take(size + 1), &mut file)? > size {
            return Err(io::Error::other(format!("{name} is longer than its header says")));
        }
        file.flush()?;
        drop(file);
        let described = elf::inspect(name, File::open(&path)?)
            .map_err(|error| io::Error::other(format!("the headers of {name} cannot be read: {error}")))?;
        if let Some(library) = described {
            self.unpacked.contents.libraries.push(library);
            self.unpacked.places.push((name.to_owned(), path));
        }
        Ok(())
    }
}

type ReadDeclared = fn(&str) -> Option<Declared>;

/// How a member that tells the version is read.
fn metadata(name: &str) -> Option<ReadDeclared> {
    let depth = name.matches('/').count();
    if depth == 1 && name.ends_with(".dist-info/METADATA") {
        Some(wheel)
    } else if depth <= 1 && name.ends_with("package.json") {
        Some(npm)
    } else if depth <= 1 && name.ends_with("VERSION_NUMBER") {
        Some(release)
    } else {
        None
    }
}

/// `Name:` and `Version:` of the head of a wheel's METADATA.
fn wheel(text: &str) -> Option<Declared> {
    let head = || text.lines().take_while(|line| !line.is_empty());
    let field = |name: &str| head().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    Some(Declared { name: field("Name:"), version: field("Version:")? })
}

fn npm(text: &str) -> Option<Declared> {
    #[derive(serde::Deserialize)]
    struct Package {
        name: Option<String>,
        version: String,
    }
    let Package { name, version } = serde_json::from_str(text).ok()?;
    Some(Declared { name, version })
}

fn release(text: &str) -> Option<Declared> {
    let version = text.trim();
    (!version.is_empty()).then(|| Declared { name: None, version: version.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_in_the_head_of_a_wheels_metadata() {
        let text = "Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.31.1\n\nVersion: 9\n";
        let declared = Declared { name: Some("onnxruntime".to_owned()), version: "1.31.1".to_owned() };
        assert_eq!(wheel(text), Some(declared));
        assert_eq!(wheel("Name: x\n"), None);
        assert_eq!(npm(r#"{"name":"@x/linux-arm64","version":"3.22.1"}"#).unwrap().version, "3.22.1");
        assert_eq!(npm("{"), None);
        assert_eq!(release("1.22.0\n").unwrap().version, "1.22.0");
    }

    #[test]
    fn metadata_of_something_inside_the_package_is_not_the_packages() {
        assert!(metadata("onnxruntime-1.31.1.dist-info/METADATA").is_some());
        assert!(metadata("package/package.json").is_some());
        for inner in ["package/node_modules/x/package.json", "a/b.dist-info/METADATA", "package/readme.md"] {
            assert!(metadata(inner).is_none(), "{inner}");
        }
    }

    #[test]
    fn what_is_no_archive_is_refused_by_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("x.whl");
        fs_err::write(&text, "not a zip").unwrap();
        let error = open(&text, None, folder.path()).err().unwrap();
        assert!(
            matches!(&error, CliError::Read { source, .. } if source.to_string().contains("neither a zip")),
            "{error}"
        );
    }
}
