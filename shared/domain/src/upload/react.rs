//! What a worker has to do for an upload, as data: an outer layer does it, and each step may be repeated.

use super::{Phase, State};

/// One thing to do in the store, or to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Join the staged pieces of a part.
    AssemblePart(u32),
    /// Complete the multipart upload; for an empty file, which has no part, put an empty object.
    CompleteObject,
    /// Find the stored object's digest, and decide on it.
    VerifyObject,
    /// Abort the multipart upload, and delete the object if there is one.
    DeleteObject,
    /// Delete what is staged.
    DeleteStaging,
    /// The reservation becomes used space.
    CommitQuota,
    /// The reservation is given back.
    ReleaseQuota,
}

/// The steps that lead on from this state, in order. After them the state is another, or the upload has ended.
pub fn react(state: &State) -> Vec<Step> {
    match &state.phase {
        Phase::Absent => Vec::new(),
        Phase::Active => assemblies(state),
        Phase::Completed => {
            let mut steps = assemblies(state);
            steps.extend([Step::CompleteObject, Step::VerifyObject]);
            steps
        }
        Phase::Verified { .. } if state.parts.is_empty() => vec![Step::CommitQuota],
        Phase::Verified { .. } => vec![Step::CommitQuota, Step::DeleteStaging],
        // A file in one request may have been stored before its start came too late.
        Phase::Expired if state.started.is_none() => vec![Step::DeleteObject, Step::ReleaseQuota],
        Phase::Rejected { .. } | Phase::Cancelled | Phase::Expired => {
            vec![Step::DeleteObject, Step::DeleteStaging, Step::ReleaseQuota]
        }
    }
}

fn assemblies(state: &State) -> Vec<Step> {
    state.parts_to_assemble().into_iter().map(Step::AssemblePart).collect()
}
