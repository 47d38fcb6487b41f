//! Memory, storage, page size and binary interfaces.

use serde::{Deserialize, Serialize};

use super::evidence::{Piece, RawEvidence, whole_lines};
use super::properties::{Properties, quote};
use super::{Fact, Found};
use crate::reading::Reading;
use crate::reason::Code;

/// The file system that holds what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    pub total_bytes: u64,
    pub free_bytes: u64,
}

pub(super) fn memory(evidence: &RawEvidence) -> Fact<u64> {
    let said = match evidence.said(Piece::Meminfo) {
        Ok(said) => said,
        Err(reason) => return Reading::Absent(reason),
    };
    // The kernel writes kB and means 1024.
    let told = whole_lines(said).find_map(|line| line.strip_prefix("MemTotal:")).map(str::trim);
    let kib = told.and_then(|told| told.strip_suffix("kB")?.trim().parse::<u64>().ok());
    let found = kib.zip(told).map(|(kib, told)| Found::told(kib.saturating_mul(1024), format!("MemTotal: {told}")));
    Reading::from_option(found, Code::NoMemTotal.template())
}

/// `/data` of a phone; of a board, where there is no such file system, the root.
pub(super) fn storage(evidence: &RawEvidence) -> Fact<Storage> {
    let of = |piece: Piece| {
        let said = evidence.said(piece)?;
        whole_lines(said).find_map(table_row).ok_or_else(|| format!("{} prints no row of sizes", piece.as_str()))
    };
    match (of(Piece::Storage), of(Piece::RootStorage)) {
        (Ok(found), _) | (Err(_), Ok(found)) => Reading::Present(found),
        (Err(data), Err(root)) => Reading::Absent(format!("{data}; {root}")),
    }
}

/// `/dev/block/dm-50 234567890 12345678 222222212 6% /data`, in KiB.
fn table_row(line: &str) -> Option<Found<Storage>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [.., total, _, free, share, _] = words.as_slice() else { return None };
    share.strip_suffix('%')?;
    let bytes = |word: &str| word.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024));
    let storage = Storage { total_bytes: bytes(total)?, free_bytes: bytes(free)? };
    (storage.free_bytes <= storage.total_bytes).then(|| Found::told(storage, line))
}

pub(super) fn page_size(evidence: &RawEvidence) -> Fact<u32> {
    match evidence.said(Piece::PageSize) {
        Ok(said) => {
            let bytes = said.text.parse::<u32>().ok().filter(|bytes| said.whole && bytes.is_power_of_two());
            let found = bytes.map(|bytes| Found::told(bytes, format!("getconf PAGE_SIZE = {bytes}")));
            Reading::from_option(found, format!("getconf says {}, which is no page size", super::clip(said.text)))
        }
        Err(reason) => Reading::Absent(reason),
    }
}

pub(super) fn abis(evidence: &RawEvidence, properties: &Properties) -> Fact<Vec<String>> {
    const LISTS: [&str; 3] = ["ro.product.cpu.abilist", "ro.system.product.cpu.abilist", "ro.product.cpu.abi"];
    if !properties.is_android() {
        return match evidence.said(Piece::Machine) {
            Ok(said) if said.whole => {
                Reading::Present(Found::told(vec![super::clip(said.text)], format!("uname -m = {}", said.text)))
            }
            Ok(_) => Reading::absent(Code::MachineCut.template()),
            Err(reason) => Reading::Absent(reason),
        };
    }
    let found = properties.first(&LISTS).map(|(key, value)| {
        let abis = value.split(',').map(|abi| abi.trim().to_owned()).filter(|abi| !abi.is_empty()).collect();
        Found::told(abis, quote(key, value))
    });
    Reading::from_option(found, properties.absence(&LISTS))
}
