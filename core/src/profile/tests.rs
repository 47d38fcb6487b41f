//! The tables, and the script that asks.

use std::process::{Command, Stdio};

use super::rules::{TEXTS, Texts};
use super::*;

const NONCE: &str = "0a1b2c3d4e5f";

fn refused(texts: Texts) -> String {
    Rules::parse(texts).unwrap_err().to_string()
}

#[test]
fn the_tables_of_this_build_are_sound() {
    let rules = Rules::shipped().unwrap();
    assert_eq!(rules.plan().len(), Piece::ALL.len());
}

#[test]
fn a_bad_table_is_refused_by_its_name_with_the_reason() {
    let unknown = refused(Texts { rom: "[[rom]]\nname = 'x'\nwhenever = []", ..TEXTS });
    assert!(unknown.contains("rom.toml") && unknown.contains("whenever"), "{unknown}");
    let pattern = "[[rom]]\nname = 'x'\nwhen = [{ 'a' = '(' }]\nversion = []\nbuild = []";
    let pattern = refused(Texts { rom: pattern, ..TEXTS });
    assert!(pattern.contains("rom.toml") && pattern.contains("unclosed group"), "{pattern}");
    let empty = refused(Texts { rom: "[[rom]]\nname = 'x'\nwhen = [{}]\nversion = []\nbuild = []", ..TEXTS });
    assert!(empty.contains("x has no condition"), "{empty}");
    let beside = "[[rom]]\nname = 'x'\nwhen = [{ a = '' }]\nversion = []\nbuild = []\nbeside = ['y']";
    assert!(refused(Texts { rom: beside, ..TEXTS }).contains("beside y"));
    let missing = refused(Texts { evidence: "[[piece]]\nname = 'getprop'\nrun = ['getprop']\nbytes = 9", ..TEXTS });
    assert!(missing.contains("evidence.toml") && missing.contains("cpuinfo is missing"), "{missing}");
    let shell = refused(Texts { evidence: "[[piece]]\nname = 'cpuinfo'\nfile = '/a;reboot'\nbytes = 9", ..TEXTS });
    assert!(shell.contains("a shell would read"), "{shell}");
    let path = "[[library]]\ninterface = 'x'\npaths = ['/a $(b)']";
    assert!(refused(Texts { libraries: path, ..TEXTS }).contains("a shell would read"));
    let twice = "signature = []\npattern = []\nplaceholders = { names = [] }\n\
                 [[soc]]\nmaker = 'a'\nmodel = 'b'\nnames = []\ngpu = 'c'\n\
                 [[soc]]\nmaker = 'a'\nmodel = 'b'\nnames = []\ngpu = 'c'\n";
    assert!(refused(Texts { soc: twice, ..TEXTS }).contains("twice"));
}

/// What the script says here, run by a shell that has only these programs.
fn run(shell: &str, path: &str) -> Vec<u8> {
    let text = script(Rules::shipped().unwrap(), NONCE).unwrap();
    let mut command = Command::new(shell);
    command.arg("-c").arg(text).env("PATH", path).stdin(Stdio::null()).stderr(Stdio::inherit());
    command.output().unwrap().stdout
}

#[test]
fn the_script_runs_in_a_plain_shell_and_says_what_this_machine_has() {
    let path = std::env::var("PATH").unwrap();
    let evidence = split(&run("sh", &path), NONCE).unwrap();
    assert_eq!(evidence.get(Piece::Cpuinfo).unwrap().ending, Ending::Whole);
    let findings = read(&evidence, Rules::shipped().unwrap());
    let memory = findings.memory_bytes.present().unwrap().value;
    assert!(memory > 64 << 20, "{memory}");
    assert!(findings.storage.present().is_some_and(|found| found.value.total_bytes > 0), "{:?}", findings.storage);
    assert!(findings.page_size.present().is_some_and(|found| found.value >= 4096), "{:?}", findings.page_size);
    assert!(findings.cores.online.present().is_some_and(|found| found.value > 0), "{:?}", findings.cores);
    assert!(findings.libraries.present().is_some(), "{:?}", findings.libraries);
    assert!(findings.android_api.reason().is_some(), "{:?}", findings.android_api);
}

#[test]
fn tools_that_are_missing_are_reasons_and_the_rest_is_read_all_the_same() {
    let evidence = split(&run("/bin/sh", "/nowhere"), NONCE).unwrap();
    assert!(evidence.said(Piece::Getprop).is_err());
    // `head` is missing too, so that only the marks of the script itself arrive.
    let findings = read(&evidence, Rules::shipped().unwrap());
    assert!(findings.rom.reason().is_some() && findings.memory_bytes.reason().is_some());
}

#[test]
fn a_mark_that_could_be_mistaken_or_read_by_a_shell_is_refused() {
    for nonce in ["", "short", "with space in it", "$(reboot)abc", "x".repeat(65).as_str()] {
        assert!(script(Rules::shipped().unwrap(), nonce).is_err(), "{nonce:?}");
        assert!(split(b"", nonce).is_err(), "{nonce:?}");
    }
}

fn output(pieces: &[(&str, &str, &str)]) -> String {
    let one = |(name, text, code): &(&str, &str, &str)| {
        let code = if code.is_empty() { String::new() } else { format!("\n@@{NONCE} = {code}\n") };
        format!("@@{NONCE} > {name}\n{text}{code}\n@@{NONCE} .\n")
    };
    pieces.iter().map(one).collect()
}

#[test]
fn each_piece_ends_as_its_command_did() {
    let text = output(&[
        ("getprop", "[a]: [1]\n", "0"),
        ("cpuinfo", "cat: /proc/cpuinfo: Permission denied", "1"),
        ("meminfo", "MemTotal: 1", ""),
        ("a_piece_of_a_later_build", "x", "0"),
    ]);
    let evidence = split(text.as_bytes(), NONCE).unwrap();
    assert_eq!(evidence.get(Piece::Getprop).unwrap(), &Collected { text: "[a]: [1]\n".into(), ending: Ending::Whole });
    assert_eq!(evidence.get(Piece::Cpuinfo).unwrap().ending, Ending::Failed(1));
    assert!(evidence.said(Piece::Cpuinfo).unwrap_err().contains("Permission denied"));
    assert_eq!(evidence.get(Piece::Meminfo).unwrap().ending, Ending::Cut);
    assert_eq!(evidence.get(Piece::Soc), None);
}

#[test]
fn a_mark_within_a_value_is_part_of_the_value() {
    let text = output(&[("getprop", "[a]: [1 @@0a1b2c3d4e5f .]\n[b]: [@@other = 0]\n", "0")]);
    let evidence = split(text.as_bytes(), NONCE).unwrap();
    let properties = Properties::of(&evidence);
    assert_eq!(properties.get("a"), Some("1 @@0a1b2c3d4e5f ."));
    assert_eq!(properties.get("b"), Some("@@other = 0"));
}

#[test]
fn lines_that_an_old_connection_ends_otherwise_are_marks_all_the_same() {
    let text = output(&[("getprop", "[a]: [1]\n", "0"), ("page_size", "4096\n", "0")]).replace('\n', "\r\n");
    let evidence = split(text.as_bytes(), NONCE).unwrap();
    let findings = read(&evidence, Rules::shipped().unwrap());
    assert_eq!(findings.page_size.present().map(|found| found.value), Some(4096));
    assert_eq!(Properties::of(&evidence).doubt(), None);
}
