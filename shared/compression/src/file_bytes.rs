//! Reading of the bytes of files.

use crate::decode::DecodeError;
use crate::small::SmallObjects;
use crate::{Decoder, Table, TableError, table_bytes};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::sync::Arc;
use uuid::Uuid;
use waybill_cache::Cache;
use waybill_object_store::{ObjectBody, ObjectStore, StoreError};
use waybill_schema::{ByteRange, names};

/// Number of frames whose places are in the cache. Each one takes 16 bytes, and a file of 10 GB has 38,147 frames.
const FRAMES: u64 = 2 << 20;
/// Maximum number of decompressed bytes that wait for the receiver.
const OUTPUT_BYTES: usize = 128 << 10;
/// Number of bytes of an object in memory that are sent at a time.
const PIECE_BYTES: usize = 32 << 10;
const OPERATION: &str = "reading a compressed object";

type Body = BoxStream<'static, Result<Bytes, StoreError>>;

/// The bytes of files in an object store, whether their objects are compressed or not.
pub struct FileBytes {
    store: Arc<dyn ObjectStore>,
    tables: Cache<Uuid, Table>,
    /// Small objects in memory, if they are kept.
    small: Option<SmallObjects>,
}

impl FileBytes {
    /// Creates a reader of the objects of `store`.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, tables: Cache::builder(FRAMES).weigher(Table::frames).build(), small: None }
    }

    /// Like [`FileBytes::new`]. Keeps small objects that are read in memory, up to `bytes` in total.
    pub fn keeping(store: Arc<dyn ObjectStore>, bytes: u64) -> Self {
        let small = (bytes > 0).then(|| SmallObjects::new(bytes));
        Self { small, ..Self::new(store) }
    }

    /// Reads a whole stored object, for example a preview or a compressed object. The object has at most `size_bytes`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn object(&self, key: &str, size_bytes: u64) -> Result<ObjectBody, StoreError> {
        match self.kept(size_bytes) {
            Some(small) => Ok(in_memory(small.read(&self.store, key).await?)),
            None => self.store.get(key, 0, None).await,
        }
    }

    fn kept(&self, size_bytes: u64) -> Option<&SmallObjects> {
        self.small.as_ref().filter(|_| SmallObjects::keeps(size_bytes))
    }

    /// Reads a range of a file of `size_bytes` whose object has the key `key`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Unavailable`], also if the object is damaged.
    pub async fn get(&self, key: &str, size_bytes: u64, range: ByteRange) -> Result<ObjectBody, StoreError> {
        let Some(id) = names::compressed_id(key) else {
            let Some(small) = self.kept(size_bytes) else {
                return self.store.get(key, range.from, Some(range.len())).await;
            };
            return Ok(in_memory(part(small.read(&self.store, key).await?, range)?));
        };
        let (frames, begin) = if range == (ByteRange { from: 0, to: size_bytes }) || self.kept(size_bytes).is_some() {
            (self.object(key, size_bytes).await?, 0)
        } else {
            let (place, begin) = self.table(id, key, size_bytes).await?.frames_of(range).map_err(damaged)?;
            (self.store.get(key, place.from, Some(place.len())).await?, begin)
        };
        let decoding = Decoding {
            decoder: Decoder::new().map_err(damaged)?,
            frames: frames.bytes,
            input: Bytes::new(),
            is_full: false,
            skip: range.from - begin,
            left: range.len(),
        };
        let bytes = stream::unfold(Some(decoding), |decoding| async {
            let mut decoding = decoding?;
            match decoding.next().await {
                Ok(bytes) if bytes.is_empty() => None,
                Ok(bytes) => Some((Ok(bytes), Some(decoding))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(ObjectBody { length: range.len(), bytes: bytes.boxed() })
    }

    /// Reads the frames of a file of `size_bytes` with a compressed object: the bytes with the content coding `zstd` (RFC 9659).
    ///
    /// # Errors
    /// The same as of [`FileBytes::get`].
    pub async fn frames(&self, key: &str, size_bytes: u64) -> Result<ObjectBody, StoreError> {
        let ObjectBody { length, bytes } = self.object(key, size_bytes).await?;
        let length = length_of_frames(length, size_bytes)?;
        let bytes = stream::unfold((bytes, length), |(mut bytes, left)| async move {
            if left == 0 {
                return None;
            }
            let next = bytes.next().await?;
            let next = next.map(|next| {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(next.len());
                next.slice(..wanted)
            });
            let left = left - next.as_ref().map_or(0, |next| u64::try_from(next.len()).unwrap_or(0));
            Some((next, (bytes, left)))
        });
        Ok(ObjectBody { length, bytes: bytes.boxed() })
    }

    /// Returns the number of bytes of [`FileBytes::frames`].
    ///
    /// # Errors
    /// The same as of [`FileBytes::get`].
    pub async fn frames_length(&self, key: &str, size_bytes: u64) -> Result<u64, StoreError> {
        let stored_bytes = self.store.size(key).await?.ok_or(StoreError::NotFound { operation: OPERATION })?;
        length_of_frames(stored_bytes, size_bytes)
    }

    /// Returns the table of an object.
    async fn table(&self, id: Uuid, key: &str, size_bytes: u64) -> Result<Arc<Table>, StoreError> {
        if let Some(table) = self.tables.get(&id) {
            return Ok(table);
        }
        let table = Arc::new(self.read_table(key, size_bytes).await?);
        self.tables.insert(&id, table.clone());
        Ok(table)
    }

    async fn read_table(&self, key: &str, size_bytes: u64) -> Result<Table, StoreError> {
        let from = self.frames_length(key, size_bytes).await?;
        let bytes = self.store.get(key, from, Some(table_bytes(size_bytes))).await?.collect().await?;
        Table::parse(&bytes, size_bytes).map_err(damaged)
    }
}

/// Returns a part of a whole object.
fn part(object: Bytes, range: ByteRange) -> Result<Bytes, StoreError> {
    let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let (from, to) = (position(range.from), position(range.to));
    if from > to || to > object.len() {
        let reason = "the object is shorter than the file".to_owned();
        return Err(StoreError::Unavailable { operation: "reading an object", reason });
    }
    Ok(object.slice(from..to))
}

/// Returns a body that is sent in pieces, because a connection copies each piece.
fn in_memory(bytes: Bytes) -> ObjectBody {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let pieces = stream::unfold(bytes, |mut bytes| async move {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok(piece), bytes))
    });
    ObjectBody { length, bytes: pieces.boxed() }
}

/// Returns the number of bytes before the table of an object.
fn length_of_frames(stored_bytes: u64, size_bytes: u64) -> Result<u64, StoreError> {
    stored_bytes.checked_sub(table_bytes(size_bytes)).ok_or_else(|| damaged(TableError::OfOther(size_bytes)))
}

fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { operation: OPERATION, reason: error.to_string() }
}

