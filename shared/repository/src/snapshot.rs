//! Snapshots of aggregates with many events, stored in pieces in a key-value bucket. If a snapshot is lost, the next
//! load only takes longer.

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use waybill_event_log::{EventLog, ReadError, Values, ValuesError};
use waybill_schema::{Position, Subject, names};

/// Size of a piece in bytes. A value can have at most 1 MiB.
const PIECE_BYTES: usize = 512 * 1_024;
/// Maximum number of attempts to read a snapshot that is replaced at the same time.
const ATTEMPTS: u32 = 2;

/// Last event of a fold: its sequence and its message id. The message id shows whether the stream was restored or
/// replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) id: Option<String>,
}

impl Mark {
    /// Returns `true` if the stream still has this event. Events without a message id cannot be recognised.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log does not answer.
    pub(crate) async fn is_in(&self, log: &dyn EventLog, subject: Subject) -> Result<bool, ReadError> {
        let position = Position { partition: log.partitions().of(subject.company), seq: self.seq };
        let there = log.at(position).await?.and_then(|event| event.message_id);
        Ok(there.is_some() && there == self.id)
    }
}

/// Value of the key of a snapshot.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u16,
    crc64nvme: u64,
    set: u8,
    pieces: u32,
    mark: Mark,
}

/// Reads the last snapshot of a subject. Returns `None` if it is incomplete, or of another version or stream.
pub(crate) async fn read<T: DeserializeOwned + Send>(
    log: &dyn EventLog,
    values: &dyn Values,
    subject: Subject,
    version: u16,
) -> Option<(T, Mark)> {
    let mut fold = None;
    let mut unpack = |bytes: &[u8]| {
        fold = postcard::from_bytes(bytes).ok();
        fold.is_some()
    };
    let mark = read_bytes(log, values, subject, version, &mut unpack).await?;
    Some((fold?, mark))
}

/// Reads the bytes of a snapshot of any type. `unpack` returns `true` if it can decode them.
async fn read_bytes(
    log: &dyn EventLog,
    values: &dyn Values,
    subject: Subject,
    version: u16,
    unpack: &mut (dyn FnMut(&[u8]) -> bool + Send),
) -> Option<Mark> {
    for _ in 0..ATTEMPTS {
        let head = head(values, subject).await.ok()?.filter(|head| head.version == version)?;
        if !head.mark.is_in(log, subject).await.ok()? {
            return None;
        }
        if let Some(bytes) = pieces(values, subject, &head).await
            && unpack(&bytes)
        {
            return Some(head.mark);
        }
    }
    None
}

async fn head(values: &dyn Values, subject: Subject) -> Result<Option<Head>, ValuesError> {
    let head = values.value(&names::snapshot_key(subject)).await?;
    Ok(head.and_then(|head| postcard::from_bytes(&head).ok()))
}

async fn pieces(values: &dyn Values, subject: Subject, head: &Head) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for piece in 0..head.pieces {
        bytes.extend(values.value(&names::snapshot_piece_key(subject, head.set, piece)).await.ok()??);
    }
    (head.crc64nvme == crc(&bytes)).then_some(bytes)
}

/// Encodes a fold for [`write`]. Returns `None` if it cannot be encoded.
pub(crate) fn pack<T: Serialize>(fold: &T) -> Option<Vec<u8>> {
    postcard::to_stdvec(fold).ok()
}

/// Writes a snapshot of any size: first the pieces, and then the head that refers to them.
///
/// # Errors
/// [`ValuesError`] if a value cannot be read or written. The previous snapshot can then still be read, if the head was
/// not replaced yet.
pub(crate) async fn write(
    values: &dyn Values,
    subject: Subject,
    version: u16,
    mark: Mark,
    fold: &[u8],
) -> Result<(), ValuesError> {
    // Use the other set than the last snapshot, which another process may have written.
    let kept = head(values, subject).await?;
    let set = kept.as_ref().map_or(0, |kept| 1 - kept.set.min(1));
    let mut pieces = 0;
    for piece in fold.chunks(PIECE_BYTES) {
        let key = names::snapshot_piece_key(subject, set, pieces);
        values.set_value(&key, bytes::Bytes::copy_from_slice(piece)).await?;
        pieces += 1;
    }
    let Ok(head) = postcard::to_stdvec(&Head { version, crc64nvme: crc(fold), set, pieces, mark }) else {
        return Ok(());
    };
    values.set_value(&names::snapshot_key(subject), head.into()).await?;
    // The pieces of the previous snapshot are not needed any more.
    if let Some(Head { set, pieces, .. }) = kept {
        remove_pieces(values, subject, set, pieces).await?;
    }
    Ok(())
}

async fn remove_pieces(values: &dyn Values, subject: Subject, set: u8, pieces: u32) -> Result<(), ValuesError> {
    for piece in 0..pieces {
        values.remove_value(&names::snapshot_piece_key(subject, set, piece)).await?;
    }
    Ok(())
}

/// Removes the snapshot of a subject, if there is one. Call it for aggregates on which no commands are decided any
/// more.
///
/// # Errors
/// [`ValuesError`] if a value cannot be removed. Some values may then remain.
pub fn forget_snapshot(log: &dyn EventLog, subject: Subject) -> BoxFuture<'_, Result<(), ValuesError>> {
    Box::pin(async move {
        let Some(values) = log.snapshots() else { return Ok(()) };
        let Some(Head { set, pieces, .. }) = head(values, subject).await? else { return Ok(()) };
        remove_pieces(values, subject, set, pieces).await?;
        values.remove_value(&names::snapshot_key(subject)).await
    })
}

fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}
