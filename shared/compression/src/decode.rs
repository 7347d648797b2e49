//! Decompression.

use zstd_safe::{DCtx, InBuffer, OutBuffer, get_error_name};

/// Reason why compressed bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot decompress: {0}")]
pub struct DecodeError(&'static str);

impl DecodeError {
    /// The object has fewer bytes than its file.
    pub(crate) const ENDED: Self = Self("the object ends early");
}

/// Decoder of consecutive frames. Skippable frames produce nothing.
pub struct Decoder {
    context: DCtx<'static>,
}

impl Decoder {
    /// Creates a decoder.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new() -> Result<Self, DecodeError> {
        Ok(Self { context: DCtx::try_create().ok_or(DecodeError("there is no memory"))? })
    }

    /// Decompresses `input` into the free capacity of `output`. Returns the number of bytes of `input` that were used. There may
    /// be more output, even without more input, as long as `output` is full.
    ///
    /// # Errors
    /// If the bytes are damaged, or are no Zstandard frame.
    pub fn decode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let mut input = InBuffer::around(input);
        let filled = output.len();
        let mut output = OutBuffer::around_pos(output, filled);
        while output.pos() < output.capacity() {
            let (used, made) = (input.pos(), output.pos());
            self.context
                .decompress_stream(&mut output, &mut input)
                .map_err(|code| DecodeError(get_error_name(code)))?;
            if (used, made) == (input.pos(), output.pos()) {
                break;
            }
        }
        Ok(input.pos())
    }
}
