//! Download tokens.

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

fn redeemed() -> DownloadTokenRedeemedV1 {
    DownloadTokenRedeemedV1 { ip_address: [192, 0, 2, 7].into(), user_agent: None }
}

fn token(events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::default();
    events.into_iter().for_each(|event| evolve(&mut state, &event, NOW));
    state
}

#[test]
fn a_token_is_issued_once_with_an_end_that_is_to_come_and_near() {
    assert_eq!(decide(&token([]), Command::Issue(issued(Some(1)), NOW)), Ok(Some(issued(Some(1)).into())));
    assert_eq!(decide(&token([issued(Some(1)).into()]), Command::Issue(issued(Some(1)), NOW)), Ok(None));
    for (wrong, now) in
        [(issued(Some(0)), NOW), (issued(None), END), (issued(None), Timestamp(END.0 - LIFETIME_MAX_MS - 1))]
    {
        assert!(matches!(decide(&token([]), Command::Issue(wrong, now)), Err(Refusal::TokenInvalid { .. })));
    }
}

#[test]
fn it_is_good_for_as_many_downloads_as_it_says_until_its_end() {
    let redeem = |state: &State, now| decide(state, Command::Redeem(redeemed(), now));
    let mut state = token([issued(Some(2)).into()]);
    for _ in 0..2 {
        let event = redeem(&state, NOW).unwrap().unwrap();
        evolve(&mut state, &event, NOW);
    }
    assert!(matches!(redeem(&state, NOW), Err(Refusal::TokenEnded { .. })));
    assert!(matches!(redeem(&token([issued(None).into()]), END), Err(Refusal::TokenEnded { .. })));
    let revoked = token([issued(None).into(), DownloadTokenRevokedV1 {}.into()]);
    assert!(matches!(redeem(&revoked, NOW), Err(Refusal::TokenEnded { .. })));
    assert_eq!(redeem(&token([]), NOW), Err(Refusal::NotFound { what: "token" }));
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
    assert_eq!(decide(&state, Command::Revoke), Ok(None), "there is no row to say so in");
    assert!(matches!(decide(&state, Command::Redeem(redeemed(), END)), Err(Refusal::TokenEnded { .. })));
}
