//! Decides from which files the metadata is removed, and which bytes of the uploaded file remain.

use crate::media_type::essence;
use crate::preview::{SOURCE_MAX_BYTES, kind_of_type};
use crate::scan::{Clearance, ScanRules};
use crate::upload::{self, Phase};
use crate::{file, media_type};
use waybill_schema::{ByteRange, LocationPolicy, Piece, PlainForm};

/// Maximum number of pieces of a form without metadata, and of bytes in it that are not in the uploaded file.
const PIECES_MAX: usize = 256;
const NEW_BYTES_MAX: usize = 4 << 10;

/// Next step for the metadata of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it was looked at, or is not looked at.
    Nothing,
    /// Record that it cannot be removed.
    Unsupported,
    /// Remove it.
    Strip,
}

/// Returns the next step for the metadata of a file.
pub fn next_step(upload: &upload::State, state: &file::State, rules: ScanRules, policy: LocationPolicy) -> Step {
    let is_gone = state.deleted || state.purged;
    let is_open = policy == LocationPolicy::ForOthers && state.stripped.is_none() && !is_gone;
    if !is_open || rules.clearance_of(&state.scans) != Clearance::Readable {
        return Step::Nothing;
    }
    let (Phase::Verified { .. }, Some(started)) = (&upload.phase, &upload.started) else { return Step::Nothing };
    let sniffed = upload.sniffed_mime_type.as_deref();
    if !may_have_place(sniffed, &started.mime_type) {
        return Step::Nothing;
    }
    let is_small = upload.grid().size_bytes <= SOURCE_MAX_BYTES;
    if is_small && is_supported(sniffed, &started.mime_type) { Step::Strip } else { Step::Unsupported }
}

/// Returns `true` if a file can say where it was made: it is a picture, a video or a document, by its content or by the type that
/// the client names.
pub fn may_have_place(sniffed: Option<&str>, declared: &str) -> bool {
    let is_visual = |text: &str| {
        let text = essence(text);
        text.starts_with("image/") || text.starts_with("video/")
    };
    kind_of_type(sniffed, declared).is_some() || is_visual(declared) || sniffed.is_some_and(is_visual)
}

/// Returns `true` if the metadata of files of a type can be removed. The type that the client names counts only if the content was
/// not recognised.
fn is_supported(sniffed: Option<&str>, declared: &str) -> bool {
    let known = sniffed.filter(|sniffed| *sniffed != media_type::ANY);
    matches!(essence(known.unwrap_or(declared)).as_str(), "image/apng" | "image/jpeg" | "image/png" | "image/webp")
}

/// Returns `true` if a form can be one of a file of `size_bytes`: its pieces are in ascending order, within the file and few.
pub fn is_plausible(form: &PlainForm, size_bytes: u64) -> bool {
    let (mut end, mut total, mut new) = (0, 0_u64, 0);
    for piece in &form.pieces {
        match piece {
            Piece::Original(range) if range.from < end || range.is_empty() || range.to > size_bytes => return false,
            Piece::Original(range) => {
                end = range.to;
                total += range.len();
            }
            Piece::Bytes(bytes) => {
                new += bytes.len();
                total += bytes.len() as u64;
            }
        }
    }
    total == form.size_bytes && form.pieces.len() <= PIECES_MAX && new <= NEW_BYTES_MAX
}

/// Returns the pieces of a range of a form without metadata.
pub fn pieces_within(form: &PlainForm, range: ByteRange) -> Vec<Piece> {
    let (mut pieces, mut at) = (Vec::new(), 0_u64);
    for piece in &form.pieces {
        let length = match piece {
            Piece::Original(original) => original.len(),
            Piece::Bytes(bytes) => bytes.len() as u64,
        };
        let (from, to) = (range.from.clamp(at, at + length) - at, range.to.clamp(at, at + length) - at);
        at += length;
        if from >= to {
            continue;
        }
        pieces.push(match piece {
            Piece::Original(original) => {
                Piece::Original(ByteRange { from: original.from + from, to: original.from + to })
            }
            Piece::Bytes(bytes) => {
                let skipped = usize::try_from(from).unwrap_or(usize::MAX);
                let kept = usize::try_from(to - from).unwrap_or(usize::MAX);
                Piece::Bytes(bytes.iter().skip(skipped).take(kept).copied().collect())
            }
        });
    }
    pieces
}
