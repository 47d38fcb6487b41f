//! What a program says of itself in its ELF headers. Nothing of it is run.

use object::read::elf::{FileHeader, ProgramHeader as _};
use object::{Endianness, FileKind, elf};
use seatrial_core::agents::Executable;
use seatrial_core::runtimes::Machine;
use seatrial_core::runtimes::recognise::ForeignMachine;

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

fn machine(code: u16, is_64: bool) -> Result<Machine, ForeignMachine> {
    match (code, is_64) {
        (elf::EM_X86_64, true) => Ok(Machine::X86_64),
        (elf::EM_386, false) => Ok(Machine::X86),
        (elf::EM_AARCH64, true) => Ok(Machine::Aarch64),
        (elf::EM_ARM, false) => Ok(Machine::Arm),
        (code, is_64) => Err(ForeignMachine { code, bits: if is_64 { 64 } else { 32 } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_one_with_an_interpreter_and_a_text_is_none() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Executable { machine, interpreter } = executable(&own).unwrap().unwrap();
        assert_eq!(machine.unwrap().as_str(), std::env::consts::ARCH);
        assert!(interpreter.unwrap().contains("/ld-"));
        assert_eq!(executable(b"no program"), Ok(None));
    }

    #[test]
    fn a_damaged_program_is_an_error_and_no_panic() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [20, 64, 100] {
            assert!(!matches!(executable(&whole[..length]), Ok(Some(_))), "{length} bytes are no program");
        }
    }
}
