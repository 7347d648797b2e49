//! Files with contents, and what a reader finds in an archive of them.

use crc_fast::{CrcAlgorithm, checksum};
use proptest::test_runner::{Config, RngSeed};
use std::path::Path;
use std::process::Command;
use waybill_zip_layout::{Entry, Layout, Segment};

/// 2024-02-29 12:34:56 UTC.
pub(crate) const MODIFIED_S: i64 = 1_709_210_096;

/// Returns a configuration that tries the same cases in each run.
pub(crate) fn fixed_cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(20_240_229), failure_persistence: None, ..Config::default() }
}

pub(crate) fn crc32(contents: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32IsoHdlc, contents)).unwrap()
}

pub(crate) fn entry(name: &str, contents: &[u8]) -> Entry {
    Entry { name: name.to_owned(), size_bytes: contents.len() as u64, crc32: crc32(contents), modified_s: MODIFIED_S }
}

/// Returns an entry whose contents no test reads.
pub(crate) fn entry_of_size(name: &str, size_bytes: u64) -> Entry {
    Entry { name: name.to_owned(), size_bytes, crc32: 0x1234_5678, modified_s: MODIFIED_S }
}

/// Puts a range of an archive together.
pub(crate) fn assemble(layout: &Layout, contents: &[Vec<u8>], from: u64, to: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in layout.segments(from, to) {
        let before = out.len();
        match segment {
            Segment::Bytes(bytes) => out.extend_from_slice(&bytes),
            Segment::File { index, from, to } => out.extend_from_slice(&contents[index][at(from)..at(to)]),
        }
        assert!(out.len() > before, "a segment is empty");
    }
    out
}

/// Collects the headers that lie in a range, without the files.
pub(crate) fn headers(layout: &Layout, from: u64, to: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in layout.segments(from, to) {
        if let Segment::Bytes(bytes) = segment {
            out.extend_from_slice(&bytes);
        }
    }
    out
}

pub(crate) fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Runs a Python program on an archive, and returns what it prints.
pub(crate) fn python(program: &str, archive: &Path) -> String {
    let output = Command::new("python3").arg("-c").arg(program).arg(archive).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
