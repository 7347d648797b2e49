//! Error of an upload.

use crate::api::ApiError;
use crate::state::StateError;

/// Reason why an upload failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// A request to Waybill failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// The file changed during the upload.
    #[error("the file changed during the upload; run the same command again to upload it from the beginning")]
    Changed,
    /// The upload ended without a file.
    #[error("{message} ({code})")]
    Failed {
        /// Stable error code.
        code: String,
        /// Text for users.
        message: String,
    },
    /// The path cannot be uploaded.
    #[error("{0}")]
    Unfit(String),
    /// Waybill did not verify the file in time.
    #[error("all bytes are uploaded, but Waybill has not verified them yet")]
    Unverified,
    /// The saved state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

impl UploadError {
    /// Returns `true` if the same command can continue later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unverified | Self::State(StateError::Busy) => true,
            // The saved upload can continue with a valid token.
            Self::Api(error) => error.is_passing() || error.status() == Some(401),
            Self::File(_) | Self::Changed | Self::Unfit(_) | Self::Failed { .. } | Self::State(_) => false,
        }
    }
}
