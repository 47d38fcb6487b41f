//! Lossless packing of integer series.
//!
//! A packed block is one byte that names the codec, then its payload. Both codecs are tried, each as it is and
//! compressed with zstd, and the shortest wins:
//!
//! - *delta varint*: every value minus the one before (the first minus 0), zigzag, LEB128. Good for series that move
//!   slowly or hold small numbers.
//! - *byte planes*: the smallest value (8 bytes), the width in bytes of the largest offset from it (1 byte, at least 1), then the
//!   lowest byte of every offset, the second byte of every offset, and so on. Good for noise around a level, because
//!   the upper planes are nearly constant.
//!
//! Everything is little-endian. Whatever was ever written must be read for ever: add codecs, never change one. The
//! number of values is not in the block; it is known to whoever stores it, and a block that does not hold exactly as
//! many is refused.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

/// More values than this are refused on reading, so that a hostile block cannot cost more than 40 MiB of memory.
pub const MAX_COUNT: u32 = 1 << 22;

const ZSTD_LEVEL: i32 = 3;
const VARINT_MAX_BYTES: usize = 10;
const PLANES_HEADER_BYTES: usize = 9;

/// Why a block cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("a block of {count} values is refused, at most {MAX_COUNT} are read")]
    TooMany { count: u32 },
    #[error("the block is empty, not even its codec is there")]
    Empty,
    #[error("codec {0} is not known to this build")]
    Codec(u8),
    #[error("the compressed payload of {size} bytes does not unpack: {why}")]
    Compression { size: usize, why: String },
    #[error("the payload ends before value {index} of {count}")]
    Short { index: u32, count: u32 },
    #[error("value {index} does not fit 64 bits")]
    Overflow { index: u32 },
    #[error("the payload of {count} values should take {expected} bytes, got {actual}")]
    Length { count: u32, expected: usize, actual: usize },
    #[error("offsets cannot be {0} bytes wide, only 1 to 8")]
    Width(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    DeltaVarint,
    BytePlanes,
    DeltaVarintZstd,
    BytePlanesZstd,
}

impl Codec {
    const fn tag(self) -> u8 {
        match self {
            Self::DeltaVarint => 1,
            Self::BytePlanes => 2,
            Self::DeltaVarintZstd => 3,
            Self::BytePlanesZstd => 4,
        }
    }

    const fn of(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::DeltaVarint),
            2 => Some(Self::BytePlanes),
            3 => Some(Self::DeltaVarintZstd),
            4 => Some(Self::BytePlanesZstd),
            _ => None,
        }
    }
}

/// Packs a series with the codec that makes it shortest. [`unpack`] gives back exactly `values`, as long as there are
/// no more than [`MAX_COUNT`].
#[must_use]
pub fn pack(values: &[i64]) -> Vec<u8> {
    let delta = delta_varint(values);
    let planes = byte_planes(values);
    let mut candidates = Vec::with_capacity(4);
    for (plain, compressed, payload) in
        [(Codec::DeltaVarint, Codec::DeltaVarintZstd, delta), (Codec::BytePlanes, Codec::BytePlanesZstd, planes)]
    {
        // Compression into memory does not fail; if it ever did, the plain form is as good.
        candidates.extend(zstd::bulk::compress(&payload, ZSTD_LEVEL).ok().map(|bytes| (compressed, bytes)));
        candidates.push((plain, payload));
    }
    candidates.into_iter().min_by_key(|(_, payload)| payload.len()).map_or_else(Vec::new, |(codec, mut payload)| {
        payload.insert(0, codec.tag());
        payload
    })
}

/// Reads a block of exactly `count` values.
pub fn unpack(bytes: &[u8], count: u32) -> Result<Vec<i64>, BlockError> {
    if count > MAX_COUNT {
        return Err(BlockError::TooMany { count });
    }
    let (&tag, payload) = bytes.split_first().ok_or(BlockError::Empty)?;
    match Codec::of(tag).ok_or(BlockError::Codec(tag))? {
        Codec::DeltaVarint => read_delta_varint(payload, count),
        Codec::BytePlanes => read_byte_planes(payload, count),
        Codec::DeltaVarintZstd => read_delta_varint(&decompress(payload, count as usize * VARINT_MAX_BYTES)?, count),
        Codec::BytePlanesZstd => {
            read_byte_planes(&decompress(payload, PLANES_HEADER_BYTES + count as usize * 8)?, count)
        }
    }
}

