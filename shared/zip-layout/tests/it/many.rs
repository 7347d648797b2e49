//! Archives of so many files that their number needs zip64.

use crate::support::{assemble, entry, python};
use std::io::{Cursor, Read};
use waybill_zip_layout::{Layout, Segment};
use zip::ZipArchive;

/// Lays out files of which every third has one byte and the others are empty.
fn lay_out(count: usize) -> (Layout, Vec<Vec<u8>>) {
    let contents: Vec<Vec<u8>> =
        (0..count).map(|index| if index % 3 == 0 { b"x".to_vec() } else { Vec::new() }).collect();
    let entries = contents.iter().enumerate().map(|(index, contents)| entry(&format!("{index}.txt"), contents));
    (Layout::new(entries.collect()).unwrap(), contents)
}

#[test]
fn readers_find_as_many_files_as_there_are() {
    for count in [65_534, 65_535, 65_536] {
        let (layout, contents) = lay_out(count);
        let whole = assemble(&layout, &contents, 0, layout.size_bytes());
        assert_eq!(whole.len() as u64, layout.size_bytes());
        let has_zip64_end = &whole[whole.len() - 42..whole.len() - 38] == b"PK\x06\x07";
        assert_eq!(has_zip64_end, count >= 65_535);

        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, &whole).unwrap();
        let program = "import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
names = [i.filename for i in z.infolist()]
assert names == [f'{n}.txt' for n in range(len(names))]
print(len(names), sum(i.file_size for i in z.infolist()))
for n in names[::97]: assert z.read(n) == (b'x' if int(n[:-4]) % 3 == 0 else b'')";
        assert_eq!(python(program, &path), format!("{count} {}", count.div_ceil(3)));

        let mut archive = ZipArchive::new(Cursor::new(whole)).unwrap();
        assert_eq!(archive.len(), count);
        for index in [0, 1, 32_769, count - 1] {
            let mut file = archive.by_index(index).unwrap();
            assert_eq!(file.name().unwrap(), format!("{index}.txt"));
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read, contents[index]);
        }
    }
}

#[test]
fn a_large_directory_is_produced_in_blocks() {
    let (layout, _) = lay_out(65_536);
    let mut blocks = 0;
    let mut length_bytes = 0;
    // Part of the directory and the end.
    for segment in layout.segments(layout.size_bytes() - 4_000_000, layout.size_bytes()) {
        let Segment::Bytes(bytes) = segment else { panic!("the directory has no files") };
        assert!(bytes.len() < 17_000);
        blocks += 1;
        length_bytes += bytes.len();
    }
    assert_eq!(length_bytes, 4_000_000);
    assert!((200..300).contains(&blocks), "{blocks} blocks");
}
