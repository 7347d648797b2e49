//! The steps of a worker for an upload, as data. The worker carries them out. Each step can be repeated.

use super::{Phase, State};
use waybill_schema::events::UploadKind;

/// One step: work in the object store or on the quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Assemble the staged pieces of a part.
    AssemblePart(u32),
    /// Claim the partial uploads, copy their bytes, and complete the upload.
    Concatenate,
    /// Copy the object from the quarantine key after the client has written it, and complete the upload.
    TakeOver,
    /// Complete the multipart upload. For an empty file, which has no parts, write an empty object.
    CompleteObject,
    /// Compute the digest of the stored object, and accept or reject the file.
    VerifyObject,
    /// Abort the multipart upload, and delete the object if it exists.
    DeleteObject,
    /// Delete the staged objects.
    DeleteStaging,
    /// Delete the objects of the partial uploads of a final upload.
    DeletePartials,
    /// Delete the object under the quarantine key.
    DeleteQuarantine,
    /// Let all files of the company with the same bytes refer to one object.
    KeepContent,
    /// Settle the reservation as used bytes.
    SettleAsUsed,
    /// Release the reservation.
    SettleAsUnused,
}

/// Returns the next steps in this state, in order. After them the upload is in another state or has ended.
pub fn react(state: &State) -> Vec<Step> {
    match &state.phase {
        // The final upload takes care of its partial uploads.
        Phase::Absent | Phase::Concatenated { .. } => Vec::new(),
        Phase::Active => match &state.kind {
            UploadKind::Final { .. } => vec![Step::Concatenate],
            UploadKind::Quarantine { .. } if state.quarantine_until.is_some() => vec![Step::TakeOver],
            _ => assemblies(state),
        },
        Phase::Verifying => {
            let mut steps = assemblies(state);
            steps.extend([Step::CompleteObject, Step::VerifyObject]);
            steps
        }
        Phase::Verified { .. } => {
            let staging = if state.parts.is_empty() { vec![] } else { vec![Step::DeleteStaging] };
            [vec![Step::SettleAsUsed, Step::KeepContent], staging, leftovers(&state.kind)].concat()
        }
        // Release the reservation first: the company must not wait for the deletion of the object. A file in one
        // request may have been stored although its start came too late, so that its object must be deleted.
        Phase::Expired if state.started.is_none() => vec![Step::SettleAsUnused, Step::DeleteObject],
        Phase::Rejected { .. } | Phase::Cancelled | Phase::Expired => {
            let own = vec![Step::SettleAsUnused, Step::DeleteObject, Step::DeleteStaging];
            [own, leftovers(&state.kind)].concat()
        }
    }
}

/// Returns the steps that delete the remaining objects of an upload, apart from its own object and its staged objects.
fn leftovers(kind: &UploadKind) -> Vec<Step> {
    match kind {
        UploadKind::Final { .. } => vec![Step::DeletePartials],
        UploadKind::Quarantine { .. } => vec![Step::DeleteQuarantine],
        UploadKind::File | UploadKind::Partial | UploadKind::Direct => Vec::new(),
    }
}

fn assemblies(state: &State) -> Vec<Step> {
    state.parts_to_assemble().into_iter().map(Step::AssemblePart).collect()
}
