//! What a worker has to do for an upload, as data: an outer layer does it, and each step may be repeated.

use super::{Phase, State};
use waybill_schema::events::UploadKind;

/// One thing to do in the store, or to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Join the staged pieces of a part.
    AssemblePart(u32),
    /// Claim the partial uploads, copy their bytes, and complete the upload.
    Concatenate,
    /// Copy the object that the client made, once it is there, and complete the upload.
    TakeOver,
    /// Complete the multipart upload; for an empty file, which has no part, put an empty object.
    CompleteObject,
    /// Find the stored object's digest, and decide on it.
    VerifyObject,
    /// Abort the multipart upload, and delete the object if there is one.
    DeleteObject,
    /// Delete what is staged.
    DeleteStaging,
    /// Delete what the partial uploads of a final one have stored.
    DeletePartials,
    /// Delete what the client made by itself.
    DeleteQuarantine,
    /// The company keeps one object of the same bytes.
    KeepContent,
    /// The reservation becomes used space.
    SettleAsUsed,
    /// The reservation is given back.
    SettleAsUnused,
}

/// The steps that lead on from this state, in order. After them the state is another, or the upload has ended.
pub fn react(state: &State) -> Vec<Step> {
    match &state.phase {
        // Of a partial upload that was claimed, the final one takes care.
        Phase::Absent | Phase::Concatenated { .. } => Vec::new(),
        Phase::Active => match &state.kind {
            UploadKind::Final { .. } => vec![Step::Concatenate],
            UploadKind::Quarantine { .. } if state.quarantine_until.is_some() => vec![Step::TakeOver],
            _ => assemblies(state),
        },
        Phase::Completed => {
            let mut steps = assemblies(state);
            steps.extend([Step::CompleteObject, Step::VerifyObject]);
            steps
        }
        Phase::Verified { .. } => {
            let staging = if state.parts.is_empty() { vec![] } else { vec![Step::DeleteStaging] };
            [vec![Step::SettleAsUsed, Step::KeepContent], staging, leftovers(&state.kind)].concat()
        }
        // Space is given back first: whether an object can be deleted is no matter of the company's.
        // A file in one request may have been stored before its start came too late.
        Phase::Expired if state.started.is_none() => vec![Step::SettleAsUnused, Step::DeleteObject],
        Phase::Rejected { .. } | Phase::Cancelled | Phase::Expired => {
            let own = vec![Step::SettleAsUnused, Step::DeleteObject, Step::DeleteStaging];
            [own, leftovers(&state.kind)].concat()
        }
    }
}

/// What an upload leaves behind besides its own object and staging objects.
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