thread_local! {
    /// To make one takes longer than to read a block.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompress(payload: &[u8], longest: usize) -> Result<Vec<u8>, BlockError> {
    let damaged = |error: std::io::Error| BlockError::Compression { size: payload.len(), why: error.to_string() };
    DECOMPRESSOR.with_borrow_mut(|known| {
        let decompressor = match known {
            Some(decompressor) => decompressor,
            None => known.insert(Decompressor::new().map_err(damaged)?),
        };
        decompressor.decompress(payload, longest).map_err(damaged)
    })
}

fn delta_varint(values: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 3);
    let mut previous = 0_i64;
    for &value in values {
        let mut rest = zigzag(value.wrapping_sub(previous));
        previous = value;
        while rest >= 0x80 {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes
}

fn read_delta_varint(bytes: &[u8], count: u32) -> Result<Vec<i64>, BlockError> {
    let mut values = Vec::with_capacity(count as usize);
    let mut rest = bytes;
    let mut previous = 0_i64;
    for index in 0..count {
        let (delta, after) = read_varint(rest, index, count)?;
        rest = after;
        previous = previous.wrapping_add(unzigzag(delta));
        values.push(previous);
    }
    if rest.is_empty() {
        Ok(values)
    } else {
        Err(BlockError::Length { count, expected: bytes.len() - rest.len(), actual: bytes.len() })
    }
}

/// One LEB128 number and what follows it.
fn read_varint(bytes: &[u8], index: u32, count: u32) -> Result<(u64, &[u8]), BlockError> {
    let mut value = 0_u64;
    for (position, &byte) in bytes.iter().enumerate().take(VARINT_MAX_BYTES) {
        let part = u64::from(byte & 0x7f);
        let shift = 7 * position as u32;
        // The tenth byte has room for one bit.
        if shift == 63 && part > 1 {
            return Err(BlockError::Overflow { index });
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[position + 1..]));
        }
    }
    if bytes.len() < VARINT_MAX_BYTES {
        Err(BlockError::Short { index, count })
    } else {
        Err(BlockError::Overflow { index })
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn byte_planes(values: &[i64]) -> Vec<u8> {
    let least = values.iter().copied().min().unwrap_or(0);
    let offset = |value: i64| value.wrapping_sub(least) as u64;
    let widest = values.iter().map(|&value| offset(value)).max().unwrap_or(0);
    // At least one plane, so that the payload always tells how many values it holds.
    let width = (u64::BITS - widest.leading_zeros()).div_ceil(8).max(1) as usize;

    let mut bytes = Vec::with_capacity(PLANES_HEADER_BYTES + width * values.len());
    bytes.extend(least.to_le_bytes());
    bytes.push(width as u8);
    for plane in 0..width {
        bytes.extend(values.iter().map(|&value| (offset(value) >> (8 * plane)) as u8));
    }
    bytes
}

fn read_byte_planes(bytes: &[u8], count: u32) -> Result<Vec<i64>, BlockError> {
    let length = |expected: usize| BlockError::Length { count, expected, actual: bytes.len() };
    let (least, rest) = bytes.split_first_chunk().ok_or_else(|| length(PLANES_HEADER_BYTES))?;
    let (&width, planes) = rest.split_first().ok_or_else(|| length(PLANES_HEADER_BYTES))?;
    if !(1..=8).contains(&width) {
        return Err(BlockError::Width(width));
    }
    let expected = usize::from(width) * count as usize;
    if planes.len() != expected {
        return Err(length(PLANES_HEADER_BYTES + expected));
    }
    let mut offsets = vec![0_u64; count as usize];
    if count > 0 {
        for (plane, lows) in planes.chunks_exact(count as usize).enumerate() {
            for (offset, &byte) in offsets.iter_mut().zip(lows) {
                *offset |= u64::from(byte) << (8 * plane);
            }
        }
    }
    let least = i64::from_le_bytes(*least);
    Ok(offsets.into_iter().map(|offset| least.wrapping_add(offset as i64)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64]) -> Vec<i64> {
        unpack(&pack(values), values.len() as u32).unwrap()
    }

    proptest! {
        #[test]
        fn any_series_comes_back_as_it_was(values in prop::collection::vec(any::<i64>(), 0..400)) {
            prop_assert_eq!(round_trip(&values), values);
        }

        #[test]
        fn a_series_around_a_level_comes_back_as_it_was(
            level in any::<i64>(), noise in prop::collection::vec(-5_000_i64..5_000, 0..2_000)
        ) {
            let values: Vec<i64> = noise.into_iter().map(|step| level.wrapping_add(step)).collect();
            prop_assert_eq!(round_trip(&values), values);
        }

        #[test]
        fn every_codec_reads_what_it_wrote(values in prop::collection::vec(any::<i64>(), 0..200)) {
            let count = values.len() as u32;
            prop_assert_eq!(read_delta_varint(&delta_varint(&values), count).unwrap(), values.clone());
            prop_assert_eq!(read_byte_planes(&byte_planes(&values), count).unwrap(), values);
        }

        #[test]
        fn any_bytes_are_read_or_refused_and_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300), tag in 0_u8..6, count in 0_u32..100
        ) {
            let mut block = vec![tag];
            block.extend(bytes);
            if let Ok(values) = unpack(&block, count) {
                prop_assert_eq!(values.len(), count as usize);
            }
        }
    }

    #[test]
    fn extremes_come_back_as_they_were() {
        for values in [
            vec![],
            vec![0],
            vec![i64::MIN],
            vec![i64::MAX],
            vec![i64::MIN, i64::MAX, i64::MIN, 0, -1, 1],
            vec![i64::MAX; 5_000],
        ] {
            assert_eq!(round_trip(&values), values);
        }
    }

    /// One block of each codec as the first release wrote it.
    #[test]
    fn samples_of_the_stored_format_decode_for_ever() {
        let stairs: Vec<i64> = (0..64).map(|i| 1_000_000 + i % 4).collect();
        for (text, values) in [
            ("01 02 02 01 d00f 01", &[1, 2, 1, 1001, 1000][..]),
            ("02 feffffffffffffff 02 0002ff03 00000001", &[-2, 0, 253, 257]),
            ("03 28b52ffd20426d00003880897a020202050100587246", &stairs),
            ("04 28b52ffd20498d00004840420f0001000102030200d989b60011", &stairs),
        ] {
            assert_eq!(unpack(&from_hex(text), values.len() as u32).as_deref(), Ok(values), "{text}");
        }
    }

    fn from_hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks_exact(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn a_block_that_holds_another_number_of_values_is_refused() {
        for values in [vec![7; 40], vec![1, -900_000, i64::MAX, 5], (0..3_000).map(|i| i * i % 7_919).collect()] {
            let block = pack(&values);
            let count = values.len() as u32;
            assert!(unpack(&block, count + 1).is_err(), "{} values read as one more", values.len());
            assert!(unpack(&block, count - 1).is_err(), "{} values read as one less", values.len());
        }
    }

    #[test]
    fn a_count_above_the_bound_is_refused_before_anything_is_allocated() {
        assert_eq!(unpack(&[1], MAX_COUNT + 1), Err(BlockError::TooMany { count: MAX_COUNT + 1 }));
    }

    #[test]
    fn a_compressed_block_that_grows_beyond_its_count_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0_u8; 1 << 20], 3).unwrap();
        for tag in [3, 4] {
            let block = [&[tag][..], &bomb].concat();
            assert!(matches!(unpack(&block, 10), Err(BlockError::Compression { .. })));
        }
    }

    #[test]
    fn damage_is_named() {
        assert_eq!(unpack(&[], 0), Err(BlockError::Empty));
        assert_eq!(unpack(&[9, 0], 1), Err(BlockError::Codec(9)));
        assert_eq!(unpack(&[1, 0x80], 1), Err(BlockError::Short { index: 0, count: 1 }));
        let wide = [&[1][..], &[0xff; 9], &[0x02]].concat();
        assert_eq!(unpack(&wide, 1), Err(BlockError::Overflow { index: 0 }));
        for width in [0, 9] {
            let planes = [&[2][..], &[0; 8], &[width]].concat();
            assert_eq!(unpack(&planes, 0), Err(BlockError::Width(width)));
        }
    }

    #[test]
    fn latencies_at_one_nanosecond_take_no_more_than_three_bytes_a_sample() {
        // A level of 8 ms with 3 % of noise: the sum of twelve uniform numbers, which is close enough to Gauss.
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let values: Vec<i64> =
            (0..1_000).map(|_| (8e6 * (1.0 + 0.03 * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0))) as i64).collect();
        let bytes = pack(&values).len();
        assert!(bytes <= 3_000, "{bytes} bytes for 1,000 samples");
        assert_eq!(round_trip(&values), values);
    }
}
