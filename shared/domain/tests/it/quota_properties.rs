//! No start is accepted that takes a company past its limit, whatever happens in between.

use crate::given::NOW;
use proptest::prelude::*;
use std::collections::BTreeMap;
use uuid::Uuid;
use waybill_domain::limits::Limits;
use waybill_domain::quota::*;
use waybill_schema::events::ReservedItem;
use waybill_schema::{Event, UploadId};

#[derive(Clone, Debug)]
enum Action {
    Reserve(Vec<(u8, u64)>),
    Commit(u8),
    Release(u8),
    Purge(u8),
    Raise(u8, u64),
    Transfer(u8, Vec<u8>),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        proptest::collection::vec((any::<u8>(), 0_u64..400), 1..8).prop_map(Action::Reserve),
        any::<u8>().prop_map(Action::Commit),
        any::<u8>().prop_map(Action::Release),
        any::<u8>().prop_map(Action::Purge),
        (any::<u8>(), 0_u64..400).prop_map(|(n, bytes)| Action::Raise(n, bytes)),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 1..4)).prop_map(|(n, from)| Action::Transfer(n, from)),
    ]
}

const LIMIT: u64 = 1_000;

fn id(n: u8) -> UploadId {
    UploadId(Uuid::from_u128(u128::from(n)))
}

/// The events that the actions lead to, decided on a fold that sees settlements only after `lag` more actions.
fn run(actions: &[Action], lag: usize) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut seen = State::default();
    let mut unseen: Vec<(usize, Event)> = Vec::new();
    let mut settled: BTreeMap<u8, (Settlement, u64)> = BTreeMap::new();
    for (n, action) in actions.iter().enumerate() {
        let (due, later): (Vec<_>, Vec<_>) = unseen.into_iter().partition(|(at, _)| *at <= n);
        due.iter().for_each(|(_, event)| evolve(&mut seen, event, NOW));
        unseen = later;
        let (which, settling) = match action {
            Action::Reserve(wanted) => {
                let items: Vec<ReservedItem> = wanted
                    .iter()
                    .filter(|(n, _)| !settled.contains_key(n))
                    .map(|(n, bytes)| ReservedItem { upload_id: id(*n), session_id: None, bytes_total: *bytes })
                    .collect();
                if let Some(event) = reserve(&seen, &items, LIMIT, &Limits::default(), NOW).event {
                    for item in &event.items {
                        let n = u8::try_from(item.upload_id.0.as_u128()).unwrap();
                        settled.insert(n, (Settlement::Open, item.bytes_total));
                    }
                    evolve(&mut seen, &event.clone().into(), NOW);
                    events.push(event.into());
                }
                continue;
            }
            Action::Raise(n, bytes) => {
                if let Ok(Some(event)) = raise(&seen, id(*n), *bytes, *bytes, LIMIT, &Limits::default()) {
                    evolve(&mut seen, &event, NOW);
                    events.push(event);
                    settled.entry(*n).and_modify(|(_, held)| *held = *bytes);
                }
                continue;
            }
            Action::Transfer(n, from) => {
                let held = |n: &u8| settled.get(n).map_or(0, |(_, bytes)| *bytes);
                let bytes_total = from.iter().map(held).sum();
                let item = ReservedItem { upload_id: id(*n), session_id: None, bytes_total };
                let ids: Vec<UploadId> = from.iter().map(|n| id(*n)).collect();
                // A partial upload becomes no file, so that its space is never committed.
                let is_partial = |n: &u8| settled.get(n).is_none_or(|(end, _)| *end != Settlement::Committed);
                if settled.contains_key(n) || !from.iter().all(is_partial) {
                    continue;
                }
                if let Ok(Some(event)) = transfer(&seen, &item, &ids, LIMIT, &Limits::default(), NOW) {
                    evolve(&mut seen, &event, NOW);
                    events.push(event);
                    // What was transferred holds nothing of its own any more, and ends with the final upload.
                    settled.extend(from.iter().map(|n| (*n, (Settlement::Released, 0))));
                    settled.insert(*n, (Settlement::Open, bytes_total));
                }
                continue;
            }
            Action::Commit(n) => (n, Settling::Commit),
            Action::Release(n) => (n, Settling::Release),
            Action::Purge(n) => (n, Settling::Purge),
        };
        let Some((settlement, bytes)) = settled.get_mut(which) else { continue };
        if let Some(event) = settle(*settlement, settling, id(*which), None, Space::exactly(*bytes)) {
            settlement.evolve(&event);
            events.push(event.clone());
            unseen.push((n + lag, event));
        }
    }
    events
}

proptest! {
    #[test]
    fn the_quota_is_never_oversold(actions in proptest::collection::vec(action(), 0..60), lag in 0_usize..10) {
        let mut state = State::default();
        for event in run(&actions, lag) {
            evolve(&mut state, &event, NOW);
            prop_assert!(state.used_bytes + state.reserved_bytes() <= LIMIT);
        }
    }

    /// Reading settlements apart from reservations, in whichever order they are folded, ends in the same sums.
    #[test]
    fn each_reservation_ends_exactly_once(actions in proptest::collection::vec(action(), 0..60)) {
        let events = run(&actions, 0);
        let mut live = State::default();
        events.iter().for_each(|event| evolve(&mut live, event, NOW));
        let (reservations, settlements): (Vec<&Event>, Vec<&Event>) =
            events.iter().partition(|event| !matches!(event, Event::QuotaCommitted(_) | Event::QuotaReleased(_)));
        let mut apart = State::default();
        reservations.iter().chain(&settlements).for_each(|event| evolve(&mut apart, event, NOW));
        prop_assert_eq!(live, apart);
    }
}
