//! The bytes of the records around the files, and the length of each record without its bytes (APPNOTE 4.3).

use crate::dos_time::DosTime;
use crate::entry::Entry;
use bytes::{BufMut, BytesMut};

const LOCAL_HEADER_SIGNATURE: u32 = 0x0403_4b50;
const DIRECTORY_RECORD_SIGNATURE: u32 = 0x0201_4b50;
const ZIP64_END_SIGNATURE: u32 = 0x0606_4b50;
const ZIP64_LOCATOR_SIGNATURE: u32 = 0x0706_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;

const LOCAL_HEADER_BYTES: u64 = 30;
const DIRECTORY_RECORD_BYTES: u64 = 46;
const ZIP64_END_BYTES: u64 = 56;
const ZIP64_LOCATOR_BYTES: u64 = 20;
const END_BYTES: u64 = 22;

/// Tag and length at the start of each extra field.
const EXTRA_HEADER_BYTES: u64 = 4;
const ZIP64_TAG: u16 = 0x0001;
const TIMESTAMP_TAG: u16 = 0x5455;
/// One byte of flags and a time of 4 bytes.
const TIMESTAMP_BYTES: u16 = 5;
const TIMESTAMP_HAS_MODIFIED: u8 = 1;

/// A value from here on is in a zip64 field. This value itself marks the field of 4 bytes as "see zip64".
const ZIP64_FROM: u64 = 0xFFFF_FFFF;
/// The same, for the number of entries.
const ZIP64_COUNT_FROM: u64 = 0xFFFF;

const VERSION_STORED: u16 = 10;
const VERSION_ZIP64: u16 = 45;
const MADE_BY_UNIX: u16 = 3 << 8;
/// The name is UTF-8.
const FLAGS: u16 = 1 << 11;
const METHOD_STORED: u16 = 0;
/// A regular file that its owner can write and everyone can read.
const EXTERNAL_ATTRIBUTES: u32 = 0o100_644 << 16;

/// Place and number of records of the directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Directory {
    pub(crate) count: u64,
    pub(crate) start: u64,
    pub(crate) size_bytes: u64,
}

/// Returns the length of what [`write_local_header`] writes.
pub(crate) fn local_header_bytes(entry: &Entry) -> u64 {
    let zip64 = if entry.size_bytes >= ZIP64_FROM { EXTRA_HEADER_BYTES + 16 } else { 0 };
    LOCAL_HEADER_BYTES + entry.name.len() as u64 + timestamp_bytes(entry) + zip64
}

/// Writes the header in front of a file. `start` is the offset of this header.
pub(crate) fn write_local_header(entry: &Entry, start: u64, out: &mut BytesMut) {
    let zip64 = if entry.size_bytes >= ZIP64_FROM { &[entry.size_bytes; 2][..] } else { &[] };
    out.put_u32_le(LOCAL_HEADER_SIGNATURE);
    write_common(entry, start, zip64, out);
    out.put_slice(entry.name.as_bytes());
    write_extra(entry, zip64, out);
}

/// Returns the length of what [`write_directory_record`] writes.
pub(crate) fn directory_record_bytes(entry: &Entry, start: u64) -> u64 {
    let zip64 = match 8 * overflowing(entry, start).count() as u64 {
        0 => 0,
        values => EXTRA_HEADER_BYTES + values,
    };
    DIRECTORY_RECORD_BYTES + entry.name.len() as u64 + timestamp_bytes(entry) + zip64
}

/// Writes the record of a file in the directory. `start` is the offset of its local header.
pub(crate) fn write_directory_record(entry: &Entry, start: u64, out: &mut BytesMut) {
    let zip64: Vec<u64> = overflowing(entry, start).collect();
    out.put_u32_le(DIRECTORY_RECORD_SIGNATURE);
    out.put_u16_le(MADE_BY_UNIX | VERSION_ZIP64);
    write_common(entry, start, &zip64, out);
    out.put_u16_le(0); // length of the comment
    out.put_u16_le(0); // number of the disk
    out.put_u16_le(0); // internal attributes
    out.put_u32_le(EXTERNAL_ATTRIBUTES);
    out.put_u32_le(saturated_u32(start));
    out.put_slice(entry.name.as_bytes());
    write_extra(entry, &zip64, out);
}

/// Returns the length of what [`write_end`] writes.
pub(crate) fn end_bytes(directory: Directory) -> u64 {
    if needs_zip64_end(directory) { ZIP64_END_BYTES + ZIP64_LOCATOR_BYTES + END_BYTES } else { END_BYTES }
}

