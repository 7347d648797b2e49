//! Commands to a directory.

use crate::limits::Limits;
use waybill_schema::events::{CompanyLimitsSet, CompanySettings};
use waybill_schema::{ChatroomId, CompanyId, Place, ThreadId, Timestamp, UserId};

/// Command to a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Register the company, or open it again.
    RegisterCompany(CompanyId),
    /// Replace the company's own settings. They may not exceed the limits of the host product and of the installation.
    ChangeSettings(CompanySettings, Limits),
    /// Replace the limits that the host product sets. They may not exceed the limits of the installation.
    SetLimits(CompanyLimitsSet, Limits),
    /// Refuse tokens that were issued before a time.
    InvalidateTokens {
        /// The user. `None` stands for all users of the company.
        user_id: Option<UserId>,
        /// The time.
        issued_before: Timestamp,
    },
    /// Close the company: its users may not do anything any more.
    CloseCompany,
    /// Register a user, or bring a removed user back. Only the host product may do this.
    RegisterUser(UserId),
    /// Register the company because one of its users sent a valid token. A closed company stays closed.
    AdmitCompany(CompanyId),
    /// Register a user that sent a valid token. A removed user stays removed.
    Admit(UserId),
    /// Remove a user, who may not do anything any more.
    RemoveUser(UserId),
    /// Register a chatroom.
    OpenChatroom(ChatroomId),
    /// Delete a chatroom.
    DeleteChatroom(ChatroomId),
    /// Register a thread, which may belong to a chatroom.
    OpenThread(ThreadId, Option<ChatroomId>),
    /// Delete a thread.
    DeleteThread(ThreadId),
    /// Add a user to a place.
    AddMember(Place, UserId),
    /// Remove a user from a place.
    RemoveMember(Place, UserId),
}
