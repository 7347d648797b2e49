//! Writes objects with the bytes of other objects: compressed, or in another bucket.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, Fuse};
use sha2::{Digest, Sha256};
use std::time::Duration;
use waybill_compression::{DecodeError, Decoder, EncodeError, Encoder, FRAME_BYTES, Table, TableError, table_bytes};
use waybill_domain::content::compression::{TRIAL_BYTES, is_promising, stored_max};
use waybill_object_store::{CompletedPart, Crc, ObjectStore, PartCrc, StoreError, crc64nvme};
use waybill_schema::{Sha256Digest, names};

/// Minimum size in bytes of the parts of a compressed object, except the last one, and maximum number of parts.
const PART_BYTES: u64 = 8 << 20;
const PARTS: u64 = 9_000;
/// Time for which the store may send nothing.
const STALLED: Duration = Duration::from_secs(60);
/// Maximum number of decompressed bytes in memory.
const OUTPUT_BYTES: usize = 256 << 10;

/// An object of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) key: &'a str,
    /// Size of the file in bytes.
    pub(crate) size_bytes: u64,
    /// SHA-256 of the file.
    pub(crate) sha256: Sha256Digest,
}

/// Reason why an object was not compressed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Table(#[from] TableError),
    /// The object is not the verified one.
    #[error("the object in the store does not have the bytes of the file")]
    OtherBytes,
}

/// Result of a compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// There is an object, which must be read back.
    Stored,
    /// Compression would gain too little. There is no object.
    TooLarge,
}

/// Writes an object with the compressed bytes of `source` to `key`.
pub(crate) async fn compress(
    store: &dyn ObjectStore,
    source: Source<'_>,
    key: &str,
    level: i32,
) -> Result<Encoded, EncodingError> {
    let mut encoder = Encoder::new(level)?;
    let beginning = store.get(source.key, 0, Some(TRIAL_BYTES.min(source.size_bytes))).await?;
    let beginning = in_time(beginning.collect()).await??;
    let mut first = Vec::new();
    for frame in beginning.chunks(FRAME_BYTES) {
        first.extend(encoder.frame(frame)?);
    }
    if !is_promising(length_of(&beginning), length_of(&first)) {
        return Ok(Encoded::TooLarge);
    }
    let mut sha256 = Sha256::new_with_prefix(&beginning);
    let mut object = Writer::new(store, key, source.size_bytes, first);
    let written = write(store, source, &mut encoder, &mut sha256, &mut object).await;
    match written {
        Ok(true) if Sha256Digest(sha256.finalize().into()) == source.sha256 => {
            let (_, end) = encoder.finish();
            object.finish(end).await?;
            Ok(Encoded::Stored)
        }
        written => {
            object.abort().await;
            match written? {
                true => Err(EncodingError::OtherBytes),
                false => Ok(Encoded::TooLarge),
            }
        }
    }
}

/// Compresses the rest of the source. Returns `false` if that gains too little.
async fn write(
    store: &dyn ObjectStore,
    source: Source<'_>,
    encoder: &mut Encoder,
    sha256: &mut Sha256,
    object: &mut Writer<'_>,
) -> Result<bool, EncodingError> {
    let most = stored_max(source.size_bytes).saturating_sub(table_bytes(source.size_bytes));
    if source.size_bytes > TRIAL_BYTES {
        let rest = source.size_bytes - TRIAL_BYTES;
        let body = store.get(source.key, TRIAL_BYTES, Some(rest)).await?;
        let mut rest = Frames { body: Reading { bytes: body.bytes.fuse() }, next: BytesMut::new() };
        while let Some(frame) = rest.next().await? {
            sha256.update(&frame);
            object.add(&encoder.frame(&frame)?).await?;
            if object.written > most {
                return Ok(false);
            }
        }
    }
    Ok(object.written <= most)
}

/// Returns the size in bytes of the compressed object `key` if it has the bytes of `source` and a table that fits; `None` if not, or
/// if there is no such object.
pub(crate) async fn read_back(
    store: &dyn ObjectStore,
    key: &str,
    source: Source<'_>,
) -> Result<Option<u64>, StoreError> {
    let Some(stored_bytes) = store.size(key).await? else { return Ok(None) };
    let mut object = Reading { bytes: store.get(key, 0, None).await?.bytes.fuse() };
    match decode(&mut object, Source { key, ..source }).await {
        Ok(is_equal) => Ok(is_equal.then_some(stored_bytes)),
        Err(EncodingError::Store(error)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a compressed object cannot be read");
            Ok(None)
        }
    }
}

