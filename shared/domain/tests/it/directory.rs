//! Tests of the directory.

use proptest::prelude::*;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::directory::*;
use waybill_domain::limits::Limits;
use waybill_schema::events::{CompanySettings, DirectoryEvent};
use waybill_schema::*;

const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));
const ANNA: UserId = UserId(Uuid::from_u128(2));
const ROOM: ChatroomId = ChatroomId(Uuid::from_u128(3));
const THREAD: ThreadId = ThreadId(Uuid::from_u128(4));

fn run(state: &mut State, command: Command) -> Result<Option<DirectoryEvent>, Refusal> {
    let event = decide(state, command)?;
    event.iter().for_each(|event| evolve(state, event));
    Ok(event)
}

fn directory(commands: impl IntoIterator<Item = Command>) -> State {
    let mut state = State::default();
    for command in commands {
        run(&mut state, command).unwrap();
    }
    state
}

fn with_member() -> State {
    directory([
        Command::RegisterCompany(COMPANY),
        Command::RegisterUser(ANNA),
        Command::OpenChatroom(ROOM),
        Command::OpenThread(THREAD, Some(ROOM)),
        Command::AddMember(Place::Chatroom(ROOM), ANNA),
    ])
}

#[test]
fn a_member_of_a_chatroom_is_one_of_its_threads() {
    let state = with_member();
    assert!(state.is_member(Place::Chatroom(ROOM), ANNA));
    assert!(state.is_member(Place::Thread(THREAD), ANNA));
}

#[test]
fn what_comes_back_comes_without_its_members() {
    for (end, again) in [
        (Command::RemoveUser(ANNA), Command::RegisterUser(ANNA)),
        (Command::DeleteChatroom(ROOM), Command::OpenChatroom(ROOM)),
    ] {
        let mut state = with_member();
        run(&mut state, end).unwrap();
        assert!(!state.is_member(Place::Chatroom(ROOM), ANNA));
        assert!(!state.is_member(Place::Thread(THREAD), ANNA));
        run(&mut state, again).unwrap();
        assert!(!state.is_member(Place::Chatroom(ROOM), ANNA));
        assert!(!state.is_member(Place::Thread(THREAD), ANNA));
    }
}

#[test]
fn a_thread_goes_with_its_chatroom_and_is_not_moved() {
    let mut state = with_member();
    let other = ChatroomId(Uuid::from_u128(9));
    run(&mut state, Command::OpenChatroom(other)).unwrap();
    let moved = run(&mut state, Command::OpenThread(THREAD, Some(other)));
    assert_eq!(moved, Err(Refusal::IdTaken { what: "thread" }));
    run(&mut state, Command::DeleteChatroom(ROOM)).unwrap();
    assert!(!state.is_place(Place::Thread(THREAD)));
    let gone = run(&mut state, Command::OpenThread(THREAD, Some(ROOM)));
    assert_eq!(gone, Err(Refusal::NotFound { what: "chatroom" }));
}

#[test]
fn who_was_removed_is_brought_back_by_the_host_alone() {
    let mut state = directory([Command::AdmitCompany(COMPANY), Command::Admit(ANNA), Command::RemoveUser(ANNA)]);
    assert_eq!(decide(&state, Command::Admit(ANNA)), Err(Refusal::NotRegistered));
    run(&mut state, Command::RegisterUser(ANNA)).unwrap();
    assert!(state.is_active(ANNA));
    run(&mut state, Command::CloseCompany).unwrap();
    assert!(!state.is_active(ANNA));
    assert_eq!(decide(&state, Command::AdmitCompany(COMPANY)), Err(Refusal::NotRegistered));
    assert_eq!(decide(&state, Command::RegisterUser(ANNA)), Err(Refusal::NotRegistered));
    run(&mut state, Command::RegisterCompany(COMPANY)).unwrap();
    assert!(state.is_active(ANNA));
}

#[test]
fn nothing_is_said_of_what_is_not_there() {
    let mut state = State::default();
    let not_found = |what| Err(Refusal::NotFound { what });
    assert_eq!(decide(&state, Command::RegisterUser(ANNA)), not_found("company"));
    run(&mut state, Command::RegisterCompany(COMPANY)).unwrap();
    assert_eq!(decide(&state, Command::RemoveUser(ANNA)), not_found("user"));
    assert_eq!(decide(&state, Command::AddMember(Place::Chatroom(ROOM), ANNA)), not_found("chatroom"));
    run(&mut state, Command::OpenThread(THREAD, None)).unwrap();
    assert_eq!(decide(&state, Command::AddMember(Place::Thread(THREAD), ANNA)), not_found("user"));
}

#[test]
fn settings_stay_below_the_limits() {
    let mut state = directory([Command::RegisterCompany(COMPANY)]);
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
        let refused = decide(&state, Command::ChangeSettings(bad.clone(), limits));
        assert!(matches!(refused, Err(Refusal::SettingsInvalid { .. })), "{bad:?}");
    }
    assert!(run(&mut state, Command::ChangeSettings(good.clone(), limits)).unwrap().is_some());
    assert_eq!(run(&mut state, Command::ChangeSettings(good, limits)), Ok(None));
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
        let mut state = directory([Command::RegisterCompany(COMPANY)]);
        for command in commands {
            if run(&mut state, command.clone()).is_ok() {
                prop_assert_eq!(decide(&state, command.clone()).unwrap_or_default(), None, "{:?}", command);
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
