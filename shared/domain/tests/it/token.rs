//! Tests of download tokens.

use crate::given::{Given, NOW, When};
use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::token::*;
use waybill_schema::events::*;
use waybill_schema::*;

const END: Timestamp = Timestamp(1_060_000);

fn issued(max_downloads: Option<u32>) -> DownloadTokenIssued {
    DownloadTokenIssued {
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

fn given(events: impl IntoIterator<Item = TokenEvent>) -> Given<TokenAggregate> {
    Given::new(events)
}

/// Decides on a request.
fn asks(token: &Given<TokenAggregate>, asked: Asked) -> When<TokenAggregate> {
    token.at(asked.now).when(Command::Serve(asked))
}

/// Records the end of the response to a request, which has sent this range.
fn sent(token: &Given<TokenAggregate>, number: u128, (from, to): (u64, u64)) -> Given<TokenAggregate> {
    let command = Command::EndServing { request: Uuid::from_u128(number), sent: ByteRange { from, to } };
    token.at(NOW).when(command).then_an_event()
}

/// Answers a request completely.
fn serve(token: &Given<TokenAggregate>, asked: Asked) -> Given<TokenAggregate> {
    let end = Command::EndServing { request: asked.request, sent: asked.range };
    asks(token, asked).then_an_event().at(NOW).when(end).then_an_event()
}

const RUNNING: Refusal = Refusal::DownloadRunning;

fn has_ended(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::TokenEnded { .. })
}

#[test]
fn a_token_is_issued_once_with_an_end_that_is_to_come_and_near() {
    given([]).when(Command::Issue(issued(Some(1)), NOW)).then_once(issued(Some(1)));
    for (wrong, now) in [
        (issued(Some(0)), NOW),
        (issued(Some(DOWNLOADS_MAX + 1)), NOW),
        (issued(None), END),
        (issued(None), Timestamp(END.0 - LIFETIME_MAX_MS - 1)),
    ] {
        let token = given([]).when(Command::Issue(wrong, now));
        token.then_refused_as(|refusal| matches!(refusal, Refusal::TokenInvalid { .. }));
    }
}

#[test]
fn of_those_who_ask_at_once_one_is_answered() {
    let token = asks(&given([issued(Some(1)).into()]), asked(1, (0, SIZE), NOW)).then_an_event();
    asks(&token, asked(2, (0, SIZE), NOW)).then_refused(RUNNING);
    let token = sent(&token, 1, (0, SIZE));
    assert_eq!(token.state().download_count, 1);
    // This client already received the file.
    asks(&token, asked(3, (0, SIZE), NOW.plus_ms(10))).then_refused_as(has_ended);
    // A request shortly after the delivery counts as a simultaneous one.
    asks(&token, Asked { by: by("b"), ..asked(4, (0, SIZE), NOW.plus_ms(10)) }).then_refused(RUNNING);
}

#[test]
fn one_person_probes_repeats_and_changes_programs_and_it_counts_once() {
    let token = serve(&given([issued(Some(1)).into()]), asked(1, (0, 2), NOW));
    let token = asks(&token, asked(2, (0, SIZE), NOW)).then_an_event();
    let token = sent(&token, 2, (0, 3));
    assert_eq!(token.state().download_count, 0, "the file was not delivered completely");
    let token = serve(&token, Asked { by: by("b"), ..asked(3, (3, SIZE), NOW) });
    assert_eq!(token.state().download_count, 1);
    // The claim sends at most twice the size of the file.
    asks(&token, Asked { has_waited: true, ..asked(4, (0, SIZE), NOW) }).then_refused_as(has_ended);
    let token = serve(&token, asked(5, (0, 8), NOW));
    asks(&token, asked(6, (0, 1), NOW)).then_refused_as(has_ended);
    assert_eq!(token.state().download_count, 1);
}

#[test]
fn what_was_delivered_and_lost_is_sent_again_for_a_while() {
    let token = serve(&given([issued(Some(1)).into()]), asked(1, (0, SIZE), NOW));
    asks(&token, Asked { by: by("b"), ..asked(2, (0, SIZE), NOW.plus_ms(2_000)) }).then_an_event();
    if issued(None).expires_at >= NOW.plus_ms(GOES_ON_FOR_MS) {
        asks(&token, asked(3, (0, 1), NOW.plus_ms(GOES_ON_FOR_MS))).then_refused_as(has_ended);
    }
}

#[test]
fn a_stopped_response_does_not_block_a_download_but_a_running_response_does() {
    let token = asks(&given([issued(Some(1)).into()]), asked(1, (0, SIZE), NOW)).then_an_event();
    let stopped = BTreeSet::from([Uuid::from_u128(1)]);
    asks(&token, Asked { stopped, ..asked(2, (0, SIZE), NOW) }).then_an_event();
    asks(&token, asked(3, (0, SIZE), NOW.plus_ms(59_000))).then_refused(RUNNING);
}

#[test]
fn parallel_ranges_of_one_file_count_as_one_download() {
    let mut token = given([issued(Some(1)).into()]);
    for (number, range) in [(1, (0, 3)), (2, (3, 6)), (3, (6, SIZE))] {
        token = asks(&token, asked(number, range, NOW)).then_an_event();
    }
    for (number, range) in [(3, (6, SIZE)), (1, (0, 3)), (2, (3, 6))] {
        assert_eq!(token.state().download_count, 0);
        token = sent(&token, number, range);
    }
    assert_eq!(token.state().download_count, 1);
}

#[test]
fn a_token_allows_its_maximum_number_of_downloads_until_it_expires_or_is_revoked() {
    let mut token = given([issued(Some(2)).into()]);
    for (number, agent) in [(1, "a"), (2, "b")] {
        token = serve(&token, Asked { by: by(agent), ..asked(number, (0, SIZE), NOW) });
    }
    assert_eq!(token.state().download_count, 2);
    asks(&token, Asked { by: by("c"), ..asked(3, (0, SIZE), NOW) }).then_refused(RUNNING);
    let mut any = given([issued(None).into()]);
    for number in 1..=300 {
        any = serve(&any, asked(number, (0, SIZE), NOW));
    }
    assert_eq!(any.state().download_count, 300);
    asks(&any, asked(999, (0, SIZE), END)).then_refused_as(has_ended);
    let revoked = given([issued(None).into(), DownloadTokenRevoked {}.into()]);
    asks(&revoked, asked(1, (0, SIZE), NOW)).then_refused_as(has_ended);
    asks(&given([]), asked(1, (0, SIZE), NOW)).then_refused(Refusal::NotFound { what: "token" });
}

#[test]
fn a_redemption_event_of_version_1_counts_as_a_download() {
    let old = DownloadTokenRedeemedV1 { ip_address: [192, 0, 2, 7].into(), user_agent: None };
    let token = given([issued(Some(1)).into(), DownloadTokenRedeemed::from(old).into()]);
    assert_eq!(token.state().download_count, 1);
}

proptest! {
    /// For every order of requests and ends: no claim sends more than twice the size of the file, and the number of
    /// delivered downloads does not exceed the limit.
    #[test]
    fn what_is_sent_is_bounded(
        max in 1_u32..4,
        steps in prop::collection::vec((0_u64..SIZE, 1_u64..=SIZE, 0_u64..=SIZE, 0_u8..3, any::<bool>()), 1..60),
    ) {
        let mut token = given([issued(Some(max)).into()]);
        let (mut total, mut running) = (0, Vec::new());
        for (number, (from, length, took, agent, ends)) in steps.into_iter().enumerate() {
            let range = (from, (from + length).min(SIZE));
            let asking = Asked { by: by(&agent.to_string()), has_waited: true, ..asked(number as u128 + 1, range, NOW) };
            if let Ok(event) = token.carry_out(Command::Serve(asking)) {
                prop_assert!(event.is_some());
                running.push((number as u128 + 1, range, took));
            }
            if ends {
                for (number, (from, to), took) in running.drain(..) {
                    let to = to.min(from + took);
                    token = sent(&token, number, (from, to));
                    total += to - from;
                }
            }
        }
        prop_assert!(total <= u64::from(max) * 2 * SIZE);
        prop_assert!(token.state().download_count <= max);
    }
}

#[test]
fn a_token_is_forgotten_only_once_and_only_after_its_expiry() {
    let forget = |ended_until| Command::Forget { ended_until };
    let token = given([issued(None).into()]).at(END);
    token.when(forget(Timestamp(END.0 - 1))).then_nothing();
    given([]).when(forget(END)).then_nothing();
    let forgotten = token.when(forget(END)).then_an_event();
    forgotten.when(forget(END)).then_nothing();
    // The read model has no row for the token any more.
    forgotten.when(Command::Revoke).then_nothing();
    asks(&forgotten, asked(1, (0, SIZE), END)).then_refused_as(has_ended);
}