/// Writes an object with the bytes of the object of `source` to `key`, and returns its size in bytes. Checks that these are the bytes
/// of the file.
pub(crate) async fn copy(store: &dyn ObjectStore, source: Source<'_>, key: &str) -> Result<u64, EncodingError> {
    let body = in_time(store.get(source.key, 0, None)).await??;
    let stored_bytes = body.length;
    let mut from = Reading { bytes: body.bytes.fuse() };
    let mut object = Writer::new(store, key, stored_bytes, Vec::new());
    let mut check = Check::new(source)?;
    let copied: Result<(), EncodingError> = async {
        while let Some(bytes) = from.next().await? {
            check.add(&bytes)?;
            object.add(&bytes).await?;
        }
        if check.finish()? { Ok(()) } else { Err(EncodingError::OtherBytes) }
    }
    .await;
    if let Err(error) = copied {
        object.abort().await;
        return Err(error);
    }
    object.finish(Vec::new()).await?;
    Ok(stored_bytes)
}

/// Aborts the multipart uploads under a prefix that other attempts with the same purpose left. Their processes have ended, or have no
/// share in the file any more.
pub(crate) async fn abort_earlier(
    store: &dyn ObjectStore,
    prefix: &str,
    is_of_purpose: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let open = match store.list_multiparts(prefix).await {
        // A lifecycle rule of the bucket must abort them.
        Err(StoreError::Refused { .. }) => Vec::new(),
        open => open?,
    };
    for (key, upload_id) in open.iter().filter(|(key, _)| is_of_purpose(key)) {
        store.abort_multipart(key, upload_id).await?;
    }
    Ok(())
}

/// Decodes an object, and checks that the table at its end says where its frames are.
async fn decode(object: &mut Reading, source: Source<'_>) -> Result<bool, EncodingError> {
    let mut check = Check::new(source)?;
    while let Some(input) = object.next().await? {
        check.add(&input)?;
    }
    check.finish()
}

/// Check whether an object has the bytes of a file.
struct Check<'a> {
    source: Source<'a>,
    /// `None` if the object is not compressed.
    compressed: Option<Compressed>,
    sha256: Sha256,
    /// Number of bytes of the file so far.
    length: u64,
}

/// State of the decoding of a compressed object.
struct Compressed {
    decoder: Decoder,
    output: Vec<u8>,
    end: End,
}

impl<'a> Check<'a> {
    /// Begins with an object whose key is that of `source`, or whose bytes are the same.
    fn new(source: Source<'a>) -> Result<Self, EncodingError> {
        let compressed = || {
            let output = Vec::with_capacity(OUTPUT_BYTES);
            Ok::<_, EncodingError>(Compressed { decoder: Decoder::new()?, output, end: End::new(source.size_bytes) })
        };
        let compressed = names::is_compressed(source.key).then(compressed).transpose()?;
        Ok(Self { source, compressed, sha256: Sha256::new(), length: 0 })
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), EncodingError> {
        let Some(Compressed { decoder, output, end }) = &mut self.compressed else {
            self.sha256.update(bytes);
            self.length += length_of(bytes);
            return Ok(());
        };
        end.add(bytes);
        let mut input = bytes;
        loop {
            let used = decoder.decode(input, output)?;
            input = input.get(used..).unwrap_or_default();
            self.sha256.update(&output);
            self.length += length_of(output);
            let is_full = output.len() == output.capacity();
            output.clear();
            if input.is_empty() && !is_full {
                return Ok(());
            }
        }
    }

    /// Returns `true` if the object had the bytes of the file, and, if it is compressed, a table that says where its frames are.
    fn finish(self) -> Result<bool, EncodingError> {
        let Source { size_bytes, sha256, .. } = self.source;
        let has_table = match &self.compressed {
            Some(Compressed { end, .. }) => {
                let table = Table::parse(&end.bytes, size_bytes)?;
                table.stored_bytes() + table_bytes(size_bytes) == end.length
            }
            None => true,
        };
        Ok(has_table && self.length == size_bytes && Sha256Digest(self.sha256.finalize().into()) == sha256)
    }
}

