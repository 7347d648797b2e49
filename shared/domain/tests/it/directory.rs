//! Tests of the directory.

use crate::given::Given;
use proptest::prelude::*;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::directory::*;
use waybill_domain::limits::Limits;
use waybill_schema::events::{CompanySettings, CompanySettingsChanged};
use waybill_schema::*;

const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));
const ANNA: UserId = UserId(Uuid::from_u128(2));
const ROOM: ChatroomId = ChatroomId(Uuid::from_u128(3));
const THREAD: ThreadId = ThreadId(Uuid::from_u128(4));

/// Returns a directory after commands that are carried out.
fn directory(commands: impl IntoIterator<Item = Command>) -> Given<DirectoryAggregate> {
    let mut directory = Given::new([]);
    for command in commands {
        directory.carry_out(command).unwrap();
    }
    directory
}

fn with_member() -> Given<DirectoryAggregate> {
    directory([
        Command::RegisterCompany(COMPANY),
        Command::RegisterUser(ANNA),
        Command::OpenChatroom(ROOM),
        Command::OpenThread(THREAD, Some(ROOM)),
        Command::AddMember(Place::Chatroom(ROOM), ANNA),
    ])
}

fn not_found(what: &'static str) -> Refusal {
    Refusal::NotFound { what }
}

fn is_member(directory: &Given<DirectoryAggregate>, place: Place) -> bool {
    directory.state().is_member(place, ANNA)
}

#[test]
fn a_member_of_a_chatroom_is_one_of_its_threads() {
    let directory = with_member();
    assert!(is_member(&directory, Place::Chatroom(ROOM)));
    assert!(is_member(&directory, Place::Thread(THREAD)));
}

#[test]
fn what_comes_back_comes_without_its_members() {
    for (end, again) in [
        (Command::RemoveUser(ANNA), Command::RegisterUser(ANNA)),
        (Command::DeleteChatroom(ROOM), Command::OpenChatroom(ROOM)),
    ] {
        let ended = with_member().when(end).then_an_event();
        assert!(!is_member(&ended, Place::Chatroom(ROOM)));
        assert!(!is_member(&ended, Place::Thread(THREAD)));
        let back = ended.when(again).then_an_event();
        assert!(!is_member(&back, Place::Chatroom(ROOM)));
        assert!(!is_member(&back, Place::Thread(THREAD)));
    }
}

#[test]
fn a_thread_goes_with_its_chatroom_and_is_not_moved() {
    let other = ChatroomId(Uuid::from_u128(9));
    let directory = with_member().when(Command::OpenChatroom(other)).then_an_event();
    directory.when(Command::OpenThread(THREAD, Some(other))).then_refused(Refusal::IdTaken { what: "thread" });
    let directory = directory.when(Command::DeleteChatroom(ROOM)).then_an_event();
    assert!(!directory.state().is_place(Place::Thread(THREAD)));
    directory.when(Command::OpenThread(THREAD, Some(ROOM))).then_refused(not_found("chatroom"));
}

#[test]
fn who_was_removed_is_brought_back_by_the_host_alone() {
    let removed = directory([Command::AdmitCompany(COMPANY), Command::Admit(ANNA), Command::RemoveUser(ANNA)]);
    removed.when(Command::Admit(ANNA)).then_refused(Refusal::NotRegistered);
    let back = removed.when(Command::RegisterUser(ANNA)).then_an_event();
    assert!(back.state().is_active(ANNA));
    let closed = back.when(Command::CloseCompany).then_an_event();
    assert!(!closed.state().is_active(ANNA));
    closed.when(Command::AdmitCompany(COMPANY)).then_refused(Refusal::NotRegistered);
    closed.when(Command::RegisterUser(ANNA)).then_refused(Refusal::NotRegistered);
    let open = closed.when(Command::RegisterCompany(COMPANY)).then_an_event();
    assert!(open.state().is_active(ANNA));
}

