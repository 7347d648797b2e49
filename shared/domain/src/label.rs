//! Labels of files: short texts with which users find them.

use crate::Refusal;
use std::collections::BTreeSet;

/// Maximum number of labels of a file.
pub const MAX_LABELS: usize = 50;

/// Maximum length of a label in characters.
pub const MAX_CHARS: usize = 100;

/// Returns the labels sorted and without repetition, each without whitespace at its ends.
///
/// # Errors
/// [`Refusal::LabelsInvalid`].
pub fn check(labels: &[String]) -> Result<Vec<String>, Refusal> {
    let invalid = |reason| Err(Refusal::LabelsInvalid { reason });
    let labels: BTreeSet<&str> = labels.iter().map(|label| label.trim()).collect();
    if labels.len() > MAX_LABELS {
        return invalid("a file can have at most 50 labels");
    }
    if labels.contains("") {
        return invalid("a label must have a character that is not whitespace");
    }
    if labels.iter().any(|label| label.chars().count() > MAX_CHARS) {
        return invalid("a label can have at most 100 characters");
    }
    if labels.iter().any(|label| label.chars().any(char::is_control)) {
        return invalid("a label cannot contain control characters");
    }
    Ok(labels.into_iter().map(str::to_owned).collect())
}
