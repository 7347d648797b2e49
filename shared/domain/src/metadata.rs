//! What a client says of a file besides: a JSON object that everybody after the gateway can keep and read.

use crate::Refusal;

/// The largest metadata, as JSON.
pub const MAX_BYTES: usize = 8 * 1_024;
/// How deep they may be nested: what reads them nests them once or twice more, and has limits of its own.
pub const MAX_DEPTH: usize = 32;

/// Whether metadata can be kept, given as JSON that was written by a serializer: every NUL is an escape.
///
/// # Errors
/// [`Refusal::MetadataTooLarge`], [`Refusal::MetadataInvalid`].
pub fn check(json: &str) -> Result<(), Refusal> {
    if json.len() > MAX_BYTES {
        return Err(Refusal::MetadataTooLarge);
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.bytes().enumerate() {
        match (in_text, byte) {
            (true, _) if escaped => {
                escaped = false;
                // PostgreSQL keeps no NUL in JSON.
                if json.as_bytes().get(at..at + 5).is_some_and(|code| code == b"u0000") {
                    return Err(Refusal::MetadataInvalid { reason: "no text in them may hold a NUL" });
                }
            }
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Refusal::MetadataInvalid { reason: "they are nested at most 32 deep" });
        }
    }
    Ok(())
}