#[test]
fn nothing_is_said_of_what_is_not_there() {
    let nobody = directory([]);
    nobody.when(Command::RegisterUser(ANNA)).then_refused(not_found("company"));
    let company = nobody.when(Command::RegisterCompany(COMPANY)).then_an_event();
    company.when(Command::RemoveUser(ANNA)).then_refused(not_found("user"));
    company.when(Command::AddMember(Place::Chatroom(ROOM), ANNA)).then_refused(not_found("chatroom"));
    let thread = company.when(Command::OpenThread(THREAD, None)).then_an_event();
    thread.when(Command::AddMember(Place::Thread(THREAD), ANNA)).then_refused(not_found("user"));
}

#[test]
fn settings_stay_below_the_limits() {
    let company = directory([Command::RegisterCompany(COMPANY)]);
    let limits = Limits::default();
    let good = CompanySettings {
        max_file_bytes: Some(limits.max_file_bytes),
        allowed_mime_types: Some(vec!["image/*".to_owned(), "application/pdf".to_owned()]),
        retention_days: Some(30),
        ..CompanySettings::default()
    };
    for bad in [
        CompanySettings { max_file_bytes: Some(limits.max_file_bytes + 1), ..good.clone() },
        CompanySettings { max_session_bytes: Some(0), ..good.clone() },
        CompanySettings { retention_days: Some(0), ..good.clone() },
        CompanySettings { allowed_mime_types: Some(vec!["everything".to_owned()]), ..good.clone() },
        CompanySettings { allowed_mime_types: Some(vec!["Image/*".to_owned()]), ..good.clone() },
    ] {
        let change = company.when(Command::ChangeSettings(bad, limits));
        change.then_refused_as(|refusal| matches!(refusal, Refusal::SettingsInvalid { .. }));
    }
    let changed = CompanySettingsChanged { settings: good.clone() };
    company.when(Command::ChangeSettings(good, limits)).then_once(changed);
}

fn commands() -> impl Strategy<Value = Command> {
    let user = (0..3_u128).prop_map(|n| UserId(Uuid::from_u128(n)));
    let room = (0..2_u128).prop_map(|n| ChatroomId(Uuid::from_u128(n)));
    let thread = (0..2_u128).prop_map(|n| ThreadId(Uuid::from_u128(n)));
    let place = prop_oneof![room.clone().prop_map(Place::Chatroom), thread.clone().prop_map(Place::Thread)];
    prop_oneof![
        Just(Command::RegisterCompany(COMPANY)),
        Just(Command::CloseCompany),
        user.clone().prop_map(Command::RegisterUser),
        user.clone().prop_map(Command::Admit),
        user.clone().prop_map(Command::RemoveUser),
        room.clone().prop_map(Command::OpenChatroom),
        room.clone().prop_map(Command::DeleteChatroom),
        (thread.clone(), prop::option::of(room)).prop_map(|(thread, room)| Command::OpenThread(thread, room)),
        thread.prop_map(Command::DeleteThread),
        (place.clone(), user.clone()).prop_map(|(place, user)| Command::AddMember(place, user)),
        (place, user).prop_map(|(place, user)| Command::RemoveMember(place, user)),
    ]
}

proptest! {
    /// Repeating a command that was carried out has no effect, and removed users have no memberships.
    #[test]
    fn repeating_changes_nothing(commands in prop::collection::vec(commands(), 1..60)) {
        let mut directory = directory([Command::RegisterCompany(COMPANY)]);
        for command in commands {
            let is_carried_out = directory.carry_out(command.clone()).is_ok();
            let state = directory.state();
            if is_carried_out {
                prop_assert_eq!(decide(state, command.clone()).unwrap_or_default(), None, "{:?}", command);
            }
            let users = (0..3_u128).map(|n| UserId(Uuid::from_u128(n)));
            for user in users.filter(|user| state.is_open() && !state.is_active(*user)) {
                let belongs = (0..2_u128).map(Uuid::from_u128).any(|id| {
                    state.is_member(Place::Chatroom(ChatroomId(id)), user)
                        || state.is_member(Place::Thread(ThreadId(id)), user)
                });
                prop_assert!(!belongs, "{} is a member", user);
            }
        }
    }
}
