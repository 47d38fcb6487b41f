//! What a library or a program says of itself in its ELF headers. Nothing of it is run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};

use object::read::elf::{FileHeader, ProgramHeader as _};
use object::read::{ReadCache, ReadRef};
use object::{Endianness, FileKind, elf};
use seatrial_core::agents::Executable;
use seatrial_core::runtimes::Machine;
use seatrial_core::runtimes::recognise::{ForeignMachine, Library, TELLING_EXPORTS, TELLING_TEXTS};

/// What is read of a library at a time when it is searched for texts.
const CHUNK: usize = 1 << 20;

/// Describes the library at `path` of an archive; `None` when the bytes are no ELF file.
pub(super) fn inspect(path: &str, mut library: impl Read + Seek) -> io::Result<Option<Library>> {
    let texts = texts(&mut library)?;
    let cache = ReadCache::new(&mut library);
    let headers = match FileKind::parse(&cache) {
        Ok(FileKind::Elf32) => headers::<elf::FileHeader32<Endianness>, _>(&cache),
        Ok(FileKind::Elf64) => headers::<elf::FileHeader64<Endianness>, _>(&cache),
        Ok(_) | Err(_) => return Ok(None),
    };
    let Headers { machine, android_note, needed, exports, python_module } = headers.map_err(io::Error::other)?;
    Ok(Some(Library { path: path.to_owned(), machine, android_note, needed, exports, texts, python_module }))
}

struct Headers {
    machine: Result<Machine, ForeignMachine>,
    android_note: bool,
    needed: Vec<String>,
    exports: BTreeMap<String, Option<String>>,
    python_module: bool,
}

fn headers<'data, Elf, R>(data: R) -> object::Result<Headers>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    let dynamic = sections.dynamic_table(endian, data)?;
    let mut needed = Vec::new();
    for entry in dynamic.iter().filter(|entry| entry.tag == elf::DT_NEEDED) {
        needed.push(text(dynamic.string(entry)?));
    }
    let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
    let versions = sections.versions(endian, data)?;
    let (mut exports, mut python_module) = (BTreeMap::new(), false);
    for (index, symbol) in symbols.enumerate() {
        use object::read::elf::Sym as _;
        if symbol.is_undefined(endian) {
            continue;
        }
        let name = symbols.symbol_name(endian, symbol)?;
        python_module |= name.starts_with(b"PyInit_");
        if !TELLING_EXPORTS.iter().any(|known| known.as_bytes() == name) {
            continue;
        }
        let version = match &versions {
            Some(table) => table.version(table.version_index(endian, index))?.map(|version| text(version.name())),
            None => None,
        };
        exports.insert(text(name), version);
    }
    Ok(Headers {
        machine: machine(header.e_machine(endian), header.is_class_64()),
        android_note: sections.section_by_name(endian, b".note.android.ident").is_some(),
        needed,
        exports,
        python_module,
    })
}

/// Describes a program; `None` when the bytes are no ELF file.
pub(crate) fn executable(bytes: &[u8]) -> object::Result<Option<Executable>> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf32) => program::<elf::FileHeader32<Endianness>>(bytes).map(Some),
        Ok(FileKind::Elf64) => program::<elf::FileHeader64<Endianness>>(bytes).map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

fn program<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Executable> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let mut interpreter = None;
    for segment in header.program_headers(endian, bytes)? {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    Ok(Executable { machine: machine(header.e_machine(endian), header.is_class_64()), interpreter })
}

/// A program as devices need it: what only debuggers read, behind everything that is loaded, is cut off.
pub(crate) fn without_debugging(mut bytes: Vec<u8>) -> object::Result<Vec<u8>> {
    let end = match FileKind::parse(bytes.as_slice()) {
        Ok(FileKind::Elf32) => end_of_segments::<elf::FileHeader32<Endianness>>(&bytes)?,
        Ok(FileKind::Elf64) => end_of_segments::<elf::FileHeader64<Endianness>>(&bytes)?,
        Ok(_) => return Ok(bytes),
        Err(error) => return Err(error),
    };
    bytes.truncate(end);
    // There are no sections any more: their place, number and names in the header.
    let is_64 = bytes.get(4) == Some(&elf::ELFCLASS64);
    let gone = if is_64 { [0x28..0x30, 0x3c..0x40] } else { [0x20..0x24, 0x30..0x34] };
    for range in gone {
        if let Some(field) = bytes.get_mut(range) {
            field.fill(0);
        }
    }
    Ok(bytes)
}

