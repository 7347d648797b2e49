//! The one SHA-256 pass over an upload: a running digest that advances part by part, in order.
//!
//! It advances only with a part that is stored and in the log, and knows which parts it covers (their checksums), so
//! that it is never mistaken for the digest of other bytes. Its midstate is kept in a bucket; another worker goes on
//! from there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use waybill_domain::upload;
use waybill_event_log::jetstream::{Bucket, BucketError};
use waybill_object_store::crc64nvme;
use waybill_schema::{Sha256Digest, UploadId, names};

/// The midstate's layout is that of this version of `sha2`; another version's is not read.
const LAYOUT: &str = "sha2-0.11";

/// How often the midstate of a running upload is kept.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// A running digest over parts 1 to `covered`.
#[derive(Clone)]
pub(crate) struct Midstate {
    sha256: Sha256,
    /// The parts that went in, in order.
    covered: Vec<Covered>,
}

/// A part that went into a digest. Other bytes may have the same checksum; the id is that of these bytes, in this process.
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

/// As it is kept in the bucket. A midstate that was damaged would load without complaint, hence the checksum.
#[derive(Serialize, Deserialize)]
struct Record {
    layout: String,
    covered_parts: u32,
    covered_crc64nvme: u64,
    state: Vec<u8>,
    crc64nvme: u64,
}

impl Midstate {
    /// Over nothing.
    pub(crate) fn new() -> Self {
        Self { sha256: Sha256::new(), covered: Vec::new() }
    }

    /// How many parts it covers.
    pub(crate) fn covered_parts(&self) -> u32 {
        u32::try_from(self.covered.len()).unwrap_or(u32::MAX)
    }

    /// Adds a whole part.
    pub(crate) fn push(&mut self, bytes: &[u8], crc64nvme: u64) {
        self.sha256.update(bytes);
        self.covered.push(Covered::new(crc64nvme));
    }

    /// The hash, to be continued with what it does not cover.
    pub(crate) fn into_sha256(self) -> Sha256 {
        self.sha256
    }

    /// A digest of what it covers.
    pub(crate) fn digest(&self) -> Sha256Digest {
        Sha256Digest(self.sha256.clone().finalize().into())
    }

    /// Whether what it covers is what the log says is stored.
    pub(crate) fn fits(&self, state: &upload::State) -> bool {
        let is_stored =
            |(covered, n): (&Covered, u32)| state.parts.get(&n).is_some_and(|part| part.crc64nvme == covered.crc64nvme);
        self.covered.iter().zip(1..).all(is_stored)
    }

    /// Keeps it in the bucket.
    pub(crate) async fn save(&self, bucket: &Bucket, upload: UploadId) -> Result<(), BucketError> {
        bucket.put(&names::midstate_key(upload), self.to_record().into()).await
    }

    /// The midstate in the bucket, if it is intact and covers what the log says is stored.
    pub(crate) async fn load(bucket: &Bucket, upload: UploadId, state: &upload::State) -> Option<Self> {
        let entry = bucket.get(&names::midstate_key(upload)).await.ok()??;
        Self::from_record(&entry.value, state)
    }

    fn to_record(&self) -> Vec<u8> {
        let state = self.sha256.serialize().to_vec();
        let record = Record {
            layout: LAYOUT.to_owned(),
            covered_parts: self.covered_parts(),
            covered_crc64nvme: crc_of(&self.covered),
            crc64nvme: crc64nvme(&state),
            state,
        };
        // Postcard into a vector cannot fail for these types; an empty record would not be read back.
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
        let state = SerializedState::<Sha256>::try_from(record.state.as_slice()).ok()?;
        Some(Self { sha256: Sha256::deserialize(&state).ok()?, covered })
    }
}

fn crc_of(covered: &[Covered]) -> u64 {
    let bytes: Vec<u8> = covered.iter().flat_map(|part| part.crc64nvme.to_be_bytes()).collect();
    crc64nvme(&bytes)
}

/// A digest that runs ahead of its part: over the bytes of a part as they come in, before it is stored.
pub(crate) struct Ahead {
    sha256: Sha256,
    /// The parts before it: only where these are stored is it the file's digest.
    before: Vec<Covered>,
    /// What its own part will be known by.
    id: u64,
}

impl Ahead {
    /// Over a file's bytes from the first one on.
    pub(crate) fn from_start() -> Self {
        Self { sha256: Sha256::new(), before: Vec::new(), id: new_id() }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
    }

    /// One for the part behind this one, which has come in whole and has this checksum.
    pub(crate) fn next(&self, crc64nvme: u64) -> Self {
        let before = self.before.iter().copied().chain([Covered { crc64nvme, id: self.id }]).collect();
        Self { sha256: self.sha256.clone(), before, id: new_id() }
    }

    /// Whether it runs over part `part_number`.
    pub(crate) fn is_of(&self, part_number: u32) -> bool {
        u32::try_from(self.before.len() + 1) == Ok(part_number)
    }

    /// The digest of what went in.
    pub(crate) fn digest(self) -> Sha256Digest {
        Sha256Digest(self.sha256.finalize().into())
    }
}

