//! The bytes of headers, where readers are too lenient to find an error.

use crate::support::{MODIFIED_S, assemble, entry, entry_of_size, headers, u16_at, u32_at, u64_at};
use waybill_zip_layout::{Entry, Layout, LayoutError};

const MAX: u64 = 0xFFFF_FFFF;

#[test]
fn an_empty_archive_is_its_end() {
    let layout = Layout::new(Vec::new()).unwrap();
    assert_eq!(layout.size_bytes(), 22);
    assert_eq!(assemble(&layout, &[], 0, 22), [&b"PK\x05\x06"[..], &[0; 18]].concat());
}

#[test]
fn an_archive_of_one_file_has_these_bytes() {
    let layout = Layout::new(vec![entry("a", b"hello")]).unwrap();
    let common = [
        &b"\x0a\0\0\x08\0\0\x5c\x64\x5d\x58"[..], // version, flags, method, time, date
        b"\x86\xa6\x10\x36\x05\0\0\0\x05\0\0\0\x01\0\x09\0", // CRC-32, sizes, lengths of the name and the extra field
    ]
    .concat();
    let extra = b"\x55\x54\x05\0\x01\xf0\x79\xe0\x65";
    let expected = [
        &b"PK\x03\x04"[..],
        &common,
        b"a",
        extra,
        b"hello",
        b"PK\x01\x02\x2d\x03",
        &common,
        b"\0\0\0\0\0\0\0\0\xa4\x81\0\0\0\0a",
        extra,
        b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x38\0\0\0\x2d\0\0\0\0\0",
    ]
    .concat();
    assert_eq!(assemble(&layout, &[b"hello".to_vec()], 0, layout.size_bytes()), expected);
}

/// The extra field without the timestamp of 9 bytes at its end.
fn zip64_of(record: &[u8], header_bytes: usize, name_bytes: usize, extra_bytes: u16) -> &[u8] {
    let start = header_bytes + name_bytes;
    &record[start..start + usize::from(extra_bytes) - 9]
}

#[test]
fn a_size_is_in_zip64_from_the_greatest_value_of_32_bits() {
    for (size, is_zip64) in [(MAX - 1, false), (MAX, true), (MAX + 1, true)] {
        let layout = Layout::new(vec![entry_of_size("name", size)]).unwrap();
        let local = headers(&layout, 0, 100);
        let directory_start = 30 + 4 + 9 + size + if is_zip64 { 20 } else { 0 };
        let record = headers(&layout, directory_start, u64::MAX);
        let stored = u32::try_from(size).unwrap_or(u32::MAX);
        let version = if is_zip64 { 45 } else { 10 };
        let sizes = [size.to_le_bytes(), size.to_le_bytes()].concat();
        let zip64 = if is_zip64 { [&b"\x01\0\x10\0"[..], &sizes].concat() } else { Vec::new() };

        assert_eq!(&local[..4], b"PK\x03\x04");
        assert_eq!(u16_at(&local, 4), version);
        assert_eq!((u32_at(&local, 18), u32_at(&local, 22)), (stored, stored));
        assert_eq!(zip64_of(&local, 30, 4, u16_at(&local, 28)), zip64);

        assert_eq!(&record[..4], b"PK\x01\x02");
        assert_eq!(u16_at(&record, 6), version);
        assert_eq!((u32_at(&record, 20), u32_at(&record, 24), u32_at(&record, 42)), (stored, stored, 0));
        assert_eq!(zip64_of(&record, 46, 4, u16_at(&record, 30)), zip64);
    }
}

#[test]
fn an_offset_is_in_zip64_from_the_greatest_value_of_32_bits() {
    for (offset, is_zip64) in [(MAX - 1, false), (MAX, true), (MAX + 1, true)] {
        let entries = vec![entry_of_size("pad!", offset - 43), entry_of_size("name", 7)];
        let layout = Layout::new(entries).unwrap();
        let local = headers(&layout, offset, offset + 43);
        let records = headers(&layout, offset + 43 + 7, u64::MAX);
        let record = &records[46 + 4 + 9..];
        let version = if is_zip64 { 45 } else { 10 };
        let zip64 = if is_zip64 { [&b"\x01\0\x08\0"[..], &offset.to_le_bytes()].concat() } else { Vec::new() };

        assert_eq!(&local[..4], b"PK\x03\x04");
        assert_eq!((u16_at(&local, 4), u16_at(&local, 28)), (version, 9));
        assert_eq!(&record[..4], b"PK\x01\x02");
        assert_eq!(u16_at(record, 6), version);
        assert_eq!((u32_at(record, 20), u32_at(record, 24)), (7, 7));
        assert_eq!(u32_at(record, 42), u32::try_from(offset).unwrap_or(u32::MAX));
        assert_eq!(zip64_of(record, 46, 4, u16_at(record, 30)), zip64);
    }
}

