//! File names: what a client calls a file. A name is shown and sent back, and never part of an object's key.

use crate::Refusal;
use unicode_normalization::UnicodeNormalization;

/// The longest name, in UTF-16 code units: what NTFS and APFS allow, and no more than the column has characters.
pub const MAX_NAME_UNITS: usize = 255;

/// A combining dot above: what is left of `İ` in lower case besides `i`.
const DOT_ABOVE: char = '\u{307}';
/// Begins a piece of text with the direction of its first letter, or from right to left (UAX #9).
const ISOLATES_RTL: [char; 2] = ['\u{2067}', '\u{2068}'];
/// Begins a piece of text from left to right.
const ISOLATE_LTR: char = '\u{2066}';
/// Ends such a piece.
const ISOLATE_END: char = '\u{2069}';

/// Returns whether a file may be called this. Names of every language may: also the marks that its letters and its
/// direction need (UAX #9 §2.6).
///
/// # Errors
/// [`Refusal::NameInvalid`] for an empty or too long name, path characters (also percent-encoded ones), control
/// characters, and characters that can show another extension than the name has.
pub fn check(name: &str) -> Result<(), Refusal> {
    match problem(name) {
        Some(reason) => Err(Refusal::NameInvalid { reason }),
        None => Ok(()),
    }
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
        return Some("it contains characters that can show another extension");
    }
    None
}

/// Marks that are not seen, and say how letters join, break and run.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Returns whether the last dot lies in a piece of text whose direction may be from right to left: what is before it and
/// what is after it may then change places.
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

/// A name as it is searched for: without regard to case in every script, to how its letters are composed (UAX #15,
/// NFKC), and to marks that are not seen. The same on every machine: no locale takes part.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Upper case first: it brings ß and ss, ς and σ, ı and i together.
    let folded = text.nfkc().filter(|c| !is_mark(*c)).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let mut folded: String = folded.nfc().collect();
    if folded.contains(DOT_ABOVE) {
        folded = folded.replace("i\u{307}", "i");
    }
    folded
}
