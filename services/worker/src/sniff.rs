//! What the first bytes of a file look like.

/// How many bytes are looked at.
pub(crate) const HEAD_BYTES: u64 = 4_096;

/// The MIME type that the first bytes show, where they show one.
pub(crate) fn mime_type(head: &[u8]) -> Option<String> {
    let kind = infer::get(head)?;
    Some(kind.mime_type().to_owned())
}
