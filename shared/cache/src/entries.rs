//! The cache from the crate `moka` that all caches of this crate are based on. It is compiled once, for untyped values.

use crate::KeyBytes;
use moka::sync::Cache;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// A value and its weight.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    pub(crate) weight: u32,
}

/// The limits of a cache.
pub(crate) struct Bounds {
    pub(crate) max_capacity: u64,
    /// If `true`, `max_capacity` limits the sum of the weights; otherwise the number of entries.
    pub(crate) is_weighed: bool,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) time_to_idle: Option<Duration>,
}

/// Operations on the entries of a cache. A trait, so that code which holds a cache does not instantiate any code of
/// moka, not even its destructor.
pub(crate) trait Entries: Send + Sync {
    fn get(&self, key: &KeyBytes) -> Option<Entry>;
    fn contains(&self, key: &KeyBytes) -> bool;
    fn get_with(&self, key: KeyBytes, make: &dyn Fn() -> Entry) -> Entry;
    fn insert(&self, key: KeyBytes, entry: Entry);
    fn upsert(&self, key: KeyBytes, change: &dyn Fn(Option<Entry>) -> Entry) -> Entry;
    fn invalidate(&self, key: &KeyBytes);
    /// Removes the entries whose keys begin with `beginning`.
    fn invalidate_all_of(&self, beginning: &[u8]);
    /// Runs the pending maintenance tasks and returns the sum of all weights.
    #[cfg(test)]
    fn weighed(&self) -> u64;
}

/// Creates an empty cache.
pub(crate) fn open(bounds: &Bounds) -> Box<dyn Entries> {
    let mut builder = Cache::builder().max_capacity(bounds.max_capacity);
    if bounds.is_weighed {
        builder = builder.weigher(|_, entry: &Entry| entry.weight);
    }
    if let Some(time) = bounds.time_to_live {
        builder = builder.time_to_live(time);
    }
    if let Some(time) = bounds.time_to_idle {
        builder = builder.time_to_idle(time);
    }
    Box::new(builder.build())
}

impl Entries for Cache<KeyBytes, Entry> {
    fn get(&self, key: &KeyBytes) -> Option<Entry> {
        Cache::get(self, key)
    }

    fn contains(&self, key: &KeyBytes) -> bool {
        self.contains_key(key)
    }

    fn get_with(&self, key: KeyBytes, make: &dyn Fn() -> Entry) -> Entry {
        Cache::get_with(self, key, make)
    }

    fn insert(&self, key: KeyBytes, entry: Entry) {
        Cache::insert(self, key, entry);
    }

    fn upsert(&self, key: KeyBytes, change: &dyn Fn(Option<Entry>) -> Entry) -> Entry {
        self.entry(key).and_upsert_with(|known| change(known.map(moka::Entry::into_value))).into_value()
    }

    fn invalidate(&self, key: &KeyBytes) {
        Cache::invalidate(self, key);
    }

    fn invalidate_all_of(&self, beginning: &[u8]) {
        let theirs = self.iter().map(|(key, _)| *key).filter(|key| key.begins_with(beginning));
        theirs.for_each(|key| Cache::invalidate(self, &key));
    }

    #[cfg(test)]
    fn weighed(&self) -> u64 {
        self.run_pending_tasks();
        self.weighted_size()
    }
}