#[test]
fn sizes_come_before_the_offset() {
    let layout = Layout::new(vec![entry_of_size("a", MAX), entry_of_size("b", MAX + 5)]).unwrap();
    let second_start = 30 + 1 + 20 + 9 + MAX;
    let directory_start = second_start + 30 + 1 + 20 + 9 + MAX + 5;
    let records = headers(&layout, directory_start, u64::MAX);
    let record = &records[46 + 1 + 20 + 9..];
    let values = [MAX + 5, MAX + 5, second_start].map(u64::to_le_bytes).concat();
    assert_eq!(zip64_of(record, 46, 1, u16_at(record, 30)), [&b"\x01\0\x18\0"[..], &values].concat());
}

#[test]
fn the_end_is_in_zip64_from_the_greatest_offset_of_32_bits() {
    for (directory_start, is_zip64) in [(MAX - 1, false), (MAX, true), (MAX + 1, true)] {
        let layout = Layout::new(vec![entry_of_size("name", directory_start - 43)]).unwrap();
        let end_start = directory_start + 46 + 4 + 9;
        let end = headers(&layout, end_start, u64::MAX);
        assert_eq!(end.len(), if is_zip64 { 56 + 20 + 22 } else { 22 });
        let plain = &end[end.len() - 22..];
        assert_eq!(&plain[..4], b"PK\x05\x06");
        assert_eq!((u16_at(plain, 8), u16_at(plain, 10), u32_at(plain, 12)), (1, 1, 59));
        assert_eq!(u32_at(plain, 16), u32::try_from(directory_start).unwrap_or(u32::MAX));
        if is_zip64 {
            assert_eq!(&end[..4], b"PK\x06\x06");
            assert_eq!((u64_at(&end, 4), u16_at(&end, 12), u16_at(&end, 14)), (44, 0x032D, 45));
            assert_eq!((u64_at(&end, 24), u64_at(&end, 32)), (1, 1));
            assert_eq!((u64_at(&end, 40), u64_at(&end, 48)), (59, directory_start));
            assert_eq!(&end[56..60], b"PK\x06\x07");
            assert_eq!((u32_at(&end, 60), u64_at(&end, 64), u32_at(&end, 72)), (0, end_start, 1));
        }
    }
}

/// Returns the time and the date of MS-DOS, and the extended timestamp.
fn times(modified_s: i64) -> (u16, u16, Option<u32>) {
    let entry = Entry { name: String::new(), size_bytes: 0, crc32: 0, modified_s };
    let local = headers(&Layout::new(vec![entry]).unwrap(), 0, 39);
    let has_timestamp = u16_at(&local, 28) == 9;
    (u16_at(&local, 10), u16_at(&local, 12), has_timestamp.then(|| u32_at(&local, 35)))
}

fn time(hour: u16, minute: u16, second: u16) -> u16 {
    (hour << 11) | (minute << 5) | (second / 2)
}

fn date(year: u16, month: u16, day: u16) -> u16 {
    ((year - 1980) << 9) | (month << 5) | day
}

#[test]
fn times_are_utc_and_limited_to_what_fits() {
    assert_eq!(times(MODIFIED_S), (time(12, 34, 56), date(2024, 2, 29), Some(1_709_210_096)));
    let (first, last) = ((0, date(1980, 1, 1)), (time(23, 59, 58), date(2107, 12, 31)));
    for (modified_s, timestamp) in [(i64::MIN, None), (-1, None), (0, Some(0)), (315_532_799, Some(315_532_799))] {
        assert_eq!(times(modified_s), (first.0, first.1, timestamp));
    }
    assert_eq!(times(315_532_802), (1, date(1980, 1, 1), Some(315_532_802)));
    assert_eq!(times(2_147_483_647), (time(3, 14, 7), date(2038, 1, 19), Some(0x7FFF_FFFF)));
    assert_eq!(times(2_147_483_648), (time(3, 14, 8), date(2038, 1, 19), None));
    assert_eq!(times(4_107_542_399), (time(23, 59, 59), date(2100, 2, 28), None));
    assert_eq!(times(4_107_542_400), (0, date(2100, 3, 1), None));
    for modified_s in [4_354_819_199, 4_354_819_200, i64::MAX] {
        assert_eq!(times(modified_s), (last.0, last.1, None));
    }
}

#[test]
fn a_layout_needs_names_and_lengths_that_fit() {
    let longest = "n".repeat(65_535);
    let layout = Layout::new(vec![entry(&longest, b"")]).unwrap();
    assert_eq!(layout.size_bytes(), 30 + 46 + 22 + 2 * (65_535 + 9));

    let too_long = vec![entry("a", b""), entry(&format!("{longest}n"), b"")];
    assert_eq!(Layout::new(too_long).unwrap_err(), LayoutError::NameTooLong { index: 1, length_bytes: 65_536 });

    let rest = (30 + 1 + 20 + 9) + (46 + 1 + 20 + 9) + (56 + 20 + 22);
    assert_eq!(Layout::new(vec![entry_of_size("a", u64::MAX - rest)]).unwrap().size_bytes(), u64::MAX);
    for size in [u64::MAX - rest + 1, u64::MAX] {
        assert_eq!(Layout::new(vec![entry_of_size("a", size)]).unwrap_err(), LayoutError::TooLarge);
    }
    let two = vec![entry_of_size("a", u64::MAX / 2), entry_of_size("b", u64::MAX / 2)];
    assert_eq!(Layout::new(two).unwrap_err(), LayoutError::TooLarge);
}
