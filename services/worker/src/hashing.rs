//! The only pass over an upload for its digests: a running hash that advances part by part, in order.
//!
//! The digest advances only when a part is stored and recorded in the log. It remembers the checksums of the parts that
//! it covers, so it is never taken for the digest of other bytes. Its midstate is saved in a bucket, from which another
//! worker can continue.

use crate::file_hash::{FileDigests, FileHash};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use waybill_domain::upload;
use waybill_event_log::{Bucket, BucketError};
use waybill_object_store::crc64nvme;
use waybill_schema::{UploadId, names};

/// Layout of the midstate: that of this version of `sha2`, and a CRC-32. Midstates with another layout are not read.
const LAYOUT: &str = "sha2-0.11, crc32";

/// Shortest time between two saves of the midstate of a running upload.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Running digest of the first parts of an upload.
#[derive(Clone)]
pub(crate) struct Midstate {
    hash: FileHash,
    /// Parts that were hashed, in order.
    covered: Vec<Covered>,
}

/// A part that was hashed. Other bytes can have the same checksum, so `id` identifies the bytes within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Covered {
    crc64nvme: u64,
    id: u64,
}

impl Covered {
    fn new(crc64nvme: u64) -> Self {
        Self { crc64nvme, id: new_id() }
    }
}

fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A midstate as stored in the bucket. Its checksum detects damage, which deserializing would not.
#[derive(Serialize, Deserialize)]
struct Record {
    layout: String,
    covered_parts: u32,
    covered_crc64nvme: u64,
    state: Vec<u8>,
    crc64nvme: u64,
}

impl Midstate {
    /// Returns a digest that covers no part.
    pub(crate) fn new() -> Self {
        Self { hash: FileHash::new(), covered: Vec::new() }
    }

    /// Returns the number of parts that the digest covers.
    pub(crate) fn covered_parts(&self) -> u32 {
        u32::try_from(self.covered.len()).unwrap_or(u32::MAX)
    }

    /// Adds a whole part.
    pub(crate) fn push(&mut self, bytes: &[u8], crc64nvme: u64) {
        self.hash.update(bytes);
        self.covered.push(Covered::new(crc64nvme));
    }

    /// Returns the hash, to be continued with the parts that it does not cover.
    pub(crate) fn into_hash(self) -> FileHash {
        self.hash
    }

    /// Returns the digests of the covered parts.
    pub(crate) fn digests(&self) -> FileDigests {
        self.hash.clone().finish()
    }

    /// Returns `true` if the log records the covered parts with the same checksums.
    pub(crate) fn fits(&self, state: &upload::State) -> bool {
        let is_stored =
            |(covered, n): (&Covered, u32)| state.parts.get(&n).is_some_and(|part| part.crc64nvme == covered.crc64nvme);
        self.covered.iter().zip(1..).all(is_stored)
    }

    /// Saves the midstate in the bucket.
    pub(crate) async fn save(&self, bucket: &Bucket, upload: UploadId) -> Result<(), BucketError> {
        bucket.put(&names::midstate_key(upload), self.to_record().into()).await
    }

    /// Reads the midstate from the bucket. Returns `None` if it is damaged or covers other parts than the log records.
    pub(crate) async fn load(bucket: &Bucket, upload: UploadId, state: &upload::State) -> Option<Self> {
        let entry = bucket.get(&names::midstate_key(upload)).await.ok()??;
        Self::from_record(&entry.value, state)
    }

    fn to_record(&self) -> Vec<u8> {
        let state = self.hash.to_state();
        let record = Record {
            layout: LAYOUT.to_owned(),
            covered_parts: self.covered_parts(),
            covered_crc64nvme: crc_of(&self.covered),
            crc64nvme: crc64nvme(&state),
            state,
        };
        // Serializing these types into a vector cannot fail. An empty record would be rejected when it is read.
        postcard::to_stdvec(&record).unwrap_or_default()
    }

    fn from_record(bytes: &[u8], state: &upload::State) -> Option<Self> {
        let record: Record = postcard::from_bytes(bytes).ok()?;
        let crcs = (1..=record.covered_parts).map_while(|n| state.parts.get(&n).map(|part| part.crc64nvme));
        let covered: Vec<Covered> = crcs.map(Covered::new).collect();
        let intact = record.layout == LAYOUT
            && record.crc64nvme == crc64nvme(&record.state)
            && covered.len() == usize::try_from(record.covered_parts).ok()?
            && record.covered_crc64nvme == crc_of(&covered);
        if !intact {
            return None;
        }
        Some(Self { hash: FileHash::from_state(&record.state)?, covered })
    }
}

fn crc_of(covered: &[Covered]) -> u64 {
    let bytes: Vec<u8> = covered.iter().flat_map(|part| part.crc64nvme.to_be_bytes()).collect();
    crc64nvme(&bytes)
}

