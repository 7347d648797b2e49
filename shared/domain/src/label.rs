//! Labels of files: short texts with which users find them.

use crate::Refusal;
use crate::name::{can_disguise, is_mark};
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;

/// Maximum number of labels of a file.
pub const MAX_LABELS: usize = 50;

/// Maximum length of a label in characters.
pub const MAX_CHARS: usize = 100;

/// Maximum length of all labels of a file in bytes. Each change of a file sends them to all who watch it.
pub const MAX_BYTES: usize = 2 * 1_024;

/// Returns the labels sorted and without repetition, in Unicode's normalization form C, and without whitespace at their ends.
///
/// # Errors
/// [`Refusal::LabelsInvalid`].
pub fn check(labels: &[String]) -> Result<Vec<String>, Refusal> {
    let invalid = |reason| Err(Refusal::LabelsInvalid { reason });
    if labels.iter().map(String::len).sum::<usize>() > 2 * MAX_BYTES {
        return invalid("the labels of a file can have at most 2 KiB in total");
    }
    let labels: BTreeSet<String> = labels.iter().map(|label| label.trim().nfc().collect()).collect();
    if labels.len() > MAX_LABELS {
        return invalid("a file can have at most 50 labels");
    }
    if labels.iter().map(String::len).sum::<usize>() > MAX_BYTES {
        return invalid("the labels of a file can have at most 2 KiB in total");
    }
    if labels.iter().any(|label| label.chars().all(|c| c.is_whitespace() || is_mark(c))) {
        return invalid("a label must have a visible character");
    }
    if labels.iter().any(|label| label.chars().count() > MAX_CHARS) {
        return invalid("a label can have at most 100 characters");
    }
    if labels.iter().any(|label| label.contains(can_disguise)) {
        return invalid(
            "a label cannot contain control characters, or characters that change the direction of the text",
        );
    }
    Ok(labels.into_iter().collect())
}
