//! Tests of the quota: reservation, settling and release of bytes.

use crate::given::NOW;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::limits::Limits;
use waybill_domain::quota::*;
use waybill_schema::events::*;
use waybill_schema::*;

fn item(n: u128, bytes_total: u64) -> ReservedItem {
    ReservedItem { upload_id: UploadId(Uuid::from_u128(n)), session_id: None, bytes_total }
}

fn used(n: u128, bytes: u64) -> QuotaEvent {
    let upload_id = item(n, 0).upload_id;
    QuotaSettledV1 { items: vec![SettledItem { upload_id, bytes_used: Some(bytes) }] }.into()
}

fn came_to_nothing(n: u128) -> QuotaEvent {
    let upload_id = item(n, 0).upload_id;
    QuotaSettledV1 { items: vec![SettledItem { upload_id, bytes_used: None }] }.into()
}

fn quota(events: impl IntoIterator<Item = QuotaEvent>) -> State {
    let mut state = State::default();
    for event in events {
        evolve(&mut state, &event, NOW);
    }
    state
}

fn ask(state: &State, items: &[ReservedItem], limit: u64) -> Reservation {
    reserve(state, items, limit, &Limits::default(), NOW)
}

#[test]
fn the_limit_is_inclusive() {
    assert!(ask(&State::default(), &[item(1, 100)], 100).answers[0].is_ok());
    let refused = &ask(&State::default(), &[item(1, 101)], 100).answers[0];
    assert!(matches!(refused, Err(Refusal::QuotaExceeded { requested_bytes: 101, limit_bytes: 100, .. })));
}

#[test]
fn each_start_is_decided_alone() {
    let reservation = ask(&State::default(), &[item(1, 60), item(2, 60), item(3, 40)], 100);
    let fits: Vec<bool> = reservation.answers.iter().map(Result::is_ok).collect();
    assert_eq!(fits, [true, false, true]);
    assert_eq!(reservation.event.unwrap().items, [item(1, 60), item(3, 40)]);
}

#[test]
fn reserving_twice_is_one_event() {
    let event = ask(&State::default(), &[item(1, 60)], 100).event.unwrap();
    let state = quota([event.into()]);
    let again = ask(&state, &[item(1, 60)], 100);
    assert_eq!(again, Reservation { answers: vec![Ok(())], event: None });
}

#[test]
fn a_limit_below_what_is_used_lets_nothing_start() {
    let state = quota([
        QuotaReservedV1 { items: vec![item(1, 60)], until: NOW }.into(),
        used(1, 60),
        QuotaLimitSetV1 { storage_limit_bytes: 50 }.into(),
    ]);
    assert_eq!((state.used_bytes, state.reserved_bytes(), state.file_count), (60, 0, 1));
    assert!(ask(&state, &[item(2, 0)], 50).answers[0].is_err());
}

#[test]
fn a_session_has_a_limit_of_its_own() {
    let session = Some(SessionId(Uuid::now_v7()));
    let of = |n, bytes_total| ReservedItem { session_id: session, ..item(n, bytes_total) };
    let max = Limits::default().max_session_bytes;
    let now = Timestamp(i64::try_from(Uuid::now_v7().as_u128() >> 80).unwrap());
    let reservation =
        reserve(&State::default(), &[of(1, max - 1), of(2, 1), of(3, 1)], u64::MAX, &Limits::default(), now);
    assert!(matches!(reservation.answers.as_slice(), [Ok(()), Ok(()), Err(Refusal::SessionTooLarge { .. })]));
    let mut state = State::default();
    evolve(&mut state, &reservation.event.unwrap().into(), now);
    assert_eq!(state.sessions.values().copied().collect::<Vec<_>>(), [max]);
    evolve(&mut state, &came_to_nothing(2), now);
    assert!(reserve(&state, &[of(3, 1)], u64::MAX, &Limits::default(), now).answers[0].is_ok());
}

