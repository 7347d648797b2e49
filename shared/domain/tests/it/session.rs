//! Tests of upload sessions.

use crate::given::NOW;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::limits::SESSION_LIFETIME_MS;
use waybill_domain::session::*;
use waybill_schema::events::*;
use waybill_schema::*;

const USER: UserId = UserId(Uuid::from_u128(2));

fn opened() -> SessionOpenedV1 {
    SessionOpenedV1 { user_id: USER, session_name: None }
}

fn session(events: impl IntoIterator<Item = SessionEvent>) -> State {
    let mut state = State::default();
    for event in events {
        evolve(&mut state, &event, NOW);
    }
    state
}

#[test]
fn commands_that_were_carried_out_yield_nothing() {
    let open = session([opened().into()]);
    assert_eq!(decide(&open, Command::Open(opened())), Ok(None));
    let closed = session([opened().into(), SessionClosedV1 {}.into()]);
    assert_eq!(decide(&closed, Command::Close), Ok(None));
    assert_eq!(decide(&closed, Command::Cancel), Ok(Some(SessionCancelledV1 {}.into())));
    let cancelled = session([opened().into(), SessionCancelledV1 {}.into()]);
    assert_eq!(decide(&cancelled, Command::Cancel), Ok(None));
    assert_eq!(decide(&State::default(), Command::Close), Err(Refusal::NotFound { what: "session" }));
}

#[test]
fn only_its_user_joins_an_open_session_in_time() {
    let open = session([opened().into()]);
    assert_eq!(check_join(&open, USER, NOW), Ok(()));
    let stranger = UserId(Uuid::from_u128(3));
    assert_eq!(check_join(&open, stranger, NOW), Err(Refusal::NotFound { what: "session" }));
    let late = NOW.plus_ms(SESSION_LIFETIME_MS + 1);
    assert_eq!(check_join(&open, USER, late), Err(Refusal::SessionEnded { status: "expired" }));
    let closed = session([opened().into(), SessionClosedV1 {}.into()]);
    assert_eq!(check_join(&closed, USER, NOW), Err(Refusal::SessionEnded { status: "closed" }));
}
