//! Reads long ranges of objects with several concurrent requests, and returns the bytes in order.
//!
//! A distant store begins each answer late and limits the rate of each answer. Concurrent requests hide both.

use crate::{ObjectStore, StoreError};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// Number of bytes that one request reads.
const PIECE: u64 = 8 << 20;

/// A range of an object's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRange {
    /// The object's key.
    pub key: String,
    /// Offset of the first byte.
    pub from: u64,
    /// Offset after the last byte.
    pub to: u64,
}

/// Reads objects and limits the memory for bytes that are read ahead.
#[derive(Clone)]
pub struct ReadAhead {
    store: Arc<dyn ObjectStore>,
    /// One permit for each piece that can be read ahead.
    pieces: Arc<Semaphore>,
    /// Maximum number of permits that one reader takes.
    most: usize,
}

impl ReadAhead {
    /// Creates a reader for `store`. It reads at most `bytes` bytes ahead in total, and at most half of them for one
    /// reader. If `bytes` is smaller than one piece, each range is read by consecutive requests.
    pub fn new(store: Arc<dyn ObjectStore>, bytes: u64) -> Self {
        let pieces = usize::try_from(bytes / PIECE).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { store, pieces: Arc::new(Semaphore::new(pieces)), most: pieces.div_ceil(2) }
    }

    /// Reads ranges one after another.
    ///
    /// The stream returns the bytes as they arrive. It ends after the first error: [`StoreError::NotFound`], or
    /// [`StoreError::Unavailable`], which is also returned if an object has fewer bytes than requested.
    pub fn read(&self, ranges: impl IntoIterator<Item = ObjectRange>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let ranges = ranges.into_iter().filter(|range| range.from < range.to).collect();
        let reader = Reader { of: self.clone(), ranges, ahead: VecDeque::new(), now: stream::empty().boxed(), left: 0 };
        stream::try_unfold(reader, Reader::next).boxed()
    }
}

/// A piece that is being read: the bytes that have arrived, and the permit for its memory.
struct Piece {
    bytes: mpsc::UnboundedReceiver<Result<Bytes, StoreError>>,
    length: u64,
    _room: OwnedSemaphorePermit,
    _task: AbortOnDropHandle<()>,
}

struct Reader {
    of: ReadAhead,
    /// Ranges that were not requested yet.
    ranges: VecDeque<ObjectRange>,
    ahead: VecDeque<Piece>,
    /// The body whose bytes are returned at present.
    now: BoxStream<'static, Result<Bytes, StoreError>>,
    /// Number of bytes of the current body that were not returned yet.
    left: u64,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        loop {
            if let Some(bytes) = self.now.try_next().await? {
                self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(other_length)?;
                return Ok(Some((bytes, self)));
            }
            if self.left > 0 {
                return Err(other_length());
            }
            if !self.begin_next().await? {
                return Ok(None);
            }
        }
    }

    /// Makes the next piece the current one and requests the pieces after it. Returns `false` if no bytes are left.
    async fn begin_next(&mut self) -> Result<bool, StoreError> {
        // Drops the previous body and thereby frees its permit.
        self.now = stream::empty().boxed();
        if let Some(piece) = self.ahead.pop_front() {
            self.ask(1);
            self.left = piece.length;
            let next = async |mut piece: Piece| piece.bytes.recv().await.map(|bytes| (bytes, piece));
            self.now = stream::unfold(piece, next).boxed();
            return Ok(true);
        }
        let Some(first) = self.next_piece() else { return Ok(false) };
        self.ask(0);
        // If no memory for pieces is available, one request reads the whole range.
        let range = match self.ranges.front_mut() {
            Some(rest) if self.ahead.is_empty() && rest.key == first.key && rest.from == first.to => {
                let whole = ObjectRange { to: rest.to, ..first };
                self.ranges.pop_front();
                whole
            }
            _ => first,
        };
        self.left = range.to - range.from;
        self.now = open(self.of.store.as_ref(), &range).await?;
        Ok(true)
    }

    /// Requests pieces while permits are available. `handed_on` is the number of pieces that the reader returns at
    /// present.
    fn ask(&mut self, handed_on: usize) {
        while self.ahead.len() + handed_on < self.of.most && !self.ranges.is_empty() {
            let Ok(room) = self.of.pieces.clone().try_acquire_owned() else { return };
            let Some(range) = self.next_piece() else { return };
            let length = range.to - range.from;
            let (sender, bytes) = mpsc::unbounded_channel();
            let task = AbortOnDropHandle::new(tokio::spawn(fetch(self.of.store.clone(), range, sender)));
            self.ahead.push_back(Piece { bytes, length, _room: room, _task: task });
        }
    }

    /// Removes the next piece from the remaining ranges.
    fn next_piece(&mut self) -> Option<ObjectRange> {
        let range = self.ranges.front_mut()?;
        let to = range.to.min(range.from + PIECE);
        let next = ObjectRange { key: range.key.clone(), from: range.from, to };
        range.from = to;
        if range.from == range.to {
            self.ranges.pop_front();
        }
        Some(next)
    }
}

