//! Folds directory events into `company`, `user`, `chatroom`, `thread` and `member`.

use super::convert::{big, small, time_of};
use super::misfit::Misfit;
use super::tables::Tables;
use waybill_read_model::ids::id_of_member;
use waybill_read_model::rows::{ChatroomRow, CompanyRow, MemberRow, ThreadRow, UserRow};
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{CompanyId, Place, Recorded};

pub(super) fn fold(
    tables: &mut Tables,
    company: CompanyId,
    event: &DirectoryEvent,
    recorded: &Recorded,
) -> Result<(), Misfit> {
    let time = time_of(recorded.envelope.time);
    let seq = big(recorded.position.seq);
    let company_id = company.0;
    match event {
        DirectoryEvent::CompanyRegistered(registered) => {
            let id = registered.company_id.0;
            let row = CompanyRow {
                id,
                created_at: time,
                max_file_bytes: None,
                max_session_bytes: None,
                allowed_mime_types: None,
                retention_days: None,
                deleted_at: None,
                link_max_age_s: None,
                link_max_downloads: None,
                limits: None,
                min_retention_days: None,
                tokens_valid_from: None,
                scan: None,
                unscanned: None,
                archive_after_days: None,
                strip_location: None,
            };
            if !tables.companies.add(row) {
                tables.companies.change(id)?.deleted_at = None;
            }
        }
        DirectoryEvent::CompanySettingsChanged(changed) => {
            let company = tables.companies.change(company_id)?;
            let settings = &changed.settings;
            company.max_file_bytes = settings.max_file_bytes.map(big);
            company.max_session_bytes = settings.max_session_bytes.map(big);
            company.allowed_mime_types.clone_from(&settings.allowed_mime_types);
            company.retention_days = settings.retention_days.map(small);
            company.link_max_age_s = settings.link_max_age_s.map(i64::from);
            company.link_max_downloads = settings.link_max_downloads.map(i64::from);
            company.scan = settings.scan.map(|policy| policy.as_str().to_owned());
            company.unscanned = settings.unscanned.map(|policy| policy.as_str().to_owned());
            company.archive_after_days = settings.archive_after_days.map(small);
            company.strip_location = settings.strip_location.map(|policy| policy.as_str().to_owned());
        }
        DirectoryEvent::CompanyLimitsSet(set) => {
            let company = tables.companies.change(company_id)?;
            let limits = serde_json::to_value(&set.limits);
            let limits = limits.map_err(|error| Misfit(format!("limits cannot be written as JSON: {error}")))?;
            company.limits = Some(limits);
            company.min_retention_days = set.min_retention_days.map(small);
        }
        DirectoryEvent::TokensInvalidated(invalidated) => {
            let from = Some(time_of(invalidated.issued_before));
            match invalidated.user_id {
                Some(user) => tables.users.change(user.0)?.tokens_valid_from = from,
                None => tables.companies.change(company_id)?.tokens_valid_from = from,
            }
        }
        DirectoryEvent::CompanyClosed(_) => tables.companies.change(company_id)?.deleted_at = Some(time),
        DirectoryEvent::UserRegistered(user) => {
            let id = user.user_id.0;
            if !tables.users.add(UserRow {
                company_id,
                id,
                created_at: time,
                deleted_at: None,
                removed_seq: 0,
                tokens_valid_from: None,
            }) {
                tables.users.change(id)?.deleted_at = None;
            }
        }
        DirectoryEvent::UserRemoved(user) => {
            let user = tables.users.change(user.user_id.0)?;
            user.deleted_at = Some(time);
            user.removed_seq = seq;
        }
        DirectoryEvent::ChatroomOpened(opened) => {
            let id = opened.chatroom_id.0;
            if !tables.chatrooms.add(ChatroomRow { company_id, id, created_at: time, deleted_at: None, deleted_seq: 0 })
            {
                tables.chatrooms.change(id)?.deleted_at = None;
            }
        }
        DirectoryEvent::ChatroomDeleted(deleted) => {
            let chatroom = tables.chatrooms.change(deleted.chatroom_id.0)?;
            chatroom.deleted_at = Some(time);
            chatroom.deleted_seq = seq;
        }
        DirectoryEvent::ThreadOpened(opened) => {
            let id = opened.thread_id.0;
            let added = tables.threads.add(ThreadRow {
                company_id,
                id,
                chatroom_id: opened.chatroom_id.map(|id| id.0),
                created_at: time,
                opened_seq: seq,
                deleted_at: None,
                deleted_seq: 0,
            });
            if !added {
                let thread = tables.threads.change(id)?;
                thread.deleted_at = None;
                thread.opened_seq = seq;
            }
        }
        DirectoryEvent::ThreadDeleted(deleted) => {
            let thread = tables.threads.change(deleted.thread_id.0)?;
            thread.deleted_at = Some(time);
            thread.deleted_seq = seq;
        }
        DirectoryEvent::MemberAdded(added) => {
            let (chatroom_id, thread_id) = match added.place {
                Place::Chatroom(id) => (Some(id.0), None),
                Place::Thread(id) => (None, Some(id.0)),
            };
            let id = id_of_member(company, added.place, added.user_id);
            let row = MemberRow {
                company_id,
                id,
                chatroom_id,
                thread_id,
                user_id: added.user_id.0,
                created_at: time,
                added_seq: seq,
                removed_at: None,
            };
            if !tables.members.add(row.clone()) {
                *tables.members.change(id)? = row;
            }
        }
        DirectoryEvent::MemberRemoved(removed) => {
            let id = id_of_member(company, removed.place, removed.user_id);
            tables.members.change(id)?.removed_at = Some(time);
        }
    }
    Ok(())
}