/// Writes the records after the directory.
pub(crate) fn write_end(directory: Directory, out: &mut BytesMut) {
    if needs_zip64_end(directory) {
        write_zip64_end(directory, out);
    }
    let count = u16::try_from(directory.count).unwrap_or(u16::MAX);
    out.put_u32_le(END_SIGNATURE);
    out.put_u16_le(0); // number of this disk
    out.put_u16_le(0); // number of the disk with the directory
    out.put_u16_le(count); // on this disk
    out.put_u16_le(count);
    out.put_u32_le(saturated_u32(directory.size_bytes));
    out.put_u32_le(saturated_u32(directory.start));
    out.put_u16_le(0); // length of the comment
}

fn write_zip64_end(directory: Directory, out: &mut BytesMut) {
    out.put_u32_le(ZIP64_END_SIGNATURE);
    out.put_u64_le(ZIP64_END_BYTES - 12); // without the signature and this length
    out.put_u16_le(MADE_BY_UNIX | VERSION_ZIP64);
    out.put_u16_le(VERSION_ZIP64);
    out.put_u32_le(0); // number of this disk
    out.put_u32_le(0); // number of the disk with the directory
    out.put_u64_le(directory.count); // on this disk
    out.put_u64_le(directory.count);
    out.put_u64_le(directory.size_bytes);
    out.put_u64_le(directory.start);

    out.put_u32_le(ZIP64_LOCATOR_SIGNATURE);
    out.put_u32_le(0); // number of the disk with the record above
    out.put_u64_le(directory.start.saturating_add(directory.size_bytes));
    out.put_u32_le(1); // number of disks
}

/// Writes what a local header and a directory record have in common: from the version to the length of the extra fields.
fn write_common(entry: &Entry, start: u64, zip64: &[u64], out: &mut BytesMut) {
    let modified = DosTime::from_unix(entry.modified_s);
    let extra_bytes = timestamp_bytes(entry) + if zip64.is_empty() { 0 } else { 4 + 8 * zip64.len() as u64 };
    // Both headers state the same version, also if only the directory has a zip64 field: some readers compare them.
    let needs_zip64 = entry.size_bytes >= ZIP64_FROM || start >= ZIP64_FROM;
    out.put_u16_le(if needs_zip64 { VERSION_ZIP64 } else { VERSION_STORED });
    out.put_u16_le(FLAGS);
    out.put_u16_le(METHOD_STORED);
    out.put_u16_le(modified.time);
    out.put_u16_le(modified.date);
    out.put_u32_le(entry.crc32);
    out.put_u32_le(saturated_u32(entry.size_bytes)); // compressed
    out.put_u32_le(saturated_u32(entry.size_bytes));
    out.put_u16_le(saturated_u16(entry.name.len() as u64));
    out.put_u16_le(saturated_u16(extra_bytes));
}

fn write_extra(entry: &Entry, zip64: &[u64], out: &mut BytesMut) {
    if !zip64.is_empty() {
        out.put_u16_le(ZIP64_TAG);
        out.put_u16_le(saturated_u16(8 * zip64.len() as u64));
        zip64.iter().for_each(|value| out.put_u64_le(*value));
    }
    if let Some(modified_s) = timestamp(entry) {
        out.put_u16_le(TIMESTAMP_TAG);
        out.put_u16_le(TIMESTAMP_BYTES);
        out.put_u8(TIMESTAMP_HAS_MODIFIED);
        out.put_i32_le(modified_s);
    }
}

/// Returns the values of the zip64 field of a directory record, in the order of APPNOTE 4.5.3: size, stored size, offset.
fn overflowing(entry: &Entry, start: u64) -> impl Iterator<Item = u64> {
    [entry.size_bytes, entry.size_bytes, start].into_iter().filter(|value| *value >= ZIP64_FROM)
}

/// Returns the time for the extended timestamp. Some readers take it as signed and others as unsigned, so a time that they would
/// read differently has none, and they use the MS-DOS time.
fn timestamp(entry: &Entry) -> Option<i32> {
    i32::try_from(entry.modified_s).ok().filter(|modified_s| *modified_s >= 0)
}

fn timestamp_bytes(entry: &Entry) -> u64 {
    timestamp(entry).map_or(0, |_| EXTRA_HEADER_BYTES + u64::from(TIMESTAMP_BYTES))
}

fn needs_zip64_end(directory: Directory) -> bool {
    directory.count >= ZIP64_COUNT_FROM || directory.start >= ZIP64_FROM || directory.size_bytes >= ZIP64_FROM
}

/// Narrows a value. The greatest result means that the value is in a zip64 field.
fn saturated_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Narrows a length, which always fits: [`Layout::new`](crate::Layout::new) limits the name, and the extra fields are short.
fn saturated_u16(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
