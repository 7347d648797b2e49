//! File names from clients. Waybill shows and returns a name, and never uses it in the key of an object.

use crate::Refusal;
use unicode_normalization::UnicodeNormalization;

/// Maximum length of a name in UTF-16 code units. NTFS and APFS have the same limit, and the column has as many
/// characters.
pub const MAX_NAME_UNITS: usize = 255;

/// The combining dot above. The lower case of `İ` is `i` followed by it.
const DOT_ABOVE: char = '\u{307}';
/// Characters that begin text whose direction is that of its first letter, or from right to left (UAX #9).
const ISOLATES_RTL: [char; 2] = ['\u{2067}', '\u{2068}'];
/// Character that begins text from left to right.
const ISOLATE_LTR: char = '\u{2066}';
/// Character that ends such a text.
const ISOLATE_END: char = '\u{2069}';

/// Checks a file name. Names in every language are allowed, including the invisible marks that their letters and
/// direction need (UAX #9 §2.6).
///
/// # Errors
/// [`Refusal::NameInvalid`] if the name is empty or too long, or contains path characters (also percent-encoded),
/// control characters or characters that can make it appear to have another extension.
pub fn check(name: &str) -> Result<(), Refusal> {
    match problem(name) {
        Some(reason) => Err(Refusal::NameInvalid { reason }),
        None => Ok(()),
    }
}

/// Returns `true` for characters that have no place in a short text: control characters, and those that break lines or change the
/// direction of the text.
pub(crate) fn can_disguise(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn problem(name: &str) -> Option<&'static str> {
    if name.chars().all(|c| c.is_whitespace() || is_mark(c)) {
        return Some("it is empty");
    }
    if name.encode_utf16().count() > MAX_NAME_UNITS {
        return Some("it has more than 255 characters");
    }
    if name == "." || name == ".." || name.contains(['/', '\\']) {
        return Some("it contains path characters");
    }
    let lower = name.to_ascii_lowercase();
    if ["%2f", "%5c", "%00"].iter().any(|encoded| lower.contains(encoded)) {
        return Some("it contains encoded path characters");
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Some("it contains control characters");
    }
    if name.chars().any(|c| matches!(c, '\u{202A}'..='\u{202E}')) || hides_extension(name) {
        return Some("it contains characters that can make it appear to have another extension");
    }
    None
}

/// Returns `true` for invisible marks, which control how letters join, where lines break and in which direction text
/// runs.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Returns `true` if the last dot is in text whose direction can be from right to left. The text before and after the
/// dot may then be shown in the opposite order.
fn hides_extension(name: &str) -> bool {
    let mut open = Vec::new();
    let mut hidden = false;
    for c in name.chars() {
        match c {
            _ if ISOLATES_RTL.contains(&c) => open.push(true),
            ISOLATE_LTR => open.push(false),
            ISOLATE_END => drop(open.pop()),
            '.' => hidden = open.contains(&true),
            _ => {}
        }
    }
    hidden
}

/// Folds a name for searching: removes differences in case (in every script), in the composition of letters (UAX #15,
/// NFKC) and in invisible marks. The result does not depend on the locale, so that it is the same on every machine.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Upper case unifies ß and ss, ς and σ, and ı and i. It does not change ẞ, whose lower case is ß.
    let letters = text.nfkc().filter(|c| !is_mark(*c)).flat_map(char::to_lowercase);
    let folded = letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let mut folded: String = folded.nfc().collect();
    if folded.contains(DOT_ABOVE) {
        folded = folded.replace("i\u{307}", "i");
    }
    folded
}