#[test]
fn a_reservation_ends_once() {
    let mut state = quota([QuotaReservedV1 { items: vec![item(1, 60), item(2, 40)], until: NOW }.into()]);
    let ended = |n, bytes_used| SettledItem { upload_id: item(n, 0).upload_id, bytes_used };
    let all = [ended(1, Some(50)), ended(2, None), ended(3, Some(1)), ended(1, None)];
    let settled = settle(&state, &all).unwrap();
    assert_eq!(settled.items, all[..2], "every open reservation is settled once, and others are ignored");
    evolve(&mut state, &settled.clone().into(), NOW);
    assert_eq!((state.used_bytes, state.file_count, state.reserved_bytes()), (50, 1, 0));
    assert_eq!(settle(&state, &all), None);
    let before = state.clone();
    evolve(&mut state, &settled.into(), NOW);
    assert_eq!(state, before, "applying the event again changes nothing");
}

#[test]
fn the_space_of_a_purged_file_is_given_back_once() {
    let mut state = quota([QuotaReservedV1 { items: vec![item(1, 60), item(2, 40)], until: NOW }.into(), used(1, 60)]);
    let purged = [1, 2].map(|n| ReleasedItem { file_id: item(n, 0).upload_id, bytes: 60 });
    let released = release(&state, &purged, &[]).unwrap();
    evolve(&mut state, &released.clone().into(), NOW);
    assert_eq!(
        (state.used_bytes, state.file_count, state.reserved_bytes()),
        (0, 0, 0),
        "the release also ends the reservation of the second file"
    );
    assert_eq!(release(&state, &purged, &[]), None);
    let before = state.clone();
    evolve(&mut state, &released.into(), NOW);
    assert_eq!(state, before);
    assert_eq!(settle(&state, &[SettledItem { upload_id: purged[1].file_id, bytes_used: Some(40) }]), None);
    // The events of the files now contain `FileSpaceReleased`, so that the quota forgets the files.
    let recorded = release(&state, &[], &[purged[0].file_id, purged[1].file_id]).unwrap();
    evolve(&mut state, &recorded.into(), NOW);
    assert!(state.released.is_empty());
}

const STEP: u64 = 64 * 1_024 * 1_024;

#[test]
fn a_reservation_is_raised_in_steps_and_not_past_what_is_free() {
    let id = item(1, 0).upload_id;
    let state = quota([QuotaReservedV1 { items: vec![item(1, STEP)], until: NOW }.into()]);
    let raised = |needed, max, limit| raise(&state, id, needed, max, limit, &Limits::default());
    assert_eq!(raised(STEP, 10 * STEP, 2 * STEP), Ok(None), "the reservation is already large enough");
    let event = QuotaRaisedV1 { upload_id: id, bytes_total: 2 * STEP };
    assert_eq!(raised(STEP + 1, 10 * STEP, 2 * STEP), Ok(Some(event.clone().into())));
    let to_the_end = QuotaRaisedV1 { upload_id: id, bytes_total: STEP + 5 };
    assert_eq!(
        raised(STEP + 1, STEP + 5, 2 * STEP),
        Ok(Some(to_the_end.into())),
        "at most the maximum size of the upload"
    );
    let last_bytes = QuotaRaisedV1 { upload_id: id, bytes_total: STEP + 1 };
    assert_eq!(
        raised(STEP + 1, 10 * STEP, 2 * STEP - 1),
        Ok(Some(last_bytes.into())),
        "the last free bytes can be reserved"
    );
    assert!(matches!(raised(STEP + 1, 10 * STEP, STEP), Err(Refusal::QuotaExceeded { .. })));
    let mut state = state.clone();
    evolve(&mut state, &event.into(), NOW);
    assert_eq!(state.reserved_bytes(), 2 * STEP);
    // The unused bytes of the reservation are free afterwards.
    evolve(&mut state, &used(1, 7), NOW);
    assert_eq!((state.reserved_bytes(), state.used_bytes), (0, 7));
}

