//! Property tests of the quota. For every order, concurrency and repetition of actions: no accepted start exceeds the
//! limit of a company, each reservation ends once, and the bytes of each purged file are released once.

use crate::given::NOW;
use proptest::prelude::*;
use std::collections::BTreeMap;
use uuid::Uuid;
use waybill_domain::file;
use waybill_domain::limits::{Limits, OpenLimits};
use waybill_domain::quota::*;
use waybill_schema::events::QuotaEvent;
use waybill_schema::events::{FileDeleted, FilePurged, ReleasedItem, ReservedItem, ReservedLink, SettledItem};
use waybill_schema::{LinkId, UploadId, UserId};

#[derive(Clone, Debug)]
enum Action {
    Reserve(Vec<(u8, u64)>),
    Settle(Vec<(u8, bool)>),
    Purge(Vec<u8>),
    Raise(u8, u64),
    Transfer(u8, Vec<u8>),
}

/// Generates an action, the age in events of the state on which it is decided first, and `true` if its acknowledgement
/// is lost so that the action is repeated.
fn step() -> impl Strategy<Value = (Action, usize, bool)> {
    let few = |ids| proptest::collection::vec(ids, 1..6);
    let id = || 0_u8..12;
    let action = prop_oneof![
        proptest::collection::vec((id(), 0_u64..400), 1..8).prop_map(Action::Reserve),
        proptest::collection::vec((id(), any::<bool>()), 1..6).prop_map(Action::Settle),
        few(id()).prop_map(Action::Purge),
        (id(), 0_u64..400).prop_map(|(n, bytes)| Action::Raise(n, bytes)),
        (id(), few(id())).prop_map(|(n, from)| Action::Transfer(n, from)),
    ];
    (action, 0_usize..4, any::<bool>())
}

const LIMIT: u64 = 1_000;

/// Limits of the upload link with which uploads with an even number are sent.
const OF_LINK: LinkLimits = LinkLimits { max_files: 4, max_bytes: 500 };

/// Limit of each of two users.
const OF_USER: u64 = 600;

fn user(n: u8) -> UserId {
    UserId(Uuid::from_u128(u128::from(n / 6)))
}

fn link() -> ReservedLink {
    ReservedLink { link_id: LinkId(Uuid::nil()), expires_at: NOW.plus_ms(1) }
}

fn terms() -> Terms {
    Terms {
        default_limit_bytes: LIMIT,
        limits: Limits::default(),
        open: OpenLimits::default(),
        links: [(link().link_id, OF_LINK)].into(),
    }
}

fn item(n: u8, bytes_total: u64) -> ReservedItem {
    let link = n.is_multiple_of(2).then(link);
    ReservedItem { upload_id: id(n), session_id: None, bytes_total, user_id: Some(user(n)), link }
}

/// Returns the number and the bytes of the files and open uploads of the link.
fn sent(state: &State) -> (u32, u64) {
    let open = state.reserved.values().filter(|reserved| reserved.link.is_some()).map(|reserved| reserved.bytes);
    let settled = state.links.values().map(|sent| (sent.files, sent.bytes));
    let all = open.map(|bytes| (1, bytes)).chain(settled);
    all.fold((0, 0), |(files, total), (more, bytes)| (files + more, total + bytes))
}

fn id(n: u8) -> UploadId {
    UploadId(Uuid::from_u128(u128::from(n)))
}

/// Log of one company. A decision is appended only if there are no newer events than those it was decided on.
#[derive(Default)]
struct World {
    events: Vec<QuotaEvent>,
    /// Ended uploads with their reserved bytes, as their own events record them. An ended upload never reserves bytes
    /// again.
    ended: BTreeMap<u8, u64>,
    files: BTreeMap<u8, file::State>,
    partial: Vec<u8>,
}

impl World {
    fn state(&self, events: usize) -> State {
        let mut state = State { user_limit_bytes: Some(OF_USER), ..State::default() };
        self.events[..events].iter().for_each(|event| evolve(&mut state, event, NOW));
        state
    }

    fn held(&self) -> State {
        self.state(self.events.len())
    }

    /// Decides on a state that is `lag` events old. Decides again on the newest state if there are newer events or if
    /// the first decision has no event.
    fn append(&mut self, lag: usize, command: impl Fn(&State) -> Command) {
        let decide = |state: &State| decide(state, command(state)).ok().flatten();
        let known = self.events.len().saturating_sub(lag);
        let decided = decide(&self.state(known)).filter(|_| known == self.events.len());
        let event = decided.or_else(|| decide(&self.held()));
        self.events.extend(event);
    }

