//! Bounded caches. Inside, all of them are of one type: their keys become bytes, and their values lose their types. So the
//! code behind them, which is long, is compiled once, and not again for each pair of a key and a value.

mod entries;
mod key;

pub use key::{CacheKey, KeyBytes};

use entries::{Bounds, Entries, Entry};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use waybill_schema::CompanyId;

/// Keeps values by keys, within bounds.
///
/// The entries do not know the type of their values. That they are of type `V` is certain: nobody else has these entries,
/// and whatever is put there is a `V`.
pub struct Cache<K, V> {
    entries: Box<dyn Entries>,
    weigher: fn(&V) -> u32,
    types: PhantomData<fn(K) -> V>,
}

/// A cache that is about to be made.
pub struct CacheBuilder<K, V> {
    bounds: Bounds,
    weigher: fn(&V) -> u32,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> CacheBuilder<K, V> {
    /// Lets a value go when so much time has passed since it was put there.
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.bounds.time_to_live = Some(time);
        self
    }

    /// Lets a value go when so much time has passed since it was used last.
    pub fn time_to_idle(mut self, time: Duration) -> Self {
        self.bounds.time_to_idle = Some(time);
        self
    }

    /// Weighs each value when it is put there. Without this each weighs 1.
    pub fn weigher(mut self, weigher: fn(&V) -> u32) -> Self {
        self.bounds.is_weighed = true;
        self.weigher = weigher;
        self
    }

    /// Makes the cache.
    pub fn build(self) -> Cache<K, V> {
        Cache { entries: entries::open(&self.bounds), weigher: self.weigher, types: self.types }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Cache<K, V> {
    /// Makes a cache of so many values at most.
    pub fn new(max_capacity: u64) -> Self {
        Self::builder(max_capacity).build()
    }

    /// Begins a cache of values that weigh so much at most, all together.
    pub fn builder(max_capacity: u64) -> CacheBuilder<K, V> {
        let bounds = Bounds { max_capacity, is_weighed: false, time_to_live: None, time_to_idle: None };
        CacheBuilder { bounds, weigher: |_| 1, types: PhantomData }
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(&key.bytes()).map(typed)
    }

    /// Tells whether a key has a value. This does not count as a use of it.
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains(&key.bytes())
    }

    /// Returns the value of a key; makes it if there is none. Of those who come at once, one makes it for all.
    pub fn get_with(&self, key: &K, make: impl Fn() -> V) -> Arc<V> {
        typed(self.entries.get_with(key.bytes(), &|| self.entry(Arc::new(make()))))
    }

    /// Puts a value there, in place of the one that may be there. A value whose weight has changed is put there again.
    pub fn insert(&self, key: &K, value: impl Into<Arc<V>>) {
        self.entries.insert(key.bytes(), self.entry(value.into()));
    }

    /// Puts there what `change` makes of the value that is there, and returns it. Changes of one key wait for each other.
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

/// Gives a value its type back.
fn typed<V: Send + Sync + 'static>(entry: Entry) -> Arc<V> {
    match entry.value.downcast() {
        Ok(value) => value,
        Err(_) => unreachable!("a cache has values of one type"),
    }
}

#[cfg(test)]
mod tests;