/// A speculative digest: it hashes the bytes of a part while they arrive, before the part is stored.
pub(crate) struct SpeculativeDigest {
    hash: FileHash,
    /// The parts before this one. The digest is that of the file only if exactly these are stored.
    before: Vec<Covered>,
    /// Id of the part that is being hashed (see [`Covered`]).
    id: u64,
}

impl SpeculativeDigest {
    /// Returns a digest that starts at the first byte of a file.
    pub(crate) fn from_start() -> Self {
        Self { hash: FileHash::new(), before: Vec::new(), id: new_id() }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// Returns a digest for the next part. The part of this digest must be complete and have this checksum.
    pub(crate) fn next(&self, crc64nvme: u64) -> Self {
        let before = self.before.iter().copied().chain([Covered { crc64nvme, id: self.id }]).collect();
        Self { hash: self.hash.clone(), before, id: new_id() }
    }

    /// Returns `true` if this digest is for part `part_number`.
    pub(crate) fn is_of(&self, part_number: u32) -> bool {
        u32::try_from(self.before.len() + 1) == Ok(part_number)
    }

    /// Returns the digests of all bytes that were hashed.
    pub(crate) fn digests(self) -> FileDigests {
        self.hash.finish()
    }
}

/// A stored part that waits in memory until the parts before it are hashed.
struct Waiting {
    bytes: Bytes,
    crc64nvme: u64,
    _permit: OwnedSemaphorePermit,
}

/// Running digest of one upload, and the stored parts that arrived out of order.
pub(crate) struct RunningHash {
    midstate: Midstate,
    waiting: BTreeMap<u32, Waiting>,
    saved_parts: u32,
    saved_at: Option<Instant>,
}

impl RunningHash {
    pub(crate) fn new(midstate: Midstate) -> Self {
        let saved_parts = midstate.covered_parts();
        Self { midstate, waiting: BTreeMap::new(), saved_parts, saved_at: None }
    }

    /// Returns a speculative digest if `part_number` is the next part to hash.
    pub(crate) fn ahead(&self, part_number: u32) -> Option<SpeculativeDigest> {
        (part_number == self.midstate.covered_parts() + 1).then(|| SpeculativeDigest {
            hash: self.midstate.hash.clone(),
            before: self.midstate.covered.clone(),
            id: new_id(),
        })
    }

    /// Takes a part that is stored and recorded in the log. A part that is not the next one to hash is kept in memory
    /// if `permit` returns a permit for its bytes. Otherwise it must be read back later.
    pub(crate) fn part_stored(
        &mut self,
        part_number: u32,
        bytes: Bytes,
        crc64nvme: u64,
        ahead: Option<SpeculativeDigest>,
        permit: impl FnOnce() -> Option<OwnedSemaphorePermit>,
    ) {
        let next = self.midstate.covered_parts() + 1;
        match ahead.filter(|ahead| part_number == next && ahead.before == self.midstate.covered) {
            Some(ahead) => {
                self.midstate.hash = ahead.hash;
                self.midstate.covered.push(Covered { crc64nvme, id: ahead.id });
            }
            None if part_number == next => self.midstate.push(&bytes, crc64nvme),
            None if part_number > next => {
                if let Some(permit) = permit() {
                    self.waiting.insert(part_number, Waiting { bytes, crc64nvme, _permit: permit });
                }
            }
            None => {}
        }
        while let Some(waiting) = self.waiting.remove(&(self.midstate.covered_parts() + 1)) {
            self.midstate.push(&waiting.bytes, waiting.crc64nvme);
        }
    }

    /// Returns the midstate if it must be saved now: it has advanced, and it was not saved within [`SAVE_EVERY`] or
    /// covers all `total_parts`. After a crash, the parts that the saved midstate does not cover must be read back.
    pub(crate) fn unsaved(&mut self, total_parts: u32) -> Option<Midstate> {
        let covered = self.midstate.covered_parts();
        let recent = self.saved_at.is_some_and(|at| at.elapsed() < SAVE_EVERY);
        if covered == self.saved_parts || (recent && covered != total_parts) {
            return None;
        }
        (self.saved_parts, self.saved_at) = (covered, Some(Instant::now()));
        Some(self.midstate.clone())
    }

