//! The table of the frames of an object.

use crate::FRAME;
use waybill_schema::ByteRange;
use zeekstd::{BytesWrapper, SeekTable};

/// Size in bytes of the parts of a table: the header of the skippable frame, one entry, and the end.
const HEADER: u64 = 8;
const ENTRY: u64 = 8;
const END: u64 = 9;

/// Reason why the table of an object cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A frame does not fit, or the bytes are no table.
    #[error("the table of a compressed object is damaged: {0}")]
    Damaged(String),
    /// It is the table of an object with other bytes.
    #[error("the table of a compressed object does not fit a file of {0} bytes")]
    OfOther(u64),
}

/// Sizes of the frames of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(SeekTable);

/// The frames of an object that is being written.
#[derive(Default)]
pub(crate) struct Frames(SeekTable);

impl Frames {
    /// Adds a frame.
    pub(crate) fn add(&mut self, compressed: usize, bytes: usize) -> Result<(), TableError> {
        let sizes = u32::try_from(compressed).ok().zip(u32::try_from(bytes).ok());
        let (compressed, bytes) = sizes.ok_or_else(|| TableError::Damaged("a frame is too large".to_owned()))?;
        self.0.log_frame(compressed, bytes).map_err(|error| TableError::Damaged(error.to_string()))
    }

    pub(crate) fn finish(self) -> (Table, Vec<u8>) {
        let mut serializer = self.0.clone().into_serializer();
        let mut bytes = vec![0; serializer.encoded_len()];
        let mut written = 0;
        while written < bytes.len() {
            match serializer.write_into(&mut bytes[written..]) {
                0 => break,
                more => written += more,
            }
        }
        (Table(self.0), bytes)
    }
}

/// Returns the size in bytes of the table of a file of `size_bytes`.
pub fn table_bytes(size_bytes: u64) -> u64 {
    HEADER + size_bytes.div_ceil(FRAME) * ENTRY + END
}

impl Table {
    /// Reads the table of a file of `size_bytes` from the last [`table_bytes`] of its object.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn parse(bytes: &[u8], size_bytes: u64) -> Result<Self, TableError> {
        let table = SeekTable::from_seekable(&mut BytesWrapper::new(bytes))
            .map_err(|error| TableError::Damaged(error.to_string()))?;
        let is_of_file = table.size_decomp() == size_bytes
            && u64::from(table.num_frames()) == size_bytes.div_ceil(FRAME)
            && (1..table.num_frames())
                .all(|frame| table.frame_start_decomp(frame).is_ok_and(|begin| begin == u64::from(frame) * FRAME));
        if is_of_file { Ok(Self(table)) } else { Err(TableError::OfOther(size_bytes)) }
    }

    /// Returns the number of frames.
    pub(crate) fn frames(&self) -> u32 {
        self.0.num_frames()
    }

    /// Returns the number of bytes of all frames.
    pub fn stored_bytes(&self) -> u64 {
        self.0.size_comp()
    }

    /// Returns where in the object the frames with a range of the file are, and the position in the file where they begin.
    pub(crate) fn frames_of(&self, range: ByteRange) -> Result<(ByteRange, u64), TableError> {
        let (first, last) = (range.from / FRAME, range.to.saturating_sub(1) / FRAME);
        let place = |end: bool, frame: u64| {
            let frame = u32::try_from(frame).unwrap_or(u32::MAX);
            let place = if end { self.0.frame_end_comp(frame) } else { self.0.frame_start_comp(frame) };
            place.map_err(|error| TableError::Damaged(error.to_string()))
        };
        Ok((ByteRange { from: place(false, first)?, to: place(true, last)? }, first * FRAME))
    }
}
