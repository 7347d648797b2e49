//! Metadata of a file: a JSON object from the client. The checks ensure that all later components can store and read
//! it.

use crate::Refusal;

/// Maximum size of metadata in bytes, as JSON.
pub const MAX_BYTES: usize = 8 * 1_024;
/// Maximum nesting depth of metadata. Readers embed the metadata one or two levels deeper and have limits of their own.
pub const MAX_DEPTH: usize = 32;

/// Checks whether metadata can be stored. `json` must be valid JSON (RFC 8259), so that every NUL in it is escaped.
///
/// # Errors
/// [`Refusal::MetadataTooLarge`], [`Refusal::MetadataInvalid`].
pub fn check(json: &str) -> Result<(), Refusal> {
    if json.len() > MAX_BYTES {
        return Err(Refusal::MetadataTooLarge);
    }
    check_numbers(json)?;
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.bytes().enumerate() {
        match (in_text, byte) {
            (true, _) if escaped => {
                escaped = false;
                // PostgreSQL cannot store NUL in JSON.
                if json.as_bytes().get(at..at + 5).is_some_and(|code| code == b"u0000") {
                    return Err(Refusal::MetadataInvalid { reason: "strings must not contain the NUL character" });
                }
            }
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Refusal::MetadataInvalid { reason: "objects and arrays can be nested at most 32 levels deep" });
        }
    }
    Ok(())
}

/// Checks that every number fits into a double (RFC 8259 §6), because few clients can read other numbers. Numbers are
/// stored as they were written.
fn check_numbers(json: &str) -> Result<(), Refusal> {
    let mut in_text = false;
    let mut escaped = false;
    let mut outside = |c: char| {
        let was = in_text;
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ => {}
        }
        !was && !in_text
    };
    let bare: String = json.chars().map(|c| if outside(c) { c } else { ' ' }).collect();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    for number in bare.split(|c: char| !is_part(c)).filter(|token| token.contains(|c: char| c.is_ascii_digit())) {
        let value: f64 = number.parse().unwrap_or(f64::INFINITY);
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        let is_lost = value == 0.0 && mantissa.contains(|c: char| ('1'..='9').contains(&c));
        if !value.is_finite() || is_lost {
            return Err(Refusal::MetadataInvalid { reason: "every number must fit into a double (IEEE 754)" });
        }
    }
    Ok(())
}
