//! File names: what a client calls a file. A name is shown and sent back, and never part of an object's key.

use crate::Refusal;

/// The longest name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// Whether a file may be called this.
///
/// # Errors
/// [`Refusal::NameInvalid`] for an empty or too long name, path characters (also percent-encoded ones), control
/// characters, and characters that change the direction of text or are invisible.
pub fn check(name: &str) -> Result<(), Refusal> {
    match problem(name) {
        Some(reason) => Err(Refusal::NameInvalid { reason }),
        None => Ok(()),
    }
}

fn problem(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return Some("it has more than 255 bytes");
    }
    if name == "." || name == ".." || name.contains(['/', '\\']) {
        return Some("it contains path characters");
    }
    let lower = name.to_ascii_lowercase();
    if ["%2f", "%5c", "%00"].iter().any(|encoded| lower.contains(encoded)) {
        return Some("it contains encoded path characters");
    }
    if name.chars().any(char::is_control) {
        return Some("it contains control characters");
    }
    if name.chars().any(is_deceptive) {
        return Some("it contains characters that change the direction of text or are invisible");
    }
    None
}

/// Bidirectional overrides and isolates, line separators, what stands for text that was none, and zero-width characters other than the joiners, which
/// scripts and emoji need.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FFFD}')
}
