//! Conversion of refusals of the domain. Gateways and workers answer with the same problems.

use waybill_domain::Refusal;
use waybill_http_kit::Problem;
use waybill_http_kit::problem::Members;

/// Converts the refusal of a command.
pub fn refused(refusal: Refusal) -> Problem {
    let status = match &refusal {
        Refusal::NotFound { .. } => 404,
        Refusal::NotRegistered | Refusal::LinksForbidden => 403,
        Refusal::NameInvalid { .. }
        | Refusal::LabelsInvalid { .. }
        | Refusal::SettingsInvalid { .. }
        | Refusal::LimitAboveHosts { .. }
        | Refusal::ShareInvalid { .. }
        | Refusal::TokenInvalid { .. } => 422,
        Refusal::TypeRefused { .. } => 415,
        Refusal::FileTooLarge { .. }
        | Refusal::SizeExceeded { .. }
        | Refusal::QuotaExceeded { .. }
        | Refusal::UserSpaceExceeded { .. }
        | Refusal::UserLimitExceeded { .. }
        | Refusal::LinkExhausted { .. }
        | Refusal::MetadataTooLarge
        | Refusal::SessionTooLarge { .. } => 413,
        Refusal::UploadEnded { .. } | Refusal::TokenEnded { .. } | Refusal::LinkEnded { .. } => 410,
        Refusal::DownloadRunning | Refusal::TooManyUploads { .. } => 429,
        Refusal::SessionEnded { .. }
        | Refusal::UploadCompleted { .. }
        | Refusal::ChunksMissing { .. }
        | Refusal::IdTaken { .. }
        | Refusal::OffsetMismatch { .. }
        | Refusal::LengthUnknown
        | Refusal::PartialUnfit { .. }
        | Refusal::FileNotDeleted
        | Refusal::NotQuarantined
        | Refusal::DirectoryFull { .. }
        | Refusal::ShareExists
        | Refusal::SharesExhausted { .. }
        | Refusal::FileDeleted => 409,
        Refusal::LengthConflict { .. } | Refusal::MetadataInvalid { .. } | Refusal::PieceTooSmall { .. } => 400,
    };
    let problem = Problem::new(status, refusal.code(), refusal.to_string());
    match refusal {
        Refusal::DownloadRunning | Refusal::TooManyUploads { .. } => Problem { retry_after_s: Some(2), ..problem },
        refusal => problem.with(|members| describe(refusal, members)),
    }
}

fn describe(refusal: Refusal, members: &mut Members) {
    match refusal {
        Refusal::ChunksMissing { missing } => {
            members.missing = Some(missing.iter().map(|gap| [gap.from, gap.to]).collect());
        }
        Refusal::OffsetMismatch { offset } => members.offset_bytes = Some(offset),
        Refusal::PieceTooSmall { least_bytes, .. } => members.least_bytes = Some(least_bytes),
        Refusal::QuotaExceeded { used_bytes, reserved_bytes, limit_bytes, .. }
        | Refusal::UserLimitExceeded { used_bytes, reserved_bytes, limit_bytes, .. } => {
            members.storage_used_bytes = Some(used_bytes);
            members.storage_reserved_bytes = Some(reserved_bytes);
            members.storage_limit_bytes = Some(limit_bytes);
        }
        Refusal::LinkExhausted { left_files, left_bytes } => {
            members.left_files = Some(left_files);
            members.left_bytes = Some(left_bytes);
        }
        Refusal::FileTooLarge { limit_bytes, .. }
        | Refusal::UserSpaceExceeded { limit_bytes, .. }
        | Refusal::SessionTooLarge { limit_bytes, .. }
        | Refusal::LimitAboveHosts { limit_bytes } => {
            members.limit_bytes = Some(limit_bytes);
        }
        _ => {}
    }
}
