//! Compression.

use crate::table::{Frames, TableError};
use crate::{FRAME_BYTES, Table};
use zstd_safe::{CCtx, CParameter, compress_bound, get_error_name};

/// Reason why bytes cannot be compressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The library failed, for example because there is no memory.
    #[error("cannot compress: {0}")]
    Library(&'static str),
    /// The table cannot hold another frame.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Encoder of one object.
pub struct Encoder {
    context: CCtx<'static>,
    frames: Frames,
}

impl Encoder {
    /// Creates an encoder with a compression level of Zstandard, from 1 to 19. Each frame has a checksum.
    ///
    /// # Errors
    /// [`EncodeError::Library`].
    pub fn new(level: i32) -> Result<Self, EncodeError> {
        let mut context = CCtx::try_create().ok_or(EncodeError::Library("there is no memory"))?;
        for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)] {
            context.set_parameter(parameter).map_err(|code| EncodeError::Library(get_error_name(code)))?;
        }
        Ok(Self { context, frames: Frames::default() })
    }

    /// Compresses the next [`FRAME_BYTES`] of the file, or the rest of it, and returns the bytes to store.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn frame(&mut self, bytes: &[u8]) -> Result<Vec<u8>, EncodeError> {
        debug_assert!(bytes.len() <= FRAME_BYTES);
        let mut compressed = Vec::with_capacity(compress_bound(bytes.len()));
        self.context.compress2(&mut compressed, bytes).map_err(|code| EncodeError::Library(get_error_name(code)))?;
        self.frames.add(compressed.len(), bytes.len())?;
        Ok(compressed)
    }

    /// Returns the table of all frames, and its bytes, which are the end of the object.
    pub fn finish(self) -> (Table, Vec<u8>) {
        self.frames.finish()
    }
}