/// The last bytes of an object, which are its table.
struct End {
    bytes: BytesMut,
    most: usize,
    /// Number of bytes of the object so far.
    length: u64,
}

impl End {
    fn new(size_bytes: u64) -> Self {
        let most = usize::try_from(table_bytes(size_bytes)).unwrap_or(usize::MAX);
        Self { bytes: BytesMut::new(), most, length: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += length_of(bytes);
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(self.most);
        drop(self.bytes.split_to(surplus));
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A body that is being read.
struct Reading {
    bytes: Fuse<BoxStream<'static, Result<Bytes, StoreError>>>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        in_time(self.bytes.next()).await?.transpose()
    }
}

/// Waits for bytes of the store, but not longer than [`STALLED`].
async fn in_time<T>(bytes: impl Future<Output = T>) -> Result<T, StoreError> {
    tokio::time::timeout(STALLED, bytes).await.map_err(|_| StoreError::Unavailable {
        operation: "reading a file to compress",
        reason: "the store sends nothing".to_owned(),
    })
}

/// The frames of a body.
struct Frames {
    body: Reading,
    next: BytesMut,
}

impl Frames {
    /// Returns the next [`FRAME_BYTES`], or the rest.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while self.next.len() < FRAME_BYTES {
            let Some(bytes) = self.body.next().await? else { break };
            self.next.extend_from_slice(&bytes);
        }
        let length = self.next.len().min(FRAME_BYTES);
        Ok((length > 0).then(|| self.next.split_to(length).freeze()))
    }
}

/// Writer of an object: in one piece if it is small, otherwise in parts.
struct Writer<'a> {
    store: &'a dyn ObjectStore,
    key: &'a str,
    upload_id: Option<String>,
    part_bytes: usize,
    parts: Vec<CompletedPart>,
    next: Vec<u8>,
    /// Number of bytes of the object so far.
    written: u64,
}

impl<'a> Writer<'a> {
    fn new(store: &'a dyn ObjectStore, key: &'a str, size_bytes: u64, first: Vec<u8>) -> Self {
        let part_bytes = usize::try_from(PART_BYTES.max(size_bytes / PARTS)).unwrap_or(usize::MAX);
        Self { store, key, upload_id: None, part_bytes, parts: Vec::new(), written: length_of(&first), next: first }
    }

    async fn add(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.written += length_of(bytes);
        self.next.extend_from_slice(bytes);
        if self.next.len() >= self.part_bytes { self.write_part().await } else { Ok(()) }
    }

    async fn write_part(&mut self) -> Result<(), StoreError> {
        let upload_id = match &self.upload_id {
            Some(upload_id) => upload_id,
            None => self.upload_id.insert(self.store.create_multipart(self.key, Some(Crc::Crc64Nvme)).await?),
        };
        let bytes = Bytes::from(std::mem::take(&mut self.next));
        let (crc, part_number) = (crc64nvme(&bytes), u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX));
        let etag = self.store.upload_part(self.key, upload_id, part_number, bytes, crc).await?;
        self.parts.push(CompletedPart { part_number, etag, crc: Some(PartCrc::crc64nvme(crc)) });
        Ok(())
    }

    /// Completes the object with its last bytes.
    async fn finish(mut self, end: Vec<u8>) -> Result<(), StoreError> {
        self.next.extend(end);
        let done = match self.upload_id {
            Some(_) => self.complete().await,
            None => {
                let bytes = Bytes::from(std::mem::take(&mut self.next));
                let crc = crc64nvme(&bytes);
                self.store.put(self.key, bytes, crc).await.map(drop)
            }
        };
        if done.is_err() {
            self.abort().await;
        }
        done
    }

    async fn complete(&mut self) -> Result<(), StoreError> {
        if !self.next.is_empty() {
            self.write_part().await?;
        }
        let upload_id = self.upload_id.as_deref().unwrap_or_default();
        self.store.complete_multipart(self.key, upload_id, &self.parts).await
    }

    /// Removes what was written.
    async fn abort(self) {
        let Some(upload_id) = &self.upload_id else { return };
        if let Err(error) = self.store.abort_multipart(self.key, upload_id).await {
            tracing::warn!(%error, "cannot abort a multipart upload; `waybill reconcile` finds it");
        }
    }
}
