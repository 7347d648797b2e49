//! Tests of the quota: reservation, settling and release of bytes.

use crate::given::{Given, NOW};
use std::collections::BTreeMap;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::limits::{Limits, OpenLimits};
use waybill_domain::quota::*;
use waybill_schema::events::*;
use waybill_schema::*;

fn given(events: impl IntoIterator<Item = QuotaEvent>) -> Given<QuotaAggregate> {
    Given::new(events)
}

/// Returns the terms of a company without a limit of its own.
fn terms(default_limit_bytes: u64) -> Terms {
    Terms { default_limit_bytes, limits: Limits::default(), open: OpenLimits::default(), links: BTreeMap::new() }
}

/// Returns the command to reserve space for one upload.
fn reserve(item: ReservedItem, limit_bytes: u64) -> Command {
    Command::Reserve { items: vec![item], until: NOW, terms: terms(limit_bytes) }
}

fn item(n: u128, bytes_total: u64) -> ReservedItem {
    ReservedItem { upload_id: UploadId(Uuid::from_u128(n)), session_id: None, bytes_total, user_id: None, link: None }
}

fn reserved(items: impl IntoIterator<Item = ReservedItem>) -> QuotaEvent {
    QuotaReserved { items: items.into_iter().collect(), until: NOW }.into()
}

fn ended(n: u128, bytes_used: Option<u64>) -> SettledItem {
    SettledItem { upload_id: item(n, 0).upload_id, bytes_used }
}

fn used(n: u128, bytes: u64) -> QuotaEvent {
    QuotaSettled { items: vec![ended(n, Some(bytes))] }.into()
}

fn came_to_nothing(n: u128) -> QuotaEvent {
    QuotaSettled { items: vec![ended(n, None)] }.into()
}

fn exceeds_the_quota(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::QuotaExceeded { .. })
}

/// Returns the bytes of all sessions.
fn sessions(quota: &Given<QuotaAggregate>) -> Vec<u64> {
    quota.state().sessions.values().copied().collect()
}

#[test]
fn the_limit_is_inclusive() {
    let ask = |bytes| given([]).when(reserve(item(1, bytes), 100));
    ask(100).then(reserved([item(1, 100)]));
    ask(101).then_refused(Refusal::QuotaExceeded {
        requested_bytes: 101,
        used_bytes: 0,
        reserved_bytes: 0,
        limit_bytes: 100,
    });
}

#[test]
fn each_start_is_decided_alone() {
    let items = [item(1, 60), item(2, 60), item(3, 40)];
    let reservation = check_each(given([]).state(), &items, &terms(100));
    let fits: Vec<bool> = reservation.answers.iter().map(Result::is_ok).collect();
    assert_eq!(fits, [true, false, true]);
    assert_eq!(reservation.items, [item(1, 60), item(3, 40)]);
}

#[test]
fn reserving_twice_is_one_event() {
    let ask = reserve(item(1, 60), 100);
    given([]).when(ask).then_once(reserved([item(1, 60)]));
}

#[test]
fn uploads_that_are_reserved_by_one_command_fit_together_or_not_at_all() {
    let ask = |limit_bytes| {
        let items = vec![item(1, 60), item(2, 40)];
        given([]).when(Command::Reserve { items, until: NOW, terms: terms(limit_bytes) })
    };
    ask(100).then_once(reserved([item(1, 60), item(2, 40)]));
    ask(99).then_refused_as(exceeds_the_quota);
}

#[test]
fn the_first_limit_is_set_once() {
    let set = |storage_limit_bytes| Command::SetFirstLimit { storage_limit_bytes };
    let quota = given([]).when(set(5)).then_once(QuotaLimitSet { storage_limit_bytes: 5, is_of_host: true });
    quota.when(set(6)).then_nothing();
    quota
        .when(Command::SetLimit { storage_limit_bytes: 6 })
        .then(QuotaLimitSet { storage_limit_bytes: 6, is_of_host: true });
}