    pub(crate) fn midstate(&self) -> &Midstate {
        &self.midstate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;
    use waybill_domain::upload::StoredPart;

    const PARTS: u32 = 5;

    fn part(n: u32) -> Bytes {
        Bytes::from(vec![u8::try_from(n).unwrap(); 1_000 + usize::try_from(n).unwrap()])
    }

    fn stored(parts: impl IntoIterator<Item = u32>) -> upload::State {
        let of = |n| (n, StoredPart { etag: String::new(), crc64nvme: crc64nvme(&part(n)), length: 0 });
        upload::State { parts: parts.into_iter().map(of).collect(), ..upload::State::default() }
    }

    fn hashed(order: &[u32], room: usize) -> RunningHash {
        let room = Arc::new(Semaphore::new(room));
        let mut hash = RunningHash::new(Midstate::new());
        for n in order {
            let ahead = hash.ahead(*n).map(|mut ahead| {
                ahead.update(&part(*n));
                ahead
            });
            hash.part_stored(*n, part(*n), crc64nvme(&part(*n)), ahead, || room.clone().try_acquire_owned().ok());
        }
        hash
    }

    fn whole() -> FileDigests {
        let mut hash = FileHash::new();
        (1..=PARTS).for_each(|n| hash.update(&part(n)));
        hash.finish()
    }

    #[test]
    fn parts_in_any_order_and_repeated_have_the_digest_of_the_file() {
        for order in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4], [2, 1, 4, 3, 5]] {
            let hash = hashed(&order, 10);
            assert_eq!((hash.midstate().covered_parts(), hash.midstate().digests()), (PARTS, whole()), "{order:?}");
            assert!(hash.midstate().fits(&stored(1..=PARTS)));
        }
        assert_eq!(hashed(&[1, 1, 2, 2, 3, 1, 4, 5, 5], 10).midstate().digests(), whole());
    }

    #[test]
    fn a_part_without_room_to_wait_is_left_to_be_read_back() {
        let hash = hashed(&[3, 2, 1, 4, 5], 1);
        // Part 3 waited and part 2 had no room. So only part 1 is covered, and no part after the gap.
        assert_eq!(hash.midstate().covered_parts(), 1);
    }

    #[test]
    fn a_digest_that_ran_ahead_of_other_bytes_is_not_taken() {
        let mut hash = RunningHash::new(Midstate::new());
        let mut first = hash.ahead(1).unwrap();
        first.update(b"other bytes, which were not stored in the end");
        let mut second = first.next(7);
        assert!(second.is_of(2));
        second.update(&part(2));
        hash.part_stored(1, part(1), crc64nvme(&part(1)), None, || None);
        hash.part_stored(2, part(2), crc64nvme(&part(2)), Some(second), || None);
        for n in 3..=PARTS {
            hash.part_stored(n, part(n), crc64nvme(&part(n)), None, || None);
        }
        assert_eq!(hash.midstate().digests(), whole());
    }

    #[test]
    fn a_digest_that_ran_ahead_of_other_bytes_with_the_same_checksum_is_not_taken() {
        let mut hash = RunningHash::new(Midstate::new());
        let same = crc64nvme(&part(1));
        let mut first = hash.ahead(1).unwrap();
        first.update(b"other bytes, made to have the checksum of the part");
        let mut second = first.next(same);
        second.update(&part(2));
        // The event of another request was appended first. It has the bytes of the part.
        hash.part_stored(1, part(1), same, None, || None);
        hash.part_stored(2, part(2), crc64nvme(&part(2)), Some(second), || None);
        for n in 3..=PARTS {
            hash.part_stored(n, part(n), crc64nvme(&part(n)), None, || None);
        }
        assert_eq!(hash.midstate().digests(), whole());
    }

    #[test]
    fn a_digest_runs_ahead_over_several_parts() {
        let mut hash = RunningHash::new(Midstate::new());
        let mut first = hash.ahead(1).unwrap();
        first.update(&part(1));
        let mut second = first.next(crc64nvme(&part(1)));
        second.update(&part(2));
        hash.part_stored(1, part(1), crc64nvme(&part(1)), Some(first), || None);
        // The bytes are empty, so the test passes only if the speculative digest is used.
        hash.part_stored(2, Bytes::new(), crc64nvme(&part(2)), Some(second), || None);
        for n in 3..=PARTS {
            hash.part_stored(n, part(n), crc64nvme(&part(n)), None, || None);
        }
        assert_eq!(hash.midstate().digests(), whole());
    }

    #[test]
    fn a_midstate_goes_on_from_its_record() {
        let record = hashed(&[1, 2, 3], 10).midstate().to_record();
        let mut hash = RunningHash::new(Midstate::from_record(&record, &stored(1..=3)).unwrap());
        for n in 4..=PARTS {
            hash.part_stored(n, part(n), crc64nvme(&part(n)), None, || None);
        }
        assert_eq!(hash.midstate().digests(), whole());
    }

    #[test]
    fn a_record_that_is_damaged_or_of_other_parts_is_not_read() {
        let record = hashed(&[1, 2, 3], 10).midstate().to_record();
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 1;
            assert!(
                Midstate::from_record(&damaged, &stored(1..=3)).is_none(),
                "a record with a flipped bit in byte {at} was read"
            );
        }
        assert!(Midstate::from_record(&record, &stored(1..=2)).is_none());
        let mut replaced = stored(1..=3);
        replaced.parts.get_mut(&2).unwrap().crc64nvme ^= 1;
        assert!(Midstate::from_record(&record, &replaced).is_none());
        assert!(Midstate::from_record(&[], &stored(1..=3)).is_none());
    }
}
