//! Tests of upload sessions.

use crate::given::{Given, NOW};
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::limits::SESSION_LIFETIME_MS;
use waybill_domain::session::*;
use waybill_schema::events::*;
use waybill_schema::*;

const USER: UserId = UserId(Uuid::from_u128(2));

fn opened() -> SessionOpened {
    SessionOpened { user_id: USER, session_name: None }
}

fn given(events: impl IntoIterator<Item = SessionEvent>) -> Given<SessionAggregate> {
    Given::new(events)
}

#[test]
fn commands_that_were_carried_out_yield_nothing() {
    given([opened().into()]).when(Command::Open(opened())).then_nothing();
    let closed = given([opened().into(), SessionClosed {}.into()]);
    closed.when(Command::Close).then_nothing();
    closed.when(Command::Cancel).then(SessionCancelled {});
    given([opened().into(), SessionCancelled {}.into()]).when(Command::Cancel).then_nothing();
    given([]).when(Command::Close).then_refused(Refusal::NotFound { what: "session" });
}

#[test]
fn only_its_user_joins_an_open_session_in_time() {
    let open = given([opened().into()]);
    assert_eq!(check_join(open.state(), USER, NOW), Ok(()));
    let stranger = UserId(Uuid::from_u128(3));
    assert_eq!(check_join(open.state(), stranger, NOW), Err(Refusal::NotFound { what: "session" }));
    let late = NOW.plus_ms(SESSION_LIFETIME_MS + 1);
    assert_eq!(check_join(open.state(), USER, late), Err(Refusal::SessionEnded { status: "expired" }));
    let closed = open.and(SessionClosed {});
    assert_eq!(check_join(closed.state(), USER, NOW), Err(Refusal::SessionEnded { status: "closed" }));
}
