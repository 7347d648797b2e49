//! Tests of the directory.

use crate::given::Given;
use proptest::prelude::*;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::directory::*;
use waybill_domain::limits::Limits;
use waybill_domain::media_type::TypePolicy;
use waybill_domain::token::LinkPolicy;
use waybill_schema::events::{CompanyLimitsSet, CompanySettings, CompanySettingsChanged, TokensInvalidated};
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
fn a_removed_user_or_chatroom_that_returns_has_no_memberships() {
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
fn commands_about_unregistered_companies_users_and_chatrooms_are_refused() {
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

fn types(entries: &[&str]) -> Option<Vec<String>> {
    Some(entries.iter().map(|entry| (*entry).to_owned()).collect())
}

#[test]
fn the_settings_of_a_company_only_tighten_the_limits_of_the_host_product() {
    let installation = Limits::default();
    let limits = CompanySettings {
        max_file_bytes: Some(1_000),
        allowed_mime_types: types(&["image/*", "application/pdf", "application/x-sh"]),
        retention_days: Some(100),
        link_max_age_s: Some(3_600),
        link_max_downloads: Some(5),
        ..CompanySettings::default()
    };
    let set = CompanyLimitsSet { limits: limits.clone(), min_retention_days: Some(10) };
    let company = directory([Command::RegisterCompany(COMPANY)]);
    let company = company.when(Command::SetLimits(set.clone(), installation)).then_once(set);
    for above in [
        CompanySettings { max_file_bytes: Some(1_001), ..CompanySettings::default() },
        CompanySettings { retention_days: Some(101), ..CompanySettings::default() },
        CompanySettings { retention_days: Some(9), ..CompanySettings::default() },
        CompanySettings { link_max_age_s: Some(3_601), ..CompanySettings::default() },
        CompanySettings { link_max_downloads: Some(6), ..CompanySettings::default() },
    ] {
        let change = company.when(Command::ChangeSettings(above, installation));
        change.then_refused_as(|refusal| matches!(refusal, Refusal::SettingsInvalid { .. }));
    }
    let own = CompanySettings {
        max_file_bytes: Some(10),
        allowed_mime_types: types(&["image/png", "text/*", "application/*"]),
        retention_days: Some(20),
        link_max_age_s: Some(0),
        ..CompanySettings::default()
    };
    let company = company.when(Command::ChangeSettings(own, installation)).then_an_event();
    let rules = company.state().rules();
    assert_eq!(rules.sizes(installation).max_file_bytes, 10);
    assert_eq!(rules.retention_days(), Some(20));
    assert_eq!(rules.links(), LinkPolicy { max_age_s: Some(0), max_downloads: Some(5) });
    // A program must be named by both lists.
    assert_eq!(rules.types(&TypePolicy::default()).allowed(), ["image/png", "application/pdf"]);
    // Lower limits apply immediately, and the company's own settings apply again after they were raised.
    let lower = CompanyLimitsSet {
        limits: CompanySettings { max_file_bytes: Some(5), ..limits },
        min_retention_days: Some(30),
    };
    let company = company.when(Command::SetLimits(lower, installation)).then_an_event();
    assert_eq!(company.state().rules().sizes(installation).max_file_bytes, 5);
    assert_eq!(company.state().rules().retention_days(), Some(30));
    let none = CompanyLimitsSet { limits: CompanySettings::default(), min_retention_days: None };
    let company = company.when(Command::SetLimits(none, installation)).then_an_event();
    assert_eq!(company.state().rules().sizes(installation).max_file_bytes, 10);
}

#[test]
fn tokens_are_invalidated_once_for_a_user_or_a_company() {
    let company = directory([Command::RegisterCompany(COMPANY), Command::RegisterUser(ANNA)]);
    let invalidate = |user_id, at| Command::InvalidateTokens { user_id, issued_before: Timestamp(at) };
    let nobody = UserId(Uuid::from_u128(77));
    company.when(invalidate(Some(nobody), 1)).then_refused(not_found("user"));
    let event = |user_id, at| TokensInvalidated { user_id, issued_before: Timestamp(at) };
    let company = company.when(invalidate(Some(ANNA), 5)).then_once(event(Some(ANNA), 5));
    company.when(invalidate(Some(ANNA), 4)).then_nothing();
    let company = company.when(invalidate(None, 4)).then_once(event(None, 4));
    company.when(invalidate(Some(ANNA), 6)).then(event(Some(ANNA), 6));
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
