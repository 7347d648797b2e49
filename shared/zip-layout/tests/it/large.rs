//! An archive with files and offsets past 4 GiB. It is a sparse file: the large files consist of zeros.

use crate::support::{entry, python};
use crc_fast::{CrcAlgorithm::Crc32IsoHdlc, checksum, checksum_combine};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use waybill_zip_layout::{Entry, Layout, Segment};
use zip::ZipArchive;

const SMALL: &[u8] = b"a small file";
const SIZES: [u64; 4] = [0xFFFF_FFFE, 0xFFFF_FFFF, 0x1_0000_0000, 5 << 30];

/// Returns the CRC-32 of zeros, combined from those of the powers of two.
fn crc32_of_zeros(count: u64) -> u32 {
    let mut power = checksum(Crc32IsoHdlc, &[0]);
    let mut result = checksum(Crc32IsoHdlc, &[]);
    for bit in 0..u64::BITS - count.leading_zeros() {
        if (count >> bit) & 1 == 1 {
            result = checksum_combine(Crc32IsoHdlc, result, power, 1 << bit);
        }
        power = checksum_combine(Crc32IsoHdlc, power, power, 1 << bit);
    }
    u32::try_from(result).unwrap()
}

/// Returns large files of zeros, each followed by a small one.
fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for size_bytes in SIZES {
        let (name, crc32) = (format!("zeros {size_bytes}"), crc32_of_zeros(size_bytes));
        entries.push(Entry { name, size_bytes, crc32, modified_s: 0 });
        entries.push(entry(&format!("after {size_bytes}"), SMALL));
    }
    entries
}

/// Writes the archive with holes in place of the zeros.
fn write_sparse(layout: &Layout, file: &mut File) {
    for segment in layout.segments(0, layout.size_bytes()) {
        match segment {
            Segment::Bytes(bytes) => file.write_all(&bytes).unwrap(),
            Segment::File { index, from, to } if index % 2 == 1 => {
                assert_eq!((from, to), (0, SMALL.len() as u64));
                file.write_all(SMALL).unwrap();
            }
            Segment::File { from, to, .. } => {
                file.seek(SeekFrom::Current(i64::try_from(to - from).unwrap())).unwrap();
            }
        }
    }
    assert_eq!(file.stream_position().unwrap(), layout.size_bytes());
}

#[test]
fn the_crc_of_zeros_is_combined_correctly() {
    for count in [0, 1, 2, 3, 1_000, 65_537] {
        let hashed = checksum(Crc32IsoHdlc, &vec![0; usize::try_from(count).unwrap()]);
        assert_eq!(u64::from(crc32_of_zeros(count)), hashed);
    }
}

#[test]
fn readers_find_files_and_offsets_past_4_gib() {
    let layout = Layout::new(entries()).unwrap();
    let mut archive_file = tempfile::NamedTempFile::new().unwrap();
    write_sparse(&layout, archive_file.as_file_mut());

    let mut expected = Vec::new();
    let mut archive = ZipArchive::new(archive_file.reopen().unwrap()).unwrap();
    archive.validate_header_consistency().unwrap();
    assert_eq!(archive.len(), layout.entries().len());
    let mut next_start = 0;
    for (index, entry) in layout.entries().iter().enumerate() {
        let mut file = archive.by_index(index).unwrap();
        assert_eq!(file.name().unwrap(), entry.name.as_str());
        assert_eq!((file.size(), file.compressed_size()), (entry.size_bytes, entry.size_bytes));
        assert_eq!((file.crc32(), file.header_start()), (entry.crc32, next_start));
        next_start = file.data_start().unwrap() + entry.size_bytes;
        if index % 2 == 1 {
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read, SMALL);
        }
        expected.push(format!("{} {} {}", entry.name, entry.size_bytes, file.header_start()));
    }
    assert_eq!(archive.central_directory_start(), next_start);

    let program = "import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
for i in z.infolist():
    z.open(i).close()
    if i.file_size < 100: assert z.read(i) == b'a small file'
    print(i.filename, i.file_size, i.header_offset)";
    assert_eq!(python(program, archive_file.path()), expected.join("\n"));
}