#[test]
fn an_administrator_lowers_the_limit_of_the_host_product_and_raises_it_up_to_there() {
    let lower = |storage_limit_bytes| Command::LowerLimit { storage_limit_bytes, default_limit_bytes: 10 };
    let own = |storage_limit_bytes| QuotaLimitSet { storage_limit_bytes, is_of_host: false };
    let is_above = |limit| move |refusal: &Refusal| *refusal == Refusal::LimitAboveHosts { limit_bytes: limit };
    // Without a limit of the host product, the default of the installation is the limit.
    given([]).when(lower(11)).then_refused_as(is_above(10));
    let quota = given([]).when(Command::SetLimit { storage_limit_bytes: 20 }).then_an_event();
    quota.when(lower(21)).then_refused_as(is_above(20));
    let quota = quota.when(lower(5)).then(own(5));
    quota.when(lower(21)).then_refused_as(is_above(20));
    let quota = quota.when(lower(20)).then(own(20));
    // A lower limit of the host product applies immediately.
    let quota = quota.when(Command::SetLimit { storage_limit_bytes: 7 }).then_an_event();
    assert_eq!(quota.state().limit_bytes, Some(7));
    quota.when(lower(8)).then_refused_as(is_above(7));
}

#[test]
fn a_limit_below_what_is_used_lets_nothing_start() {
    let limit = QuotaLimitSet { storage_limit_bytes: 50, is_of_host: true };
    let quota = given([reserved([item(1, 60)]), used(1, 60), limit.into()]);
    let state = quota.state();
    assert_eq!((state.used_bytes, state.reserved_bytes(), state.file_count), (60, 0, 1));
    quota.when(reserve(item(2, 0), 50)).then_refused_as(exceeds_the_quota);
}

#[test]
fn a_session_has_a_limit_of_its_own() {
    let session = Some(SessionId(Uuid::now_v7()));
    let of = |n, bytes_total| ReservedItem { session_id: session, ..item(n, bytes_total) };
    let max = Limits::default().max_session_bytes;
    let now = Timestamp(i64::try_from(Uuid::now_v7().as_u128() >> 80).unwrap());
    let quota = given([]).at(now);
    let items = [of(1, max - 1), of(2, 1), of(3, 1)];
    let reservation = check_each(quota.state(), &items, &terms(u64::MAX));
    assert!(matches!(reservation.answers.as_slice(), [Ok(()), Ok(()), Err(Refusal::SessionTooLarge { .. })]));
    let quota = quota.and(reserved(reservation.items));
    assert_eq!(sessions(&quota), [max]);
    let ask = reserve(of(3, 1), u64::MAX);
    quota.and(came_to_nothing(2)).when(ask).then_an_event();
}

#[test]
fn a_reservation_ends_once() {
    let all = [ended(1, Some(50)), ended(2, None), ended(3, Some(1)), ended(1, None)];
    // Every open reservation is settled once, and others are ignored.
    let settled = QuotaSettled { items: all[..2].to_vec() };
    let quota = given([reserved([item(1, 60), item(2, 40)])]);
    let quota = quota.when(Command::Settle(all.to_vec())).then_once(settled.clone());
    let state = quota.state();
    assert_eq!((state.used_bytes, state.file_count, state.reserved_bytes()), (50, 1, 0));
    assert_eq!(quota.and(settled).state(), state, "applying the event again changes nothing");
}

#[test]
fn the_space_of_a_purged_file_is_given_back_once() {
    let purged = [1, 2].map(|n| ReleasedItem { file_id: item(n, 0).upload_id, bytes: 60, user_id: None });
    let release = Command::Release { purged: purged.to_vec(), recorded: vec![] };
    let quota = given([reserved([item(1, 60), item(2, 40)]), used(1, 60)]);
    let released = QuotaReleased { items: purged.to_vec(), recorded: vec![] };
    let quota = quota.when(release).then_once(released.clone());
    let state = quota.state();
    assert_eq!(
        (state.used_bytes, state.file_count, state.reserved_bytes()),
        (0, 0, 0),
        "the release also ends the reservation of the second file"
    );
    assert_eq!(quota.and(released).state(), state);
    quota.when(Command::Settle(vec![ended(2, Some(40))])).then_nothing();
    // The events of the files now contain `FileSpaceReleased`, so that the quota forgets the files.
    let recorded = purged.map(|file| file.file_id).to_vec();
    let quota = quota.when(Command::Release { purged: vec![], recorded }).then_an_event();
    assert!(quota.state().released.is_empty());
}

