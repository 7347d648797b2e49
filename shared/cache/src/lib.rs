//! Bounded caches with typed keys and values. Internally all caches have one type, with byte keys and untyped values,
//! so that the large generic code of the underlying cache is compiled only once.

mod entries;
mod key;

pub use key::{CacheKey, KeyBytes};

use entries::{Bounds, Entries, Entry};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use waybill_schema::CompanyId;

/// A bounded map from keys to values.
///
/// The entries have untyped values. Every value is a `V`, because only this cache can access its entries and it inserts
/// only values of type `V`.
pub struct Cache<K, V> {
    entries: Box<dyn Entries>,
    weigher: fn(&V) -> u32,
    types: PhantomData<fn(K) -> V>,
}

/// Builder of a [`Cache`].
pub struct CacheBuilder<K, V> {
    bounds: Bounds,
    weigher: fn(&V) -> u32,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> CacheBuilder<K, V> {
    /// Removes a value when `time` has passed since it was inserted.
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.bounds.time_to_live = Some(time);
        self
    }

    /// Removes a value when `time` has passed since it was last used.
    pub fn time_to_idle(mut self, time: Duration) -> Self {
        self.bounds.time_to_idle = Some(time);
        self
    }

    /// Sets the function that computes the weight of a value when it is inserted. By default, every value has the
    /// weight 1.
    pub fn weigher(mut self, weigher: fn(&V) -> u32) -> Self {
        self.bounds.is_weighed = true;
        self.weigher = weigher;
        self
    }

    /// Creates the cache.
    pub fn build(self) -> Cache<K, V> {
        Cache { entries: entries::open(&self.bounds), weigher: self.weigher, types: self.types }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Cache<K, V> {
    /// Creates a cache of at most `max_capacity` values.
    pub fn new(max_capacity: u64) -> Self {
        Self::builder(max_capacity).build()
    }

    /// Returns a builder of a cache whose values have a total weight of at most `max_capacity`.
    pub fn builder(max_capacity: u64) -> CacheBuilder<K, V> {
        let bounds = Bounds { max_capacity, is_weighed: false, time_to_live: None, time_to_idle: None };
        CacheBuilder { bounds, weigher: |_| 1, types: PhantomData }
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(&key.bytes()).map(typed)
    }

    /// Returns `true` if the key has a value. This does not count as a use of the value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains(&key.bytes())
    }

    /// Returns the value of a key, and creates it if it is missing. Concurrent calls for one key create it only once.
    pub fn get_with(&self, key: &K, make: impl Fn() -> V) -> Arc<V> {
        typed(self.entries.get_with(key.bytes(), &|| self.entry(Arc::new(make()))))
    }

    /// Inserts or replaces the value of a key. To update the weight of a value that has changed, insert the value
    /// again.
    pub fn insert(&self, key: &K, value: impl Into<Arc<V>>) {
        self.entries.insert(key.bytes(), self.entry(value.into()));
    }

    /// Replaces the value of a key by the result of `change` and returns it. `change` receives the current value, if
    /// any. Changes of one key are executed one after another.
    pub fn upsert_with(&self, key: &K, change: impl Fn(Option<Arc<V>>) -> V) -> Arc<V> {
        typed(self.entries.upsert(key.bytes(), &|known| self.entry(Arc::new(change(known.map(typed))))))
    }

    /// Removes the value of a key.
    pub fn invalidate(&self, key: &K) {
        self.entries.invalidate(&key.bytes());
    }

    fn entry(&self, value: Arc<V>) -> Entry {
        Entry { weight: (self.weigher)(&value), value }
    }
}

impl<T, V> Cache<(CompanyId, T), V>
where
    (CompanyId, T): CacheKey,
{
    /// Removes all values of a company.
    pub fn invalidate_company(&self, company: CompanyId) {
        self.entries.invalidate_all_of(company.0.as_bytes());
    }
}

/// Downcasts a value to its type.
fn typed<V: Send + Sync + 'static>(entry: Entry) -> Arc<V> {
    match entry.value.downcast() {
        Ok(value) => value,
        Err(_) => unreachable!("a cache contains values of one type only"),
    }
}

#[cfg(test)]
mod tests;
