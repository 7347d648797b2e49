//! Limits of what a user, a company, a client address or a download link may do at the same time. Rates do not limit
//! requests that last long, such as downloads.

use crate::Problem;
use prometheus::IntCounterVec;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use waybill_schema::{CompanyId, ErrorCode, TokenId, UserId};
use waybill_service_kit::metrics::counters;

/// Requests that were refused because too many of their kind were running.
static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "waybill_refused_at_once_total",
        "Requests that were refused because too many of their kind were running",
        &["kind", "holder"],
    )
});

/// Number of seconds after which a refused client may try again.
const RETRY_AFTER_S: u32 = 5;

/// A party whose share is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user of a company.
    User(CompanyId, UserId),
    /// A download link, for all who use it.
    Link(CompanyId, TokenId),
    /// The media URLs of a user, for all who use them.
    MediaUrls(CompanyId, UserId),
    /// A company.
    Company(CompanyId),
    /// A client address, or a /64 network of IPv6.
    Address(IpAddr),
}

impl Holder {
    /// Returns the kind of party, for messages and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User(..) => "user",
            Self::Link(..) => "link",
            Self::MediaUrls(..) => "media URLs",
            Self::Company(_) => "company",
            Self::Address(_) => "address",
        }
    }
}

/// Maximum number that each party may have at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Maximum of a user, and of a link.
    pub person: u32,
    /// Maximum of a company.
    pub company: u32,
    /// Maximum of a client address.
    pub address: u32,
}

impl Most {
    /// No limits, for tests.
    pub const UNLIMITED: Self = Self { person: u32::MAX, company: u32::MAX, address: u32::MAX };

    fn of(self, holder: Holder) -> u32 {
        match holder {
            Holder::User(..) | Holder::Link(..) | Holder::MediaUrls(..) => self.person,
            Holder::Company(_) => self.company,
            Holder::Address(_) => self.address,
        }
    }
}

/// Counts what runs at the same time. All clones share the counts.
#[derive(Clone, Debug)]
pub struct Slots {
    kind: &'static str,
    most: Most,
    held: Arc<Mutex<HashMap<Holder, u32>>>,
}

/// The right to run one request, until the value is dropped.
#[derive(Debug)]
pub struct Slot {
    held: Arc<Mutex<HashMap<Holder, u32>>>,
    holders: Box<[Holder]>,
}

impl Slots {
    /// Limits requests of this kind. Messages and metrics use the name, in the plural.
    pub fn new(kind: &'static str, most: Most) -> Self {
        Self { kind, most, held: Arc::default() }
    }

    /// Takes a slot of all `holders`, or of none of them.
    ///
    /// # Errors
    /// 429 `too_many_at_once`.
    pub fn take(&self, holders: &[Holder]) -> Result<Slot, Problem> {
        let holders: Box<[Holder]> = holders.iter().map(|holder| counted(*holder)).collect();
        let mut held = locked(&self.held);
        let is_full = |holder: &&Holder| held.get(holder).is_some_and(|count| *count >= self.most.of(**holder));
        if let Some(full) = holders.iter().find(is_full) {
            REFUSED.with_label_values(&[self.kind, full.name()]).inc();
            return Err(self.refusal(*full));
        }
        for holder in &holders {
            *held.entry(*holder).or_default() += 1;
        }
        Ok(Slot { held: self.held.clone(), holders })
    }

    fn refusal(&self, full: Holder) -> Problem {
        let (name, most, kind) = (full.name(), self.most.of(full), self.kind);
        let detail = format!("this {name} already has {most} {kind} at the same time; try again after one has ended");
        Problem { retry_after_s: Some(RETRY_AFTER_S), ..Problem::new(429, ErrorCode::TooManyAtOnce, detail) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = locked(&self.held);
        for holder in &self.holders {
            let is_last = held.get_mut(holder).is_none_or(|count| {
                *count = count.saturating_sub(1);
                *count == 0
            });
            if is_last {
                held.remove(holder);
            }
        }
    }
}

/// Returns the party under which a holder is counted.
fn counted(holder: Holder) -> Holder {
    match holder {
        Holder::Address(address) => Holder::Address(crate::rate_limit::client(address)),
        Holder::User(..) | Holder::Link(..) | Holder::MediaUrls(..) | Holder::Company(_) => holder,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn m11_a_full_party_waits_and_the_others_do_not() {
        let slots = Slots::new("downloads", Most { person: 2, company: 3, address: 9 });
        let company = CompanyId(Uuid::from_u128(1));
        let user = |number| [Holder::User(company, UserId(Uuid::from_u128(number))), Holder::Company(company)];
        let (first, second) = (slots.take(&user(1)).unwrap(), slots.take(&user(1)).unwrap());
        let refused = slots.take(&user(1)).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_s), (429, Some(5)));
        assert!(refused.detail.starts_with("this user already has 2 downloads"), "{}", refused.detail);
        let _third = slots.take(&user(2)).unwrap();
        let refused = slots.take(&user(3)).unwrap_err();
        assert!(refused.detail.starts_with("this company already has 3"), "{}", refused.detail);
        // A refusal takes nothing, and a dropped slot is free.
        drop(first);
        let again = slots.take(&user(3)).unwrap();
        drop((second, again));
        assert_eq!(locked(&slots.held).len(), 2);
    }
}
