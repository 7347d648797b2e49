//! Limits how much work is done at the same time and divides it among companies, so that no company waits for all work of
//! another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waybill_schema::CompanyId;

/// Number of places that a company may hold per free place.
const HELD_PER_FREE: usize = 3;

/// A fixed number of places.
pub struct Places {
    all: usize,
    held: Mutex<HashMap<CompanyId, usize>>,
}

/// A place that a company holds until the value is dropped.
pub struct Place {
    places: Arc<Places>,
    company: CompanyId,
}

impl Places {
    /// Creates a number of free places.
    pub fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<CompanyId, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the company would get a place now.
    pub fn is_free_for(&self, company: CompanyId) -> bool {
        self.has_room_for(company, &self.held())
    }

    fn has_room_for(&self, company: CompanyId, held: &HashMap<CompanyId, usize>) -> bool {
        let free = self.all.saturating_sub(held.values().sum());
        let own = held.get(&company).copied().unwrap_or(0);
        own < free * HELD_PER_FREE && (own == 0 || own + 1 < self.all)
    }

    /// Takes a place. A company that holds many places gets no more while few are free: a single company gets three
    /// quarters of them, so the next company gets some immediately.
    pub fn take(self: &Arc<Self>, company: CompanyId) -> Option<Place> {
        let mut held = self.held();
        if !self.has_room_for(company, &held) {
            return None;
        }
        *held.entry(company).or_default() += 1;
        Some(Place { places: self.clone(), company })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        if let Some(own) = held.get_mut(&self.company) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.company);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    /// Takes all places that a company gets.
    fn all(places: &Arc<Places>, company: u128) -> Vec<Place> {
        std::iter::from_fn(|| places.take(CompanyId(Uuid::from_u128(company)))).collect()
    }

    #[test]
    fn a_company_alone_has_most_places_and_the_next_ones_find_some() {
        let places = Places::new(32);
        let first = all(&places, 1);
        let second = all(&places, 2);
        let third = all(&places, 3);
        assert_eq!([first.len(), second.len(), third.len()], [24, 6, 2]);
        assert!(all(&places, 4).is_empty());
        drop(first);
        assert!(!all(&places, 4).is_empty());
        drop((second, third));
        assert_eq!(all(&places, 5).len(), 24, "all places are free again");
    }

    #[test]
    fn a_company_alone_never_has_all_places() {
        for (number, of_one) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
            let places = Places::new(number);
            let first = all(&places, 1);
            assert_eq!((number, first.len()), (number, of_one));
            assert_eq!(all(&places, 2).len(), number - of_one);
        }
    }

    #[test]
    fn a_single_place_goes_to_one_company_until_it_is_released() {
        let places = Places::new(1);
        let first = all(&places, 1);
        assert_eq!((first.len(), all(&places, 2).len()), (1, 0));
        drop(first);
        assert_eq!(all(&places, 2).len(), 1);
    }
}
