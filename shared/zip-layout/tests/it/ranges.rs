//! Any ranges of any archive fit together, and a reader finds the files.

use crate::support::{assemble, at, crc32, fixed_cases};
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::{Cursor, Read};
use waybill_zip_layout::{Entry, Layout, Segments};
use zip::ZipArchive;

#[derive(Debug, Clone)]
struct File {
    name: String,
    contents: Vec<u8>,
    modified_s: i64,
}

fn file() -> impl Strategy<Value = File> {
    let contents = prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..4_000)];
    let modified_s = prop_oneof![any::<i64>(), -5_000_000_000_i64..5_000_000_000];
    ("[^/\\\\\0]{1,40}", contents, modified_s).prop_map(|(name, contents, modified_s)| File {
        name,
        contents,
        modified_s,
    })
}

/// Lays out files, whose names get a number in front of them to be unique.
fn lay_out(files: &[File]) -> Layout {
    let entry = |(index, file): (usize, &File)| Entry {
        name: format!("{index} {}", file.name),
        size_bytes: file.contents.len() as u64,
        crc32: crc32(&file.contents),
        modified_s: file.modified_s,
    };
    Layout::new(files.iter().enumerate().map(entry).collect()).unwrap()
}

fn contents_of(files: &[File]) -> Vec<Vec<u8>> {
    files.iter().map(|file| file.contents.clone()).collect()
}

proptest! {
    #![proptest_config(fixed_cases(200))]

    #[test]
    fn consecutive_ranges_make_the_archive(files in vec(file(), 0..=20), cuts in vec(any::<prop::sample::Index>(), 0..30)) {
        let (layout, contents) = (lay_out(&files), contents_of(&files));
        let size_bytes = layout.size_bytes();
        let whole = assemble(&layout, &contents, 0, size_bytes);
        prop_assert_eq!(whole.len() as u64, size_bytes);

        let mut cuts: Vec<u64> = cuts.iter().map(|cut| cut.index(whole.len() + 1) as u64).collect();
        cuts.extend([0, size_bytes]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            let range = assemble(&layout, &contents, pair[0], pair[1]);
            prop_assert_eq!(&range, &whole[at(pair[0])..at(pair[1])]);
        }
    }

    #[test]
    fn a_reader_finds_the_files(files in vec(file(), 0..=20)) {
        let (layout, contents) = (lay_out(&files), contents_of(&files));
        let whole = assemble(&layout, &contents, 0, layout.size_bytes());
        let mut archive = ZipArchive::new(Cursor::new(whole)).unwrap();
        archive.validate_header_consistency().unwrap();
        prop_assert_eq!(archive.len(), files.len());
        for (index, entry) in layout.entries().iter().enumerate() {
            let mut found = archive.by_index(index).unwrap();
            prop_assert_eq!(found.name().unwrap(), entry.name.as_str());
            prop_assert_eq!(found.size(), entry.size_bytes);
            prop_assert_eq!(found.compressed_size(), entry.size_bytes);
            prop_assert_eq!(found.crc32(), entry.crc32);
            prop_assert_eq!(found.unix_mode(), Some(0o100_644));
            // The reader compares the CRC-32 at the end of the file.
            let mut read = Vec::new();
            found.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &contents[index]);
        }
    }
}

#[test]
fn each_single_byte_and_each_pair_of_ends_is_right() {
    let file = |name: &str, contents: &[u8]| File { name: name.to_owned(), contents: contents.to_vec(), modified_s: 0 };
    let files = [file("a", b""), file("b", b"x"), file("é", b"yz"), file("d", b"")];
    let (layout, contents) = (lay_out(&files), contents_of(&files));
    let whole = assemble(&layout, &contents, 0, layout.size_bytes());
    for from in 0..=whole.len() {
        for to in from..=whole.len() {
            assert_eq!(assemble(&layout, &contents, from as u64, to as u64), whole[from..to]);
        }
    }
}

#[test]
fn a_range_past_the_end_is_cut_and_a_reversed_range_is_empty() {
    let files = [File { name: "a".to_owned(), contents: b"contents".to_vec(), modified_s: 0 }];
    let (layout, contents) = (lay_out(&files), contents_of(&files));
    let size_bytes = layout.size_bytes();
    let whole = assemble(&layout, &contents, 0, size_bytes);
    assert_eq!(assemble(&layout, &contents, 0, u64::MAX), whole);
    assert_eq!(assemble(&layout, &contents, size_bytes - 1, u64::MAX), whole[whole.len() - 1..]);
    for (from, to) in [(size_bytes, u64::MAX), (u64::MAX, u64::MAX), (5, 5), (9, 5), (u64::MAX, 0)] {
        assert_eq!(layout.segments(from, to).count(), 0);
    }
}

#[test]
fn segments_outlive_the_layout_on_any_thread() {
    fn is_free<T: Send + Sync + 'static>(value: T) -> T {
        value
    }
    let segments: Segments = is_free(lay_out(&[]).segments(0, 22));
    assert_eq!(std::thread::spawn(move || segments.count()).join().unwrap(), 1);
}
