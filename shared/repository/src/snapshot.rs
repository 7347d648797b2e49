//! Snapshots: folds of long subjects, kept in pieces beside the log. Losing one costs the next load some time, no more.

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use waybill_event_log::{EventLog, Values, ValuesError};
use waybill_schema::{Position, Subject, names};

/// Bytes of a piece: a value has 1 MiB at most.
const PIECE_BYTES: usize = 512 * 1_024;
/// How often a snapshot is read that is replaced meanwhile.
const ATTEMPTS: u32 = 2;

/// The last event of a fold: its sequence, and its message id, which tells the stream from one that was restored or replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) id: Option<String>,
}

/// The value of a snapshot's own key.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u16,
    crc64nvme: u64,
    set: u8,
    pieces: u32,
    mark: Mark,
}

/// Reads the last snapshot of a subject's fold, if it is whole, of this version, and of this stream.
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

/// Reads the bytes of a snapshot, whatever is folded in it. `unpack` tells whether they are good.
async fn read_bytes(
    log: &dyn EventLog,
    values: &dyn Values,
    subject: Subject,
    version: u16,
    unpack: &mut (dyn FnMut(&[u8]) -> bool + Send),
) -> Option<Mark> {
    for _ in 0..ATTEMPTS {
        let head = head(values, subject).await.ok()?.filter(|head| head.version == version)?;
        let position = Position { partition: log.partitions().of(subject.company), seq: head.mark.seq };
        let there = log.at(position).await.ok()??;
        if there.message_id.is_none() || there.message_id != head.mark.id {
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

/// The bytes of a fold, as [`write`] keeps them; `None` where it cannot be kept.
pub(crate) fn pack<T: Serialize>(fold: &T) -> Option<Vec<u8>> {
    postcard::to_stdvec(fold).ok()
}

/// Keeps a fold for the next load, however large it is: the pieces first, and then what names them.
///
/// # Errors
/// [`ValuesError`]; the last snapshot is then still there.
pub(crate) async fn write(
    values: &dyn Values,
    subject: Subject,
    version: u16,
    mark: Mark,
    fold: &[u8],
) -> Result<(), ValuesError> {
    // Not the set that the last snapshot is in, also if another process wrote that.
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

/// Removes the snapshot of a subject that nobody will decide on any more, if there is one.
///
/// # Errors
/// [`ValuesError`]; some of it may be left.
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