const STEP: u64 = 64 * 1_024 * 1_024;

#[test]
fn a_reservation_is_raised_in_steps_and_not_past_what_is_free() {
    let upload_id = item(1, 0).upload_id;
    let quota = given([reserved([item(1, STEP)])]);
    let raise = |needed_bytes, max_bytes, limit_bytes| {
        quota.when(Command::Raise { upload_id, needed_bytes, max_bytes, terms: terms(limit_bytes) })
    };
    let raised = |bytes_total| QuotaRaised { upload_id, bytes_total };
    // The reservation is already large enough.
    raise(STEP, 10 * STEP, 2 * STEP).then_nothing();
    let larger = raise(STEP + 1, 10 * STEP, 2 * STEP).then(raised(2 * STEP));
    // At most the maximum size of the upload.
    raise(STEP + 1, STEP + 5, 2 * STEP).then(raised(STEP + 5));
    // The last free bytes can be reserved.
    raise(STEP + 1, 10 * STEP, 2 * STEP - 1).then(raised(STEP + 1));
    raise(STEP + 1, 10 * STEP, STEP).then_refused_as(exceeds_the_quota);
    assert_eq!(larger.state().reserved_bytes(), 2 * STEP);
    // The unused bytes of the reservation are free afterwards.
    let ended = larger.and(used(1, 7));
    assert_eq!((ended.state().reserved_bytes(), ended.state().used_bytes), (0, 7));
}

#[test]
fn a_raise_that_comes_too_late_reserves_nothing() {
    let upload_id = item(1, 0).upload_id;
    let raised = QuotaRaised { upload_id, bytes_total: STEP };
    let quota = given([reserved([item(1, 60)]), came_to_nothing(1), raised.into()]);
    assert_eq!(quota.state().reserved_bytes(), 0);
    quota
        .when(Command::Raise { upload_id, needed_bytes: 1, max_bytes: STEP, terms: terms(STEP) })
        .then_refused(Refusal::NotFound { what: "upload" });
}

#[test]
fn a_final_upload_takes_over_what_its_partial_ones_hold() {
    let from = [item(1, 0).upload_id, item(2, 0).upload_id];
    let transfer = |bytes, limit_bytes| Command::Transfer {
        item: item(3, bytes),
        from: from.to_vec(),
        until: NOW,
        terms: terms(limit_bytes),
    };
    let quota = given([reserved([item(1, 40), item(2, 60)])]);
    let after = quota.when(transfer(100, 100)).then_an_event();
    assert_eq!((after.state().reserved_bytes(), after.state().reserved.len()), (100, 1));
    // The transfer happens once.
    after.when(transfer(100, 100)).then_nothing();
    // If a partial upload is used twice, the final upload is larger than the reservations.
    quota.when(transfer(140, 100)).then_refused_as(exceeds_the_quota);
    // If a partial upload has no reservation any more, its bytes must be free.
    let less = quota.and(came_to_nothing(1));
    less.when(transfer(100, 100)).then_an_event();
    less.when(transfer(100, 99)).then_refused_as(exceeds_the_quota);
}

#[test]
fn a_session_counts_what_its_uploads_hold_now() {
    let item = ReservedItem { session_id: Some(SessionId(Uuid::now_v7())), ..item(1, STEP) };
    let limits = Limits { max_session_bytes: 2 * STEP, ..Limits::default() };
    let raise = |needed_bytes| Command::Raise {
        upload_id: item.upload_id,
        needed_bytes,
        max_bytes: 9 * STEP,
        terms: Terms { default_limit_bytes: 9 * STEP, limits, open: OpenLimits::default(), links: BTreeMap::new() },
    };
    let quota = given([reserved([item.clone()])]).when(raise(2 * STEP)).then_an_event();
    assert_eq!(sessions(&quota), [2 * STEP]);
    let more = quota.when(raise(2 * STEP + 1));
    more.then_refused_as(|refusal| matches!(refusal, Refusal::SessionTooLarge { .. }));
    assert_eq!(sessions(&quota.and(used(1, 5))), [5]);
}