fn end_of_segments<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<usize> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let ends = header.program_headers(endian, bytes)?.iter().map(|segment| {
        let (at, size): (u64, u64) = (segment.p_offset(endian).into(), segment.p_filesz(endian).into());
        at.saturating_add(size)
    });
    Ok(ends.max().map_or(bytes.len(), |end| usize::try_from(end).unwrap_or(usize::MAX)))
}

fn machine(code: u16, is_64: bool) -> Result<Machine, ForeignMachine> {
    match (code, is_64) {
        (elf::EM_X86_64, true) => Ok(Machine::X86_64),
        (elf::EM_386, false) => Ok(Machine::X86),
        (elf::EM_AARCH64, true) => Ok(Machine::Aarch64),
        (elf::EM_ARM, false) => Ok(Machine::Arm),
        (code, is_64) => Err(ForeignMachine { code, bits: if is_64 { 64 } else { 32 } }),
    }
}

/// Which of [`TELLING_TEXTS`] stand in a file.
fn texts(file: &mut (impl Read + Seek)) -> io::Result<BTreeSet<String>> {
    let longest = TELLING_TEXTS.iter().map(|text| text.len()).max().unwrap_or(1);
    let finders: Vec<_> = TELLING_TEXTS.iter().map(|text| (*text, memchr::memmem::Finder::new(*text))).collect();
    let mut found = BTreeSet::new();
    let mut window = Vec::with_capacity(CHUNK + longest);
    file.seek(SeekFrom::Start(0))?;
    loop {
        // What may be the beginning of a text stays for the next look.
        window.drain(..window.len().saturating_sub(longest - 1));
        if file.by_ref().take(CHUNK as u64).read_to_end(&mut window)? == 0 {
            return Ok(found);
        }
        let here = finders.iter().filter(|(_, finder)| finder.find(&window).is_some());
        found.extend(here.map(|(text, _)| (*text).to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_without_what_debuggers_read_is_smaller_and_runs() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let short = without_debugging(own.clone()).unwrap();
        assert!(short.len() < own.len(), "{} of {}", short.len(), own.len());
        assert_eq!(executable(&short).unwrap(), executable(&own).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("short");
        std::fs::write(&place, short).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(place).args(["--list", "elf"]).output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        assert!(listed.contains("a_program_without_what_debuggers_read"), "{listed}");
    }

    #[test]
    fn a_text_is_found_across_the_border_of_two_looks() {
        let text = TELLING_TEXTS[0];
        for at in [0, CHUNK - 1, CHUNK - text.len() / 2, CHUNK, 2 * CHUNK - 3] {
            let mut bytes = vec![0; 3 * CHUNK];
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(texts(&mut Cursor::new(bytes)).unwrap(), BTreeSet::from([text.to_owned()]), "at {at}");
        }
        assert_eq!(texts(&mut Cursor::new(vec![0; CHUNK])).unwrap(), BTreeSet::new(), "the control");
    }

    #[test]
    fn this_program_is_an_elf_file_and_a_text_is_none() {
        let own = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let library = inspect("test", own).unwrap().unwrap();
        assert_eq!(library.machine.unwrap().as_str(), std::env::consts::ARCH);
        assert!(library.needed.iter().any(|name| name == "libc.so.6"), "{:?}", library.needed);
        assert_eq!(inspect("text", Cursor::new(b"no library".to_vec())).unwrap(), None);
    }

    #[test]
    fn a_program_names_its_interpreter_and_a_text_is_no_program() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Executable { machine, interpreter } = executable(&own).unwrap().unwrap();
        assert_eq!(machine.unwrap().as_str(), std::env::consts::ARCH);
        assert!(interpreter.unwrap().contains("/ld-"));
        assert_eq!(executable(b"no program"), Ok(None));
    }

    #[test]
    fn a_damaged_library_is_an_error_and_no_panic() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [20, 64, 100] {
            let cut = inspect("cut", Cursor::new(whole[..length].to_vec()));
            assert!(!matches!(cut, Ok(Some(_))), "{length} bytes are no library");
            assert!(!matches!(executable(&whole[..length]), Ok(Some(_))), "{length} bytes are no program");
        }
    }
}
