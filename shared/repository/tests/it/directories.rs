//! Tests of directories: the cost of a change does not depend on the size of the directory.

use crate::counted::{CountedLog, context};
use std::sync::Arc;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::directory::{Command, State};
use waybill_repository::{Directories, DirectoryLimits, ExecuteError};
use waybill_schema::{ChatroomId, CompanyId, Place, UserId};

const USERS: u64 = 1_000;

fn directories(log: &Arc<CountedLog>, max_entries: usize) -> Directories {
    Directories::new(log.clone(), DirectoryLimits { max_entries, kept_entries: 2_000_000 })
}

fn user(number: u64) -> UserId {
    UserId(Uuid::from_u128(1_000 + u128::from(number)))
}

fn room(number: u64) -> ChatroomId {
    ChatroomId(Uuid::from_u128(1_000_000 + u128::from(number)))
}

/// Registers a company with [`USERS`] users.
async fn company(directories: &Directories) -> CompanyId {
    let company = CompanyId(Uuid::now_v7());
    let users = (0..USERS).map(|number| Command::RegisterUser(user(number)));
    directories.run(company, &context(), [Command::RegisterCompany(company)].into_iter().chain(users)).await.unwrap();
    company
}

/// Returns the commands for a chatroom with all users, as one request of an import contains them.
fn bulk(number: u64) -> Vec<Command> {
    let members = (0..USERS).map(|member| Command::AddMember(Place::Chatroom(room(number)), user(member)));
    [Command::OpenChatroom(room(number))].into_iter().chain(members).collect()
}

async fn import(log: &CountedLog, directories: &Directories, company: CompanyId, bulks: u64) -> Vec<usize> {
    let mut reads = Vec::new();
    for number in 0..bulks {
        log.read();
        let commands = bulk(number);
        directories
            .look(company, |state| waybill_domain::directory::check_all(state, &commands, 2_000_000))
            .await
            .unwrap()
            .unwrap();
        directories.run(company, &context(), commands).await.unwrap();
        reads.push(log.read());
    }
    reads
}

#[tokio::test]
async fn an_import_reads_nothing_again_and_a_cold_load_reads_the_snapshot_and_what_came_since() {
    const BULKS: u64 = 60;
    let log = Arc::new(CountedLog::new());
    let first = directories(&log, 2_000_000);
    let company = company(&first).await;
    let reads = import(&log, &first, company, BULKS).await;
    // At most one read for each check of the end of the log: when the request is checked, and when it is carried out.
    assert!(reads.iter().all(|read| *read <= 4), "{reads:?}");
    let entries = first.look(company, State::len).await.unwrap();
    assert_eq!(entries as u64, USERS + BULKS * (USERS + 1));

    log.read();
    let second = directories(&log, 2_000_000);
    let same = second
        .look(company, |state| {
            (state.len(), state.counts(), state.is_member(Place::Chatroom(room(BULKS - 1)), user(7)))
        })
        .await
        .unwrap();
    assert_eq!(same, (entries, (1_000, 60, 0), true));
    let read = log.read();
    assert!(read < 2_000 + entries / 16 + 200, "{read} events were read for {entries} entries");

    // Each process sees the changes of the other one.
    second.run(company, &context(), [Command::RemoveUser(user(7))]).await.unwrap();
    assert!(!first.look(company, |state| state.is_active(user(7))).await.unwrap());
    assert_eq!(first.look(company, State::len).await.unwrap() as u64, entries as u64 - BULKS);
}

#[tokio::test]
async fn a_directory_that_is_full_takes_nothing_new_until_something_is_removed() {
    let log = Arc::new(CountedLog::new());
    let directories = directories(&log, 1_003);
    let company = company(&directories).await;
    let member = |number| Command::AddMember(Place::Chatroom(room(0)), user(number));
    let commands = [Command::OpenChatroom(room(0)), member(0), member(1)];
    directories.run(company, &context(), commands).await.unwrap();
    let full = ExecuteError::Refused(Refusal::DirectoryFull { max_entries: 1_003 });
    for (index, commands) in
        [(0, vec![member(2)]), (1, vec![member(0), Command::RegisterUser(UserId(Uuid::from_u128(5)))])]
    {
        assert_eq!(directories.run(company, &context(), commands.clone()).await, Err((index, full.clone())));
        let checked = directories.look(company, |state| {
            waybill_domain::directory::check_all(state, &commands, 1_003).map_err(|(index, _)| index)
        });
        assert_eq!(checked.await, Ok(Err(index)));
    }
    directories.run(company, &context(), [Command::RemoveUser(user(1)), member(2)]).await.unwrap();
}

#[tokio::test]
async fn two_large_directories_stay_as_long_as_both_are_in_use() {
    let log = Arc::new(CountedLog::new());
    let directories = Directories::new(log.clone(), DirectoryLimits { max_entries: 2_000_000, kept_entries: 1_400 });
    let (one, other) = (company(&directories).await, company(&directories).await);
    for _ in 0..3 {
        for company in [one, other] {
            log.read();
            assert_eq!(directories.look(company, State::len).await.unwrap() as u64, USERS);
            assert_eq!(log.read(), 1);
        }
    }
    // There are now more than twice as many entries as the limit: the least recently used directory is evicted.
    company(&directories).await;
    log.read();
    directories.look(other, State::len).await.unwrap();
    assert_eq!(log.read(), 1);
    directories.look(one, State::len).await.unwrap();
    assert!(log.read() > 1_000);
}

/// This also holds for reads while another process appends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_look_wait_for_nobody_and_see_all_that_was_there_before() {
    let log = Arc::new(CountedLog::new());
    let (first, second) = (Arc::new(directories(&log, 2_000_000)), Arc::new(directories(&log, 2_000_000)));
    let company = company(&first).await;
    let writers = [(first.clone(), 0), (second.clone(), 1)].map(|(directories, number)| {
        tokio::spawn(async move { directories.run(company, &context(), bulk(number)).await.unwrap() })
    });
    let mut before = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let entries = first.look(company, State::len).await.unwrap();
        assert!(entries >= before);
        before = entries;
        tokio::task::yield_now().await;
    }
    for directories in [first, second] {
        assert_eq!(directories.look(company, State::len).await.unwrap() as u64, USERS + 2 * (USERS + 1));
    }
}
