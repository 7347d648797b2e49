//! Tests of download tokens.

use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::token::*;
use waybill_schema::events::*;
use waybill_schema::*;

const NOW: Timestamp = Timestamp(1_000_000);
const END: Timestamp = Timestamp(1_060_000);

fn issued(max_downloads: Option<u32>) -> DownloadTokenIssuedV1 {
    DownloadTokenIssuedV1 {
        file_id: UploadId(Uuid::from_u128(1)),
        user_id: UserId(Uuid::from_u128(2)),
        token_sha256: Sha256Digest([3; 32]),
        as_admin: false,
        expires_at: END,
        max_downloads,
    }
}

const SIZE: u64 = 10;

fn by(agent: &str) -> By {
    By { ip_address: [192, 0, 2, 7].into(), user_agent: Some(agent.to_owned()) }
}

fn asked(number: u128, (from, to): (u64, u64), now: Timestamp) -> Asked {
    Asked {
        request: Uuid::from_u128(number),
        by: by("a"),
        range: ByteRange { from, to },
        size_bytes: SIZE,
        now,
        has_waited: false,
        stopped: BTreeSet::new(),
    }
}

/// Decides on a request and applies the event.
fn serve(state: &mut State, asked: Asked) -> Result<(), Refusal> {
    let now = asked.now;
    let event = decide(state, Command::Serve(asked))?.unwrap();
    evolve(state, &event, now);
    Ok(())
}

/// Records the end of the response to a request, which has sent this range.
fn sent(state: &mut State, number: u128, (from, to): (u64, u64), now: Timestamp) {
    let command = Command::EndServing { request: Uuid::from_u128(number), sent: ByteRange { from, to } };
    let event = decide(state, command).unwrap().unwrap();
    evolve(state, &event, now);
}

fn is_running(outcome: Result<(), Refusal>) -> bool {
    outcome == Err(Refusal::DownloadRunning)
}

fn has_ended(outcome: Result<(), Refusal>) -> bool {
    matches!(outcome, Err(Refusal::TokenEnded { .. }))
}

fn token(events: impl IntoIterator<Item = TokenEvent>) -> State {
    let mut state = State::default();
    events.into_iter().for_each(|event| evolve(&mut state, &event, NOW));
    state
}

#[test]
fn a_token_is_issued_once_with_an_end_that_is_to_come_and_near() {
    assert_eq!(decide(&token([]), Command::Issue(issued(Some(1)), NOW)), Ok(Some(issued(Some(1)).into())));
    assert_eq!(decide(&token([issued(Some(1)).into()]), Command::Issue(issued(Some(1)), NOW)), Ok(None));
    for (wrong, now) in [
        (issued(Some(0)), NOW),
        (issued(Some(DOWNLOADS_MAX + 1)), NOW),
        (issued(None), END),
        (issued(None), Timestamp(END.0 - LIFETIME_MAX_MS - 1)),
    ] {
        assert!(matches!(decide(&token([]), Command::Issue(wrong, now)), Err(Refusal::TokenInvalid { .. })));
    }
}

#[test]
fn of_those_who_ask_at_once_one_is_answered() {
    let mut state = token([issued(Some(1)).into()]);
    serve(&mut state, asked(1, (0, SIZE), NOW)).unwrap();
    assert!(is_running(serve(&mut state, asked(2, (0, SIZE), NOW))));
    sent(&mut state, 1, (0, SIZE), NOW);
    assert_eq!(state.download_count, 1);
    assert!(
        has_ended(serve(&mut state, asked(3, (0, SIZE), NOW.plus_ms(10)))),
        "this client already received the file"
    );
    let other = Asked { by: by("b"), ..asked(4, (0, SIZE), NOW.plus_ms(10)) };
    assert!(is_running(serve(&mut state, other)), "a request shortly after the delivery counts as a simultaneous one");
}

#[test]
fn one_person_probes_repeats_and_changes_programs_and_it_counts_once() {
    let mut state = token([issued(Some(1)).into()]);
    serve(&mut state, asked(1, (0, 2), NOW)).unwrap();
    sent(&mut state, 1, (0, 2), NOW);
    serve(&mut state, asked(2, (0, SIZE), NOW)).unwrap();
    sent(&mut state, 2, (0, 3), NOW);
    assert_eq!(state.download_count, 0, "the file was not delivered completely");
    let manager = Asked { by: by("b"), ..asked(3, (3, SIZE), NOW) };
    serve(&mut state, manager).unwrap();
    sent(&mut state, 3, (3, SIZE), NOW);
    assert_eq!(state.download_count, 1);
    // The claim sends at most twice the size of the file.
    assert!(has_ended(serve(&mut state, Asked { has_waited: true, ..asked(4, (0, SIZE), NOW) })));
    serve(&mut state, asked(5, (0, 8), NOW)).unwrap();
    sent(&mut state, 5, (0, 8), NOW);
    assert!(has_ended(serve(&mut state, asked(6, (0, 1), NOW))));
    assert_eq!(state.download_count, 1);
}