    fn act(&mut self, action: &Action, lag: usize) {
        match action {
            Action::Reserve(wanted) => {
                let wanted = wanted.iter().filter(|(n, _)| !self.ended.contains_key(n) && !self.partial.contains(n));
                let items: Vec<ReservedItem> = wanted.map(|(n, bytes)| item(*n, *bytes)).collect();
                self.append(lag, |state| {
                    let items = check_each(state, &items, &terms()).items;
                    Command::Reserve { items, until: NOW, terms: terms() }
                });
            }
            Action::Settle(ends) => {
                // An upload ends once: its first end counts.
                let held = self.held();
                let mut items = Vec::new();
                for (n, is_file) in ends {
                    let Some(reserved) = held.reserved.get(&id(*n)) else { continue };
                    let is_first = self.ended.insert(*n, reserved.bytes).is_none();
                    let deleted = || {
                        let mut state = file::State::default();
                        file::evolve(&mut state, &FileDeleted {}.into(), NOW);
                        state
                    };
                    if is_first && *is_file && !self.partial.contains(n) {
                        self.files.insert(*n, deleted());
                    }
                    let bytes_used = self.files.contains_key(n).then_some(reserved.bytes);
                    items.push(SettledItem { upload_id: id(*n), bytes_used });
                }
                self.append(lag, |_| Command::Settle(items.clone()));
            }
            Action::Purge(files) => self.purge(files, lag),
            Action::Raise(n, bytes) => {
                if !self.ended.contains_key(n) {
                    let (upload_id, needed_bytes, max_bytes) = (id(*n), *bytes, *bytes);
                    self.append(lag, |_| Command::Raise { upload_id, needed_bytes, max_bytes, terms: terms() });
                }
            }
            Action::Transfer(n, from) => {
                let held = self.held();
                let is_open = |n: &u8| held.reserved.contains_key(&id(*n)) && !self.ended.contains_key(n);
                if from.contains(n) || self.ended.contains_key(n) || !from.iter().all(is_open) || is_open(n) {
                    return;
                }
                let ids: Vec<UploadId> = from.iter().map(|n| id(*n)).collect();
                let bytes_total = ids.iter().filter_map(|id| held.reserved.get(id)).map(|it| it.bytes).sum();
                let item = item(*n, bytes_total);
                self.append(lag, |_| Command::Transfer {
                    item: item.clone(),
                    from: ids.clone(),
                    until: NOW,
                    terms: terms(),
                });
                self.partial.extend(from);
            }
        }
    }

    /// Purges files as workers do: reads the events of the files, and then appends the event of the quota.
    fn purge(&mut self, files: &[u8], lag: usize) {
        let mut items = Vec::new();
        for n in files {
            let Some(file) = self.files.get_mut(n) else { continue };
            file::evolve(file, &FilePurged {}.into(), NOW);
            if !file.is_space_released {
                items.push(ReleasedItem {
                    file_id: id(*n),
                    bytes: self.ended.get(n).copied().unwrap_or(0),
                    user_id: Some(user(*n)),
                });
            }
        }
        let recorded: Vec<UploadId> =
            self.files.iter().filter(|(_, file)| file.is_space_released).map(|(n, _)| id(*n)).collect();
        self.append(lag, |_| Command::Release { purged: items.clone(), recorded: recorded.clone() });
    }

    /// Continues the work of stopped workers: records the releases of the quota in the events of the files.
    fn record(&mut self) {
        let held = self.held();
        for (n, file) in &mut self.files {
            if held.released.contains(&id(*n)) {
                let event = file::decide(file, file::Command::RecordRelease).unwrap();
                event.iter().for_each(|event| file::evolve(file, event, NOW));
            }
        }
    }
}

proptest! {
    #[test]
    fn space_is_never_oversold_and_is_given_back_once(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::default();
        for (action, lag, is_lost) in &steps {
            world.act(action, *lag);
            if *is_lost {
                world.act(action, 0);
            } else {
                world.record();
            }
            let state = world.held();
            prop_assert!(state.used_bytes + state.reserved_bytes() <= LIMIT, "the limit is exceeded: {state:?}");
            for user in [user(0), user(6)] {
                let total = state.used_by(user) + state.reserved_by(user);
                prop_assert!(total <= OF_USER, "the limit of a user is exceeded: {state:?}");
            }
            let (files, bytes) = sent(&state);
            prop_assert!(files <= OF_LINK.max_files && bytes <= OF_LINK.max_bytes, "the link is exceeded: {state:?}");
        }
        // Finish all interrupted work.
        let open: Vec<(u8, bool)> = (0..12).map(|n| (n, false)).collect();
        world.act(&Action::Settle(open), 0);
        world.record();
        let purged: Vec<u8> = world.files.iter().filter(|(_, file)| file.purged).map(|(n, _)| *n).collect();
        world.act(&Action::Purge(purged.clone()), 0);
        world.record();
        world.act(&Action::Purge(purged), 0);
        let state = world.held();
        prop_assert_eq!((state.reserved.len(), state.released.len()), (0, 0));
        let there = world.files.iter().filter(|(_, file)| !file.purged);
        let bytes: u64 = there.clone().map(|(n, _)| world.ended[n]).sum();
        prop_assert_eq!((state.used_bytes, state.file_count), (bytes, there.count() as u64));
        prop_assert_eq!(state.users.values().sum::<u64>(), bytes);
    }

    /// Applying the same event again does not change the state.
    #[test]
    fn an_event_that_comes_twice_changes_nothing(steps in proptest::collection::vec(step(), 0..40)) {
        let mut world = World::default();
        for (action, lag, _) in &steps {
            world.act(action, *lag);
            world.record();
        }
        let mut state = State::default();
        for event in &world.events {
            evolve(&mut state, event, NOW);
            if matches!(event, QuotaEvent::QuotaSettled(_) | QuotaEvent::QuotaReleased(_)) {
                let once = state.clone();
                evolve(&mut state, event, NOW);
                prop_assert_eq!(&state, &once);
            }
        }
    }
}