/// Reads a piece into a channel. The channel can be unbounded because the length of the range limits it.
async fn fetch(store: Arc<dyn ObjectStore>, range: ObjectRange, to: mpsc::UnboundedSender<Result<Bytes, StoreError>>) {
    let mut bytes = match open(store.as_ref(), &range).await {
        Ok(bytes) => bytes,
        Err(error) => {
            // The reader may have been dropped.
            to.send(Err(error)).ok();
            return;
        }
    };
    while let Some(next) = bytes.next().await {
        if to.send(next).is_err() {
            return;
        }
    }
}

async fn open(
    store: &dyn ObjectStore,
    range: &ObjectRange,
) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
    let body = store.get(&range.key, range.from, Some(range.to - range.from)).await?;
    if body.length == range.to - range.from { Ok(body.bytes) } else { Err(other_length()) }
}

fn other_length() -> StoreError {
    StoreError::Unavailable {
        operation: "reading an object",
        reason: "the answer does not have the expected length".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc64nvme;
    use crate::memory::MemoryStore;

    async fn store(objects: &[(&str, usize)]) -> (Arc<MemoryStore>, Vec<u8>) {
        let store = Arc::new(MemoryStore::new());
        let mut all = Vec::new();
        for (number, (key, size)) in objects.iter().enumerate() {
            let bytes: Vec<u8> = (0..*size).map(|at| ((at * 31 + number * 7) % 251) as u8).collect();
            all.extend_from_slice(&bytes);
            let bytes = Bytes::from(bytes);
            let crc = crc64nvme(&bytes);
            store.put(key, bytes, crc).await.unwrap();
        }
        (store, all)
    }

    async fn read(ahead: &ReadAhead, ranges: Vec<ObjectRange>) -> Result<Vec<u8>, StoreError> {
        ahead.read(ranges).try_fold(Vec::new(), async |all, bytes| Ok([all, bytes.to_vec()].concat())).await
    }

    fn whole(key: &str, to: usize) -> ObjectRange {
        ObjectRange { key: key.to_owned(), from: 0, to: to as u64 }
    }

    #[tokio::test]
    async fn bytes_come_in_order_however_much_room_there_is() {
        let piece = PIECE as usize;
        let sizes = [("a", 3 * piece + 5), ("b", 1), ("c", 2 * piece)];
        let (store, all) = store(&sizes).await;
        for room in [0, 1, 2, 5, 64] {
            let ahead = ReadAhead::new(store.clone(), room * PIECE);
            let ranges = sizes.iter().map(|(key, size)| whole(key, *size)).collect();
            assert!(read(&ahead, ranges).await.unwrap() == all, "{room}");
            assert_eq!(ahead.pieces.available_permits(), room as usize, "all permits are released");
        }
        let ahead = ReadAhead::new(store, 4 * PIECE);
        let middle = ObjectRange { key: "a".to_owned(), from: 7, to: 2 * PIECE + 9 };
        assert!(read(&ahead, vec![middle]).await.unwrap() == all[7..2 * piece + 9]);
        assert!(read(&ahead, vec![whole("b", 0)]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_object_that_is_gone_or_shorter_is_an_error() {
        let piece = PIECE as usize;
        let (store, _) = store(&[("a", 2 * piece)]).await;
        for room in [0, 4] {
            let ahead = ReadAhead::new(store.clone(), room * PIECE);
            let gone = read(&ahead, vec![whole("a", piece), whole("none", 5)]).await;
            assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
            let shorter = read(&ahead, vec![whole("a", 2 * piece + 1)]).await;
            assert!(shorter.is_err());
            assert_eq!(ahead.pieces.available_permits(), room as usize, "all permits are released");
        }
    }

    #[tokio::test]
    async fn one_reader_takes_half_of_the_room() {
        let (store, _) = store(&[("a", 12 * PIECE as usize)]).await;
        let ahead = ReadAhead::new(store, 4 * PIECE);
        let mut reading = ahead.read([whole("a", 12 * PIECE as usize)]);
        let mut read = 0;
        while read < 6 * PIECE {
            read += reading.next().await.unwrap().unwrap().len() as u64;
            assert!(ahead.pieces.available_permits() >= 2);
        }
        drop(reading);
        tokio::task::yield_now().await;
        while ahead.pieces.available_permits() < 4 {
            tokio::task::yield_now().await;
        }
    }
}
