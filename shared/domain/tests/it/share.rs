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
        basis: ShareBasis::Uploader,
    }
}

fn sharing(shared: FileShared) -> Sharing {
    Sharing { shared, now: NOW, may_change: false, ended_at: None, first_sent_at: None }
}

fn to_share(shared: FileShared) -> Command {
    Command::Share(Box::new(sharing(shared)))
}

fn given(events: impl IntoIterator<Item = ShareEvent>) -> Given<ShareAggregate> {
    Given::new(events)
}

#[test]
fn a_share_is_made_changed_pinned_and_revoked_once_each() {
    let mut share = given([]).when(to_share(shared())).then_once(shared());
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
        let share = given([]).when(to_share(bad));
        share.then_refused_as(|refusal| matches!(refusal, Refusal::ShareInvalid { .. }));
    }
}

#[test]
fn a_file_has_one_share_in_a_place_that_only_some_users_can_change() {
    let share = given([shared().into()]);
    share.when(to_share(shared())).then_nothing();
    let public = FileShared { access_type: AccessType::Public, ..shared() };
    let changed = ShareChanged { access_type: AccessType::Public, permissions: None, expires_at: None };
    let own = Sharing { may_change: true, ..sharing(public.clone()) };
    share.when(Command::Share(Box::new(own))).then_once(changed.clone());
    // The share of another user, or values that the user may not give it.
    share.when(to_share(public.clone())).then_refused(Refusal::ShareExists);
    let theirs = FileShared { shared_by: UserId(Uuid::from_u128(4)), ..public };
    share.when(to_share(FileShared { access_type: AccessType::Private, ..theirs.clone() })).then_nothing();
    share.when(to_share(theirs.clone())).then_refused(Refusal::ShareExists);
    let allowed = Sharing { may_change: true, ..sharing(theirs) };
    share.when(Command::Share(Box::new(allowed))).then_once(changed);
    let elsewhere = FileShared { chatroom_id: None, thread_id: Some(ThreadId(Uuid::from_u128(5))), ..shared() };
    share.when(to_share(elsewhere)).then_refused(Refusal::IdTaken { what: "association" });
}

#[test]
fn a_share_that_has_ended_begins_again_but_not_by_a_repeated_request() {
    let theirs = FileShared { shared_by: UserId(Uuid::from_u128(4)), ..shared() };
    let over = FileShared { expires_at: Some(NOW), ..shared() };
    for ended in [given([shared().into(), ShareRevoked {}.into()]), given([over.into()])] {
        ended.when(to_share(theirs.clone())).then_once(theirs.clone());
        let repeated = Sharing { first_sent_at: Some(NOW), ..sharing(shared()) };
        ended.when(Command::Share(Box::new(repeated))).then_nothing();
    }
    // The place was deleted and opened again.
    let ended = Sharing { ended_at: Some(NOW), ..sharing(theirs.clone()) };
    let later = given([shared().into()]).at(NOW.plus_ms(1));
    later.when(Command::Share(Box::new(ended))).then_once(theirs);
}
