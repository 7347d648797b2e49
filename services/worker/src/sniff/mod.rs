//! What the first bytes of a file look like.

/// How many bytes are looked at.
pub(crate) const HEAD_BYTES: u64 = 4_096;

/// Where a Windows program says where its real header is, and how far away that may be. By random bytes one file in
/// 2²⁴ looks so.
const PE_OFFSET_AT: usize = 0x3C;
const PE_OFFSET_MAX: u32 = 1 << 24;

/// The MIME type that the first bytes show, where they show one.
pub(crate) fn mime_type(head: &[u8]) -> Option<String> {
    let kind = infer::get(head)?;
    is_convincing(head).then(|| kind.mime_type().to_owned())
}

/// Two bytes alone prove nothing: of thousands of encrypted or compressed files some begin with any two.
fn is_convincing(head: &[u8]) -> bool {
    match head {
        [b'M', b'Z', ..] => is_windows_program(head),
        // Object files of three machines, old archives, PostScript, AAC, MP3 without tags, BMP, JPEG XL without a box.
        [0x64, 0x86, ..] | [0x4C, 0x01, ..] | [0x00, 0x02, ..] => false,
        [0x1F, 0xA0 | 0x9D, ..] | [0xC7, 0x71, ..] | [0x71, 0xC7, ..] | [b'%', b'!', ..] => false,
        [0xFF, 0xF1..=0xFF | 0x0A, ..] | [b'B', b'M', ..] => false,
        _ => true,
    }
}

fn is_windows_program(head: &[u8]) -> bool {
    let offset = head.get(PE_OFFSET_AT..PE_OFFSET_AT + 4).and_then(|bytes| bytes.try_into().ok());
    offset.is_some_and(|bytes| u32::from_le_bytes(bytes) <= PE_OFFSET_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(with: &[u8]) -> Vec<u8> {
        let mut head = with.to_vec();
        head.resize(512, 0xA7);
        head
    }

    #[test]
    fn two_bytes_prove_nothing() {
        for magic in [[0x64, 0x86], [0x4C, 0x01], [0x00, 0x02], [0x1F, 0x9D], [0xFF, 0xF1], *b"BM", *b"%!", *b"MZ"] {
            assert_eq!(mime_type(&beginning(&magic)), None, "{magic:x?}");
        }
    }

    #[test]
    fn programs_are_known_by_more() {
        let mut program = beginning(b"MZ");
        program[PE_OFFSET_AT..PE_OFFSET_AT + 4].copy_from_slice(&0xF8_u32.to_le_bytes());
        assert!(mime_type(&program).is_some_and(|found| found.contains("executable")), "{:?}", mime_type(&program));
        assert_eq!(mime_type(&beginning(b"\x7FELF\x02\x01\x01")).as_deref(), Some("application/x-executable"));
    }

    #[test]
    fn pictures_are_known() {
        assert_eq!(mime_type(b"\x89PNG\r\n\x1a\n").as_deref(), Some("image/png"));
        assert_eq!(mime_type(&[0xFF, 0xD8, 0xFF, 0xE0]).as_deref(), Some("image/jpeg"));
    }
}