/// Running decompression of a range.
struct Decoding {
    decoder: Decoder,
    frames: Body,
    /// Received bytes that were not decompressed yet.
    input: Bytes,
    /// `true` if there can be more output without more input.
    is_full: bool,
    /// Number of bytes before the range.
    skip: u64,
    /// Number of bytes of the range that were not returned yet.
    left: u64,
}

impl Decoding {
    /// Returns the next bytes of the range; none after the last ones.
    async fn next(&mut self) -> Result<Bytes, StoreError> {
        while self.left > 0 {
            if self.input.is_empty() && !self.is_full {
                let received = self.frames.next().await;
                self.input = received.ok_or_else(|| damaged(DecodeError::ENDED))??;
            }
            let mut output = Vec::with_capacity(OUTPUT_BYTES);
            let used = self.decoder.decode(&self.input, &mut output).map_err(damaged)?;
            drop(self.input.split_to(used));
            self.is_full = output.len() == output.capacity();
            let output = self.part_of_range(output);
            if !output.is_empty() {
                return Ok(output);
            }
        }
        Ok(Bytes::new())
    }

    fn part_of_range(&mut self, output: Vec<u8>) -> Bytes {
        let mut output = Bytes::from(output);
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(output.len());
        drop(output.split_to(skipped));
        self.skip -= u64::try_from(skipped).unwrap_or(0);
        output.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= u64::try_from(output.len()).unwrap_or(0);
        output
    }
}
