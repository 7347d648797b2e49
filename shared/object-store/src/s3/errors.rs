//! Errors of the SDK, classified by what they mean to the caller.

use crate::StoreError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

pub(super) fn unavailable(operation: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { operation, reason: reason.to_string() }
}

/// Returns the message of an error and of its causes. Omits the answer of the store, which contains object keys.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Classifies an error of the SDK by its S3 error code, or by its status if the answer has no body.
pub(super) fn classify<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(
    operation: &'static str,
    error: &SdkError<E>,
) -> StoreError {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some("NoSuchUpload"), _) => StoreError::NoSuchUpload { operation },
        (Some("NoSuchKey" | "NotFound" | "NoSuchBucket"), _) | (None, Some(404)) => StoreError::NotFound { operation },
        (Some("InvalidObjectState"), _) => StoreError::Archived { operation },
        (Some("BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch"), _) => StoreError::Corrupt { operation },
        (Some(code @ ("InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" | "MalformedXML")), _) => {
            StoreError::PartsInvalid { operation, code: code.to_owned() }
        }
        (Some(code), Some(403 | 405 | 501)) => StoreError::Refused { operation, code: code.to_owned() },
        (None, Some(status @ (403 | 405 | 501))) => StoreError::Refused { operation, code: status.to_string() },
        (Some(code), _) => unavailable(operation, format!("{code}: {}", error.message().unwrap_or_default())),
        // There is no answer, or it cannot be read.
        (None, Some(200..=299) | None) => unavailable(operation, causes(error)),
        (None, Some(status)) => unavailable(operation, format!("status {status}")),
    }
}