#[test]
fn what_was_delivered_and_lost_is_sent_again_for_a_while() {
    let mut state = token([issued(Some(1)).into()]);
    serve(&mut state, asked(1, (0, SIZE), NOW)).unwrap();
    sent(&mut state, 1, (0, SIZE), NOW);
    let mut late = state.clone();
    let again = Asked { by: by("b"), ..asked(2, (0, SIZE), NOW.plus_ms(2_000)) };
    serve(&mut state, again).unwrap();
    let end = issued(None).expires_at;
    assert!(
        end < NOW.plus_ms(GOES_ON_FOR_MS) || has_ended(serve(&mut late, asked(3, (0, 1), NOW.plus_ms(GOES_ON_FOR_MS))))
    );
}

#[test]
fn an_answer_that_stopped_or_was_never_heard_of_again_is_in_nobodys_way() {
    let mut state = token([issued(Some(1)).into()]);
    serve(&mut state, asked(1, (0, SIZE), NOW)).unwrap();
    let stopped = BTreeSet::from([Uuid::from_u128(1)]);
    let mut other = state.clone();
    serve(&mut other, Asked { stopped, ..asked(2, (0, SIZE), NOW) }).unwrap();
    assert!(is_running(serve(&mut state, asked(3, (0, SIZE), NOW.plus_ms(59_000)))));
}

#[test]
fn pieces_come_side_by_side() {
    let mut state = token([issued(Some(1)).into()]);
    for (number, range) in [(1, (0, 3)), (2, (3, 6)), (3, (6, SIZE))] {
        serve(&mut state, asked(number, range, NOW)).unwrap();
    }
    for (number, range) in [(3, (6, SIZE)), (1, (0, 3)), (2, (3, 6))] {
        assert_eq!(state.download_count, 0);
        sent(&mut state, number, range, NOW);
    }
    assert_eq!(state.download_count, 1);
}

#[test]
fn it_is_good_for_as_many_people_as_it_says_until_its_end() {
    let mut state = token([issued(Some(2)).into()]);
    for (number, agent) in [(1, "a"), (2, "b")] {
        serve(&mut state, Asked { by: by(agent), ..asked(number, (0, SIZE), NOW) }).unwrap();
        sent(&mut state, number, (0, SIZE), NOW);
    }
    assert_eq!(state.download_count, 2);
    let third = Asked { by: by("c"), ..asked(3, (0, SIZE), NOW) };
    assert!(is_running(serve(&mut state, third)));
    let mut any = token([issued(None).into()]);
    for number in 1..=300 {
        serve(&mut any, asked(number, (0, SIZE), NOW)).unwrap();
        sent(&mut any, number, (0, SIZE), NOW);
    }
    assert_eq!(any.download_count, 300);
    assert!(has_ended(serve(&mut any, asked(999, (0, SIZE), END))));
    let mut revoked = token([issued(None).into(), DownloadTokenRevokedV1 {}.into()]);
    assert!(has_ended(serve(&mut revoked, asked(1, (0, SIZE), NOW))));
    assert_eq!(serve(&mut token([]), asked(1, (0, SIZE), NOW)), Err(Refusal::NotFound { what: "token" }));
}

#[test]
fn a_download_of_before_counted_at_once() {
    let old = DownloadTokenRedeemedV1 { ip_address: [192, 0, 2, 7].into(), user_agent: None };
    let state = token([issued(Some(1)).into(), DownloadTokenRedeemedV2::from(old).into()]);
    assert_eq!(state.download_count, 1);
}

proptest! {
    /// For every order of requests and ends: no claim sends more than twice the size of the file, and the number of
    /// delivered downloads does not exceed the limit.
    #[test]
    fn what_is_sent_is_bounded(
        max in 1_u32..4,
        steps in prop::collection::vec((0_u64..SIZE, 1_u64..=SIZE, 0_u64..=SIZE, 0_u8..3, any::<bool>()), 1..60),
    ) {
        let mut state = token([issued(Some(max)).into()]);
        let (mut total, mut running) = (0, Vec::new());
        for (number, (from, length, took, agent, ends)) in steps.into_iter().enumerate() {
            let range = (from, (from + length).min(SIZE));
            let asking = Asked { by: by(&agent.to_string()), has_waited: true, ..asked(number as u128 + 1, range, NOW) };
            if serve(&mut state, asking).is_ok() {
                running.push((number as u128 + 1, range, took));
            }
            if ends {
                for (number, (from, to), took) in running.drain(..) {
                    let to = to.min(from + took);
                    sent(&mut state, number, (from, to), NOW);
                    total += to - from;
                }
            }
        }
        prop_assert!(total <= u64::from(max) * 2 * SIZE);
        prop_assert!(state.download_count <= max);
    }
}

#[test]
fn it_is_forgotten_once_and_only_behind_its_end() {
    let forget = |state: &State, ended_until| decide(state, Command::Forget { ended_until });
    let mut state = token([issued(None).into()]);
    assert_eq!(forget(&state, Timestamp(END.0 - 1)), Ok(None));
    assert_eq!(forget(&token([]), END), Ok(None));
    let event = forget(&state, END).unwrap().unwrap();
    evolve(&mut state, &event, END);
    assert_eq!(forget(&state, END), Ok(None));
    assert_eq!(decide(&state, Command::Revoke), Ok(None), "the read model has no row for the token any more");
    assert!(has_ended(serve(&mut state, asked(1, (0, SIZE), END))));
}