/// A part that is stored, and waits in memory until those before it were hashed.
struct Waiting {
    bytes: Bytes,
    crc64nvme: u64,
    _permit: OwnedSemaphorePermit,
}

/// The running digest of one upload, with the parts that came out of order.
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

    /// A digest that may run ahead, if `part_number` is the next part.
    pub(crate) fn ahead(&self, part_number: u32) -> Option<Ahead> {
        (part_number == self.midstate.covered_parts() + 1).then(|| Ahead {
            sha256: self.midstate.sha256.clone(),
            before: self.midstate.covered.clone(),
            id: new_id(),
        })
    }

    /// A part was stored and is in the log. `permit` is what keeping its bytes for later takes, if there is room.
    pub(crate) fn part_stored(
        &mut self,
        part_number: u32,
        bytes: Bytes,
        crc64nvme: u64,
        ahead: Option<Ahead>,
        permit: impl FnOnce() -> Option<OwnedSemaphorePermit>,
    ) {
        let next = self.midstate.covered_parts() + 1;
        match ahead.filter(|ahead| part_number == next && ahead.before == self.midstate.covered) {
            Some(ahead) => {
                self.midstate.sha256 = ahead.sha256;
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

    /// The midstate, if it is to be kept now: it moved, and was not kept a moment ago, or covers all `total_parts`.
    /// Losing the last moment's costs reading so much of the object back.
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

    fn whole() -> Sha256Digest {
        Sha256Digest(Sha256::digest((1..=PARTS).flat_map(|n| part(n).to_vec()).collect::<Vec<u8>>()).into())
    }

    #[test]
    fn parts_in_any_order_and_repeated_have_the_digest_of_the_file() {
        for order in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4], [2, 1, 4, 3, 5]] {
            let hash = hashed(&order, 10);
            assert_eq!((hash.midstate().covered_parts(), hash.midstate().digest()), (PARTS, whole()), "{order:?}");
            assert!(hash.midstate().fits(&stored(1..=PARTS)));
        }
        assert_eq!(hashed(&[1, 1, 2, 2, 3, 1, 4, 5, 5], 10).midstate().digest(), whole());
    }

    #[test]
    fn a_part_without_room_to_wait_is_left_to_be_read_back() {
        let hash = hashed(&[3, 2, 1, 4, 5], 1);
        // 3 waited, 2 had no room: only 1 is covered, and nothing after the gap is.
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
        assert_eq!(hash.midstate().digest(), whole());
    }

    #[test]
    fn a_digest_that_ran_ahead_of_other_bytes_with_the_same_checksum_is_not_taken() {
        let mut hash = RunningHash::new(Midstate::new());
        let same = crc64nvme(&part(1));
        let mut first = hash.ahead(1).unwrap();
        first.update(b"other bytes, made to have the checksum of the part");
        let mut second = first.next(same);
        second.update(&part(2));
        // The event of another request was first; it has the part's bytes.
        hash.part_stored(1, part(1), same, None, || None);
        hash.part_stored(2, part(2), crc64nvme(&part(2)), Some(second), || None);
        for n in 3..=PARTS {
            hash.part_stored(n, part(n), crc64nvme(&part(n)), None, || None);
        }
        assert_eq!(hash.midstate().digest(), whole());
    }

    #[test]
    fn a_digest_runs_ahead_over_several_parts() {
        let mut hash = RunningHash::new(Midstate::new());
        let mut first = hash.ahead(1).unwrap();
        first.update(&part(1));
        let mut second = first.next(crc64nvme(&part(1)));
        second.update(&part(2));
        hash.part_stored(1, part(1), crc64nvme(&part(1)), Some(first), || None);
        // Empty bytes: it is the digest that ran ahead that is taken.
        hash.part_stored(2, Bytes::new(), crc64nvme(&part(2)), Some(second), || None);
        for n in 3..=PARTS {
            hash.part_stored(n, part(n), crc64nvme(&part(n)), None, || None);
        }
        assert_eq!(hash.midstate().digest(), whole());
    }

    #[test]
    fn a_midstate_goes_on_from_its_record() {
        let record = hashed(&[1, 2, 3], 10).midstate().to_record();
        let mut hash = RunningHash::new(Midstate::from_record(&record, &stored(1..=3)).unwrap());
        for n in 4..=PARTS {
            hash.part_stored(n, part(n), crc64nvme(&part(n)), None, || None);
        }
        assert_eq!(hash.midstate().digest(), whole());
    }

    #[test]
    fn a_record_that_is_damaged_or_of_other_parts_is_not_read() {
        let record = hashed(&[1, 2, 3], 10).midstate().to_record();
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 1;
            assert!(Midstate::from_record(&damaged, &stored(1..=3)).is_none(), "a flipped bit at {at} loads");
        }
        assert!(Midstate::from_record(&record, &stored(1..=2)).is_none());
        let mut replaced = stored(1..=3);
        replaced.parts.get_mut(&2).unwrap().crc64nvme ^= 1;
        assert!(Midstate::from_record(&record, &replaced).is_none());
        assert!(Midstate::from_record(&[], &stored(1..=3)).is_none());
    }
}