#[test]
fn partial_uploads_count_once_towards_their_session() {
    let session = Some(SessionId(Uuid::now_v7()));
    let of = |n, bytes_total| ReservedItem { session_id: session, ..item(n, bytes_total) };
    let time = Timestamp(i64::try_from(Uuid::now_v7().as_u128() >> 80).unwrap());
    let max = Limits::default().max_session_bytes;
    let items = vec![of(1, max / 2), of(2, max / 2)];
    let quota = given([]).at(time).and(QuotaReserved { items, until: time });
    let from = [1, 2].map(|n| item(n, 0).upload_id).to_vec();
    let transfer = Command::Transfer { item: of(3, max), from, until: time, terms: terms(u64::MAX) };
    let quota = quota.when(transfer).then_an_event();
    assert_eq!(sessions(&quota), [max]);
    // A raise between the decision and the event ends with the reservation.
    let raised = QuotaRaised { upload_id: item(3, 0).upload_id, bytes_total: max + 5 };
    let quota = quota.and(raised).and(came_to_nothing(3));
    assert_eq!((quota.state().reserved_bytes(), sessions(&quota).iter().sum::<u64>()), (0, 0));
}

fn of_user(user: u128, n: u128, bytes_total: u64) -> ReservedItem {
    ReservedItem { user_id: Some(UserId(Uuid::from_u128(user))), ..item(n, bytes_total) }
}

/// Returns the command to reserve space with a limit of 1,000 bytes, of which a user can reserve half, and files of at
/// most 100 bytes.
fn within(items: Vec<ReservedItem>, per_user: u32, per_company: u32) -> Command {
    let limits = Limits { max_file_bytes: 100, ..Limits::default() };
    let open = OpenLimits { per_user, per_company, user_percent: 50 };
    Command::Reserve {
        items,
        until: NOW,
        terms: Terms { default_limit_bytes: 1_000, limits, open, links: BTreeMap::new() },
    }
}

#[test]
fn a_user_can_reserve_only_a_share_of_the_quota() {
    let quota = given([reserved([of_user(1, 1, 450)])]);
    quota.when(within(vec![of_user(1, 2, 50)], 9, 9)).then_an_event();
    let limit_bytes = 500;
    quota.when(within(vec![of_user(1, 2, 51)], 9, 9)).then_refused(Refusal::UserSpaceExceeded {
        requested_bytes: 51,
        reserved_bytes: 450,
        limit_bytes,
    });
    // Another user, and a reservation of an earlier version.
    quota.when(within(vec![of_user(2, 2, 500)], 9, 9)).then_an_event();
    quota.when(within(vec![item(2, 550)], 9, 9)).then_an_event();
    // The items of one event count together.
    let both = vec![of_user(2, 2, 300), of_user(2, 3, 201)];
    quota.when(within(both, 9, 9)).then_refused_as(|refusal| matches!(refusal, Refusal::UserSpaceExceeded { .. }));
    // A user can always reserve one file of the maximum size.
    let limits = Limits { max_file_bytes: 900, ..Limits::default() };
    let terms = Terms { default_limit_bytes: 1_000, limits, open: OpenLimits::default(), links: BTreeMap::new() };
    let items = vec![of_user(1, 1, 900)];
    given([]).when(Command::Reserve { items, until: NOW, terms }).then_an_event();
}

