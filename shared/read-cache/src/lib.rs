//! A cache of what was read from the tables: in the process, and in Redis or Valkey, which many processes share, if one is set.
//!
//! An entry has the position of the log up to which the tables contained the events when it was read. Every gateway follows the log
//! anyway, so it knows whether a later event has changed the rows, and uses an entry only if none has. Therefore nothing has to be
//! invalidated or written in order: an entry that is old, that was overwritten by an older one, or that comes from a restored copy is
//! not used. Entries are encrypted and bound to their names, so that somebody who can write to Redis can neither read nor forge them.

mod metrics;
mod name;
mod redis;

pub use name::Name;
pub use redis::{Redis, RedisUrlError, host_in_clear};

use metrics::{READS, Result as Read};
use std::sync::Arc;
use std::time::Duration;
use waybill_cache::Cache;
use waybill_schema::{CompanyId, Sha256Digest, Timestamp};
use waybill_service_kit::now;
use waybill_service_kit::sealing::SealingKeys;

/// Maximum time for which an entry is used.
pub const KEPT_FOR: Duration = Duration::from_secs(5 * 60);

/// Maximum size of an entry in bytes.
const ENTRY_MAX_BYTES: usize = 256 * 1_024;

/// Version of the format of entries.
const FORMAT: u8 = 1;

/// Length of what precedes the value in an entry: format, sequence, and end.
const HEAD: usize = 17;

/// A value that was read from the tables.
#[derive(Debug)]
pub struct Kept<V> {
    /// The tables contained all events of the partition up to this sequence before the value was read.
    pub seq: u64,
    /// Time from which on the value is not used.
    pub until: Timestamp,
    /// The value.
    pub value: Arc<V>,
    bytes: u32,
}

impl<V> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self { seq: self.seq, until: self.until, value: self.value.clone(), bytes: self.bytes }
    }
}

/// Number of shelves of a process, which share its memory equally.
const SHELVES: u64 = 4;

/// The memory for entries of a process, and Redis, if one is set.
pub struct ReadCache {
    near_bytes: u64,
    far: Option<Far>,
}

/// Redis, and the keys of all entries in it.
struct Far {
    redis: Arc<Redis>,
    keys: SealingKeys,
}

impl ReadCache {
    /// Creates a cache that keeps values of up to `near_bytes` in the process, and all in `redis`, if there is one. The processes that
    /// share it have the same keys. The size of a value is that of the bytes that [`Shelf::keep`] receives.
    pub fn new(near_bytes: u64, redis: Option<(Arc<Redis>, SealingKeys)>) -> Arc<Self> {
        Arc::new(Self { near_bytes, far: redis.map(|(redis, keys)| Far { redis, keys }) })
    }
}

/// The entries of one type.
pub struct Shelf<V> {
    cache: Arc<ReadCache>,
    kind: &'static str,
    near: Cache<(CompanyId, Sha256Digest), Kept<V>>,
    decode: fn(&[u8]) -> Option<V>,
}

impl<V: Send + Sync + 'static> Shelf<V> {
    /// Creates an empty shelf. `decode` reads the bytes that [`Shelf::keep`] received. `kind` is the label of its metrics.
    pub fn new(cache: Arc<ReadCache>, kind: &'static str, decode: fn(&[u8]) -> Option<V>) -> Self {
        let near = Cache::builder(cache.near_bytes / SHELVES)
            .weigher(|kept: &Kept<V>| kept.bytes)
            .time_to_live(KEPT_FOR)
            .build();
        Self { cache, kind, near, decode }
    }

    /// Returns an entry that `is_valid`, from the process or from Redis.
    pub async fn get(&self, company: CompanyId, name: Name, is_valid: impl Fn(&Kept<V>) -> bool) -> Option<Kept<V>> {
        let now = now();
        let is_valid = |kept: &Kept<V>| now < kept.until && is_valid(kept);
        let key = (company, name.digest());
        if let Some(kept) = self.near.get(&key).filter(|kept| is_valid(kept)) {
            self.count(Read::Near);
            return Some(Kept::clone(&kept));
        }
        let Some(kept) = self.far(name).await else {
            self.count(Read::Missing);
            return None;
        };
        if !is_valid(&kept) {
            self.count(Read::Outdated);
            return None;
        }
        self.count(Read::Far);
        self.near.insert(&key, kept.clone());
        Some(kept)
    }

    /// Keeps a value that was read after the tables contained the events up to `seq`. It is used until `until` at most. `bytes` are what
    /// `decode` reads.
    pub fn keep(
        &self,
        company: CompanyId,
        name: Name,
        seq: u64,
        until: Option<Timestamp>,
        value: Arc<V>,
        bytes: &[u8],
    ) {
        let longest = now().plus_ms(i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX));
        let until = until.map_or(longest, |until| until.min(longest));
        if bytes.len() > ENTRY_MAX_BYTES {
            return;
        }
        let weight = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.near.insert(&(company, name.digest()), Kept { seq, until, value, bytes: weight });
        let Some(Far { redis, keys }) = &self.cache.far else { return };
        let mut entry = Vec::with_capacity(HEAD + bytes.len());
        entry.push(FORMAT);
        entry.extend(seq.to_be_bytes());
        entry.extend(until.0.to_be_bytes());
        entry.extend(bytes);
        let Some(sealed) = keys.seal(&name.digest().0, entry) else { return };
        let left = u64::try_from(until.0 - now().0).unwrap_or(0);
        if left > 0 {
            redis.set(name.key(), sealed, Duration::from_millis(left));
        }
    }

    async fn far(&self, name: Name) -> Option<Kept<V>> {
        let Far { redis, keys } = self.cache.far.as_ref()?;
        let sealed = redis.get(name.key()).await?;
        let entry = keys.open(&name.digest().0, &sealed)?;
        let (head, bytes) = entry.split_at_checked(HEAD)?;
        let (format, numbers) = head.split_first()?;
        let (seq, until) = numbers.split_at_checked(size_of::<u64>())?;
        let seq = u64::from_be_bytes(seq.try_into().ok()?);
        let until = Timestamp(i64::from_be_bytes(until.try_into().ok()?));
        let value = (*format == FORMAT).then(|| (self.decode)(bytes)).flatten()?;
        Some(Kept { seq, until, value: Arc::new(value), bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) })
    }

    fn count(&self, result: Read) {
        READS.with_label_values(&[self.kind, result.as_str()]).inc();
    }
}