#[test]
fn a_raise_that_comes_too_late_reserves_nothing() {
    let id = item(1, 0).upload_id;
    let state = quota([
        QuotaReservedV1 { items: vec![item(1, 60)], until: NOW }.into(),
        came_to_nothing(1),
        QuotaRaisedV1 { upload_id: id, bytes_total: STEP }.into(),
    ]);
    assert_eq!(state.reserved_bytes(), 0);
    assert!(matches!(raise(&state, id, 1, STEP, STEP, &Limits::default()), Err(Refusal::NotFound { .. })));
}

#[test]
fn a_final_upload_takes_over_what_its_partial_ones_hold() {
    let from = [item(1, 0).upload_id, item(2, 0).upload_id];
    let state = quota([QuotaReservedV1 { items: vec![item(1, 40), item(2, 60)], until: NOW }.into()]);
    let moved = |state: &State, bytes, limit| transfer(state, &item(3, bytes), &from, limit, &Limits::default(), NOW);
    let event = moved(&state, 100, 100).unwrap().unwrap();
    let mut after = state.clone();
    evolve(&mut after, &event, NOW);
    assert_eq!((after.reserved_bytes(), after.reserved.len()), (100, 1));
    assert_eq!(moved(&after, 100, 100), Ok(None), "the transfer happens once");
    // If a partial upload is used twice, the final upload is larger than the reservations.
    assert!(matches!(moved(&state, 140, 100), Err(Refusal::QuotaExceeded { .. })));
    // If a partial upload has no reservation any more, its bytes must be free.
    let mut less = state;
    evolve(&mut less, &came_to_nothing(1), NOW);
    assert!(moved(&less, 100, 100).is_ok());
    assert!(matches!(moved(&less, 100, 99), Err(Refusal::QuotaExceeded { .. })));
}

#[test]
fn a_session_counts_what_its_uploads_hold_now() {
    let session_id = SessionId(Uuid::now_v7());
    let item = ReservedItem { session_id: Some(session_id), ..item(1, STEP) };
    let mut state = quota([QuotaReservedV1 { items: vec![item.clone()], until: NOW }.into()]);
    let limits = Limits { max_session_bytes: 2 * STEP, ..Limits::default() };
    let event = raise(&state, item.upload_id, 2 * STEP, 9 * STEP, 9 * STEP, &limits).unwrap().unwrap();
    evolve(&mut state, &event, NOW);
    assert_eq!(state.sessions[&session_id], 2 * STEP);
    let refused = raise(&state, item.upload_id, 2 * STEP + 1, 9 * STEP, 9 * STEP, &limits);
    assert!(matches!(refused, Err(Refusal::SessionTooLarge { .. })));
    evolve(&mut state, &used(1, 5), NOW);
    assert_eq!(state.sessions[&session_id], 5);
}

#[test]
fn partial_uploads_count_once_towards_their_session() {
    let session = Some(SessionId(Uuid::now_v7()));
    let of = |n, bytes_total| ReservedItem { session_id: session, ..item(n, bytes_total) };
    let time = Timestamp(i64::try_from(Uuid::now_v7().as_u128() >> 80).unwrap());
    let max = Limits::default().max_session_bytes;
    let mut state = State::default();
    let items = vec![of(1, max / 2), of(2, max / 2)];
    evolve(&mut state, &QuotaReservedV1 { items, until: time }.into(), time);
    let from = [1, 2].map(|n| item(n, 0).upload_id);
    let event = transfer(&state, &of(3, max), &from, u64::MAX, &Limits::default(), time).unwrap().unwrap();
    evolve(&mut state, &event, time);
    assert_eq!(state.sessions.values().copied().collect::<Vec<_>>(), [max]);
    // A raise between the decision and the event ends with the reservation.
    let id = item(3, 0).upload_id;
    evolve(&mut state, &QuotaRaisedV1 { upload_id: id, bytes_total: max + 5 }.into(), time);
    evolve(&mut state, &came_to_nothing(3), time);
    assert_eq!((state.reserved_bytes(), state.sessions.values().sum::<u64>()), (0, 0));
}