#[test]
fn a_user_and_a_company_can_have_so_many_open_uploads() {
    let quota = given([reserved([of_user(1, 1, 0), of_user(1, 2, 0)])]);
    let too_many = |refusal: &Refusal| matches!(refusal, Refusal::TooManyUploads { max: 2, .. });
    quota.when(within(vec![of_user(1, 3, 0)], 2, 9)).then_refused_as(too_many);
    quota.when(within(vec![of_user(2, 3, 0)], 2, 9)).then_an_event();
    quota.when(within(vec![of_user(2, 3, 0)], 9, 2)).then_refused_as(too_many);
    // A repeated start has its reservation already.
    quota.when(within(vec![of_user(1, 2, 0)], 2, 2)).then_nothing();
    quota.and(came_to_nothing(1)).when(within(vec![of_user(1, 3, 0)], 2, 2)).then_an_event();
}

fn by_link(n: u128, bytes_total: u64) -> ReservedItem {
    let link = ReservedLink { link_id: LinkId(Uuid::from_u128(7)), expires_at: NOW.plus_ms(1_000) };
    ReservedItem { link: Some(link), ..item(n, bytes_total) }
}

fn with_link(items: Vec<ReservedItem>, max_files: u32, max_bytes: u64) -> Command {
    let links = BTreeMap::from([(LinkId(Uuid::from_u128(7)), LinkLimits { max_files, max_bytes })]);
    Command::Reserve { items, until: NOW, terms: Terms { links, ..terms(1_000_000) } }
}

#[test]
fn a_link_permits_its_files_and_bytes_and_gets_back_what_came_to_nothing() {
    let quota = given([reserved([by_link(1, 60), by_link(2, 30)]), used(1, 60)]);
    quota.when(with_link(vec![by_link(3, 10)], 3, 100)).then_an_event();
    let left = |files, bytes| Refusal::LinkExhausted { left_files: files, left_bytes: bytes };
    quota.when(with_link(vec![by_link(3, 11)], 3, 100)).then_refused(left(1, 10));
    quota.when(with_link(vec![by_link(3, 1)], 2, 100)).then_refused(left(0, 10));
    quota.when(with_link(vec![by_link(3, 0)], 2, 100)).then_refused(left(0, 10));
    // The items of one event count together, and files of others do not count.
    quota.when(with_link(vec![by_link(3, 6), by_link(4, 5)], 9, 100)).then_refused(left(6, 4));
    quota.when(with_link(vec![by_link(3, 10), item(4, 500)], 9, 100)).then_an_event();
    // A link whose limits are not known permits nothing.
    quota.when(reserve(by_link(3, 1), 1_000_000)).then_refused(left(0, 0));

    let quota = quota.and(came_to_nothing(2));
    quota.when(with_link(vec![by_link(3, 40)], 2, 100)).then_an_event();
    // A purged file still counts.
    let file_id = item(1, 0).upload_id;
    let quota =
        quota.and(QuotaReleased { items: vec![ReleasedItem { file_id, bytes: 60, user_id: None }], recorded: vec![] });
    quota.when(with_link(vec![by_link(3, 41)], 9, 100)).then_refused(left(8, 40));
    let limits = LinkLimits { max_files: 9, max_bytes: 100 };
    assert_eq!(quota.state().left_of_link(LinkId(Uuid::from_u128(7)), limits), Left { files: 8, bytes: 40 });
}

#[test]
fn the_quota_forgets_links_that_have_expired() {
    let expired = ReservedLink { link_id: LinkId(Uuid::from_u128(7)), expires_at: NOW };
    let quota = given([reserved([ReservedItem { link: Some(expired), ..item(1, 60) }]), used(1, 60)]);
    assert_eq!(quota.state().links.len(), 1);
    let quota = quota.and(reserved([item(2, 1)]));
    assert!(quota.state().links.is_empty());
    // Open uploads of the link can still grow, so what was sent before must count.
    let open = |n, bytes_total| ReservedItem { link: Some(expired), ..item(n, bytes_total) };
    let quota = given([reserved([open(1, 60), open(2, 10)]), used(1, 60), reserved([item(3, 1)])]);
    assert_eq!(quota.state().links.len(), 1);
    let quota = quota.and(came_to_nothing(2)).and(reserved([item(4, 1)]));
    assert!(quota.state().links.is_empty());
}

