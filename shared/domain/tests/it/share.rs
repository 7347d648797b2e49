//! Tests of associations of files with chatrooms and threads.

use crate::given::{Given, NOW};
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::share::*;
use waybill_schema::events::*;
use waybill_schema::*;

fn shared() -> FileShared {
    FileShared {
        file_id: UploadId(Uuid::from_u128(1)),
        chatroom_id: Some(ChatroomId(Uuid::from_u128(2))),
        thread_id: None,
        shared_by: UserId(Uuid::from_u128(3)),
        access_type: AccessType::Private,
        permissions: None,
        expires_at: None,
    }
}

fn given(events: impl IntoIterator<Item = ShareEvent>) -> Given<ShareAggregate> {
    Given::new(events)
}

#[test]
fn a_share_is_made_changed_pinned_and_revoked_once_each() {
    let mut share = given([]).when(Command::Share(shared(), NOW)).then_once(shared());
    let changed = ShareChanged { access_type: AccessType::Public, permissions: None, expires_at: None };
    for command in [Command::Change(changed, NOW), Command::Pin(true), Command::Revoke] {
        share = share.when(command.clone()).then_an_event();
        share.when(command).then_nothing();
    }
    share.when(Command::Pin(false)).then_refused(Refusal::NotFound { what: "association" });
}

#[test]
fn a_share_that_cannot_be_is_refused() {
    let restricted = FileShared { access_type: AccessType::Restricted, ..shared() };
    let nowhere = FileShared { chatroom_id: None, ..shared() };
    let over = FileShared { expires_at: Some(NOW), ..shared() };
    for bad in [restricted, nowhere, over] {
        let share = given([]).when(Command::Share(bad, NOW));
        share.then_refused_as(|refusal| matches!(refusal, Refusal::ShareInvalid { .. }));
    }
}
