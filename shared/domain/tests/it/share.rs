//! Tests of associations of files with chatrooms and threads.

use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::share::*;
use waybill_schema::events::*;
use waybill_schema::*;

const NOW: Timestamp = Timestamp(1_000);

fn shared() -> FileSharedV1 {
    FileSharedV1 {
        file_id: UploadId(Uuid::from_u128(1)),
        chatroom_id: Some(ChatroomId(Uuid::from_u128(2))),
        thread_id: None,
        shared_by: UserId(Uuid::from_u128(3)),
        access_type: AccessType::Private,
        permissions: None,
        expires_at: None,
    }
}

fn share(events: impl IntoIterator<Item = ShareEvent>) -> State {
    let mut state = State::default();
    events.into_iter().for_each(|event| evolve(&mut state, &event));
    state
}

#[test]
fn a_share_is_made_changed_pinned_and_revoked_once_each() {
    assert_eq!(decide(&share([]), Command::Share(shared(), NOW)), Ok(Some(shared().into())));
    let mut state = share([shared().into()]);
    assert_eq!(decide(&state, Command::Share(shared(), NOW)), Ok(None));
    let changed = ShareChangedV1 { access_type: AccessType::Public, permissions: None, expires_at: None };
    for command in [Command::Change(changed, NOW), Command::Pin(true), Command::Revoke] {
        let event = decide(&state, command.clone()).unwrap().unwrap();
        evolve(&mut state, &event);
        assert_eq!(decide(&state, command), Ok(None));
    }
    assert_eq!(decide(&state, Command::Pin(false)), Err(Refusal::NotFound { what: "association" }));
}

#[test]
fn a_share_that_cannot_be_is_refused() {
    let restricted = FileSharedV1 { access_type: AccessType::Restricted, ..shared() };
    let nowhere = FileSharedV1 { chatroom_id: None, ..shared() };
    let over = FileSharedV1 { expires_at: Some(NOW), ..shared() };
    for bad in [restricted, nowhere, over] {
        let refused = decide(&share([]), Command::Share(bad.clone(), NOW));
        assert!(matches!(refused, Err(Refusal::ShareInvalid { .. })), "{bad:?}");
    }
}