#[test]
fn an_upload_of_unknown_length_grows_within_the_limits_of_its_link() {
    let quota = given([reserved([by_link(1, 60)])]);
    let raise = |needed_bytes, max_bytes| {
        let links = BTreeMap::from([(LinkId(Uuid::from_u128(7)), LinkLimits { max_files: 1, max_bytes })]);
        let terms = Terms { links, ..terms(1 << 40) };
        Command::Raise { upload_id: item(1, 0).upload_id, needed_bytes, max_bytes: 1 << 30, terms }
    };
    quota.when(raise(100, 100)).then(QuotaRaised { upload_id: item(1, 0).upload_id, bytes_total: 100 });
    quota.when(raise(101, 100)).then_refused(Refusal::LinkExhausted { left_files: 1, left_bytes: 100 });
}

#[test]
fn the_files_and_open_uploads_of_a_user_stay_within_the_limit_of_the_user() {
    let user = |n: u128| UserId(Uuid::from_u128(n));
    let limit = |user_id, limit_bytes| QuotaUserLimitSet { user_id, limit_bytes };
    let quota = given([reserved([of_user(1, 1, 60), of_user(1, 2, 30)]), used(1, 60)]);
    let ask = |quota: &Given<QuotaAggregate>, item| quota.when(reserve(item, 1_000_000));
    ask(&quota, of_user(1, 3, 1_000)).then_an_event();

    let quota = quota.when(Command::SetUserLimit(limit(None, Some(100)))).then_once(limit(None, Some(100)));
    ask(&quota, of_user(1, 3, 10)).then_an_event();
    ask(&quota, of_user(1, 3, 11)).then_refused(Refusal::UserLimitExceeded {
        requested_bytes: 11,
        used_bytes: 60,
        reserved_bytes: 30,
        limit_bytes: 100,
    });
    ask(&quota, of_user(2, 3, 100)).then_an_event();
    let quota = quota.and(came_to_nothing(2));
    ask(&quota, of_user(1, 3, 40)).then_an_event();
    // A purged file gives its bytes back.
    let file_id = item(1, 0).upload_id;
    let released = ReleasedItem { file_id, bytes: 60, user_id: Some(user(1)) };
    let purged = quota.and(QuotaReleased { items: vec![released], recorded: vec![] });
    assert!(purged.state().users.is_empty());
    ask(&purged, of_user(1, 3, 100)).then_an_event();
    // The limit of a single user comes first, also if it is higher.
    let own = quota.when(Command::SetUserLimit(limit(Some(user(1)), Some(60)))).then_an_event();
    ask(&own, of_user(1, 3, 0)).then_an_event();
    ask(&own, of_user(1, 3, 1)).then_refused_as(|refusal| matches!(refusal, Refusal::UserLimitExceeded { .. }));
    let high = own.when(Command::SetUserLimit(limit(Some(user(1)), Some(500)))).then_an_event();
    ask(&high, of_user(1, 3, 440)).then_an_event();
    let none = high.when(Command::SetUserLimit(limit(Some(user(1)), None))).then_an_event();
    ask(&none, of_user(1, 3, 41)).then_refused_as(|refusal| matches!(refusal, Refusal::UserLimitExceeded { .. }));
}

#[test]
fn files_that_were_counted_before_the_last_change_are_counted_again() {
    let quota = given([reserved([item(1, 60), item(2, 30)]), used(1, 60)]);
    let counted = |storage_used_bytes, file_count, drift_bytes, drift_files| QuotaRecalculated {
        storage_used_bytes,
        file_count,
        drift_bytes,
        drift_files,
    };
    quota.when(Command::Recalculate(counted(60, 1, 0, 0))).then_an_event();
    quota.when(Command::Recalculate(counted(61, 2, -1, -1))).then_an_event();
    let later = quota.and(used(2, 30));
    later.when(Command::Recalculate(counted(60, 1, 0, 0))).then_nothing();
    later.when(Command::Recalculate(counted(90, 2, 0, 0))).then_an_event();
}
