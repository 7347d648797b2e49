//! Detects the media type of a file from its content. Dangerous types are refused (`domain/media_type`), so a program
//! must be distinguished from a file that only begins like one.

mod pieces;
mod text;

use bytes::Bytes;
use file_format::FileFormat;
use pieces::Pieces;
use waybill_object_store::{ObjectStore, StoreError};

/// Bytes of a file that are read first. The last signature is beyond the first 32 KiB.
const HEAD_BYTES: u64 = 64 * 1_024;
/// Bytes that each further read fetches if the type depends on another place: the directory of a ZIP archive or of a
/// compound file.
const MORE_BYTES: u64 = 128 * 1_024;
/// Maximum number of reads.
const READS_MAX: u32 = 8;

/// Offset of the field in which a Windows program stores the offset of its real header, and the maximum value of that
/// field.
const PE_OFFSET_AT: usize = 0x3C;
const PE_OFFSET_MAX: u32 = 1 << 24;

/// Returns the media type of a whole file in memory.
pub(crate) fn of_bytes(bytes: &Bytes) -> Option<String> {
    let mut pieces = Pieces::new(bytes.len() as u64);
    pieces.add(0, bytes.clone());
    look(&mut pieces)
}

/// Returns the media type of an object. Reads only the bytes that are needed.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn of_object(
    store: &dyn ObjectStore,
    key: &str,
    size_bytes: u64,
) -> Result<Option<String>, StoreError> {
    let mut pieces = Pieces::new(size_bytes);
    let (mut at, mut length) = (0, HEAD_BYTES);
    for _ in 0..READS_MAX {
        let length_left = length.min(size_bytes.saturating_sub(at));
        if length_left > 0 {
            pieces.add(at, store.get(key, at, Some(length_left)).await?.collect().await?);
        }
        let found = look(&mut pieces);
        match pieces.take_missing() {
            Some(missing) => (at, length) = (missing, MORE_BYTES),
            None => return Ok(found),
        }
    }
    Ok(look(&mut pieces))
}

/// Detects the type from the available pieces. Notes in `pieces` which bytes are missing.
fn look(pieces: &mut Pieces) -> Option<String> {
    let head = pieces.head();
    if let Some(found) = text::kind(&head) {
        return Some(found.to_owned());
    }
    let format = FileFormat::from_reader(&mut *pieces).ok()?;
    let is_known = !matches!(format, FileFormat::ArbitraryBinaryData | FileFormat::Empty | FileFormat::PlainText);
    (is_known && is_convincing(&head)).then(|| format.media_type().to_owned())
}

/// Returns `false` if only two bytes identify the format: among thousands of encrypted or compressed files, some begin
/// with these two bytes by chance.
fn is_convincing(head: &[u8]) -> bool {
    match head {
        [b'M', b'Z', ..] => is_windows_program(head),
        [b'%', b'!', rest @ ..] => rest.starts_with(b"PS"),
        // Object files of three machines, old archives, AAC, MP3 without tags, BMP, JPEG XL without a box.
        [0x64, 0x86, ..] | [0x4C, 0x01, ..] | [0x00, 0x02, ..] => false,
        [0x1F, 0xA0 | 0x9D, ..] | [0xC7, 0x71, ..] | [0x71, 0xC7, ..] => false,
        [0xFF, 0xF1..=0xFF | 0x0A, ..] | [b'B', b'M', ..] => false,
        _ => true,
    }
}

/// Returns `true` if the offset of the real header is plausible. Together with `MZ` at the beginning, this
/// is true for one of 2²⁴ files of random bytes.
fn is_windows_program(head: &[u8]) -> bool {
    let offset = head.get(PE_OFFSET_AT..PE_OFFSET_AT + 4).and_then(|bytes| bytes.try_into().ok());
    offset.is_some_and(|bytes| u32::from_le_bytes(bytes) <= PE_OFFSET_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_object_store::{crc64nvme, memory::MemoryStore};

    /// Returns a file that begins with these bytes. The rest consists of bytes that do not occur in text.
    fn beginning(with: &[u8]) -> Bytes {
        let rest = [0x01, 0xA7].into_iter().cycle();
        with.iter().copied().chain(rest).take(512).collect()
    }

    #[test]
    fn a_signature_of_two_bytes_alone_does_not_identify_a_type() {
        for magic in [[0x64, 0x86], [0x4C, 0x01], [0x00, 0x02], [0x1F, 0x9D], [0xFF, 0xF1], *b"BM", *b"%!", *b"MZ"] {
            assert_eq!(of_bytes(&beginning(&magic)), None, "{magic:x?}");
        }
    }

    #[test]
    fn windows_and_elf_programs_are_identified_by_their_headers() {
        let mut program = beginning(b"MZ").to_vec();
        program[PE_OFFSET_AT..PE_OFFSET_AT + 4].copy_from_slice(&0xF8_u32.to_le_bytes());
        program[0xF8..0xFC].copy_from_slice(b"PE\0\0");
        assert_eq!(of_bytes(&program.into()).as_deref(), Some("application/vnd.microsoft.portable-executable"));
        assert_eq!(of_bytes(&beginning(b"\x7FELF\x02\x01\x01")).as_deref(), Some("application/x-executable"));
    }

    #[test]
    fn pictures_are_known() {
        assert_eq!(of_bytes(&beginning(b"\x89PNG\r\n\x1a\n")).as_deref(), Some("image/png"));
        assert_eq!(of_bytes(&beginning(&[0xFF, 0xD8, 0xFF, 0xE0])).as_deref(), Some("image/jpeg"));
    }

    /// Returns a compound file whose header refers to its directory, with this class id in the root entry.
    fn compound(directory_sector: u32, class_id: [u8; 16]) -> Vec<u8> {
        let mut file = vec![0; 512 * (directory_sector as usize + 2)];
        file[..8].copy_from_slice(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1");
        file[26..28].copy_from_slice(&3_u16.to_le_bytes());
        file[48..52].copy_from_slice(&directory_sector.to_le_bytes());
        let root = 512 * (directory_sector as usize + 1) + 80;
        file[root..root + 16].copy_from_slice(&class_id);
        file
    }

    #[tokio::test]
    async fn an_installer_and_a_table_of_one_container_are_told_apart_however_far_its_directory_is() {
        let installer = [0x84, 0x10, 0x0C, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46];
        let table = [0x20, 0x08, 0x02, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46];
        let store = MemoryStore::default();
        for directory_sector in [0, 7, 4_000, 40_000] {
            for (class_id, found) in [(installer, "application/x-msi"), (table, "application/vnd.ms-excel")] {
                let file = Bytes::from(compound(directory_sector, class_id));
                assert_eq!(of_bytes(&file).as_deref(), Some(found), "{directory_sector}");
                store.put("a", file.clone(), crc64nvme(&file)).await.unwrap();
                let seen = of_object(&store, "a", file.len() as u64).await.unwrap();
                assert_eq!(seen.as_deref(), Some(found), "{directory_sector}");
            }
        }
    }
}
