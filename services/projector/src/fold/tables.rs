//! The rows of one company, by table.

use super::rows::Rows;
use waybill_read_model::rows::{
    ChatroomRow, CompanyRow, ContentRow, DownloadTokenRow, EventPositionsRow, FileAssociationRow, FileRow,
    FileTotalRow, MemberRow, PartialUploadRow, QuotaReservationRow, StorageQuotaRow, ThreadRow, UploadProgressRow,
    UploadSessionRow, UserRow,
};

/// Rows of one company that a batch touches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) companies: Rows<CompanyRow>,
    pub(crate) users: Rows<UserRow>,
    pub(crate) chatrooms: Rows<ChatroomRow>,
    pub(crate) threads: Rows<ThreadRow>,
    pub(crate) members: Rows<MemberRow>,
    pub(crate) shares: Rows<FileAssociationRow>,
    pub(crate) tokens: Rows<DownloadTokenRow>,
    pub(crate) contents: Rows<ContentRow>,
    pub(crate) files: Rows<FileRow>,
    pub(crate) progress: Rows<UploadProgressRow>,
    pub(crate) partials: Rows<PartialUploadRow>,
    pub(crate) sessions: Rows<UploadSessionRow>,
    pub(crate) quotas: Rows<StorageQuotaRow>,
    pub(crate) reservations: Rows<QuotaReservationRow>,
    pub(crate) totals: Rows<FileTotalRow>,
    pub(crate) blocks: Rows<EventPositionsRow>,
}

impl Tables {
    /// Returns the number of rows in memory, including the ids of removed rows.
    pub(super) fn len(&self) -> usize {
        let uploads = self.progress.rows.len() + self.partials.rows.len();
        let files = self.files.rows.len() + uploads + self.sessions.rows.len();
        let places = self.chatrooms.rows.len() + self.threads.rows.len() + self.members.rows.len();
        let shared = self.shares.rows.len() + self.tokens.rows.len() + self.contents.rows.len();
        let others = self.companies.rows.len() + self.users.rows.len() + places + shared;
        let gone = self.tokens.gone.len() + self.reservations.gone.len();
        let space = self.quotas.rows.len() + self.reservations.rows.len() + self.totals.rows.len();
        files + others + gone + space + self.blocks.rows.len()
    }

    /// Marks all changes as written.
    pub(super) fn written(&mut self) {
        self.companies.written();
        self.users.written();
        self.chatrooms.written();
        self.threads.written();
        self.members.written();
        self.shares.written();
        self.tokens.written();
        self.contents.written();
        self.files.written();
        self.progress.written();
        self.partials.written();
        self.sessions.written();
        self.quotas.written();
        self.reservations.written();
        self.totals.written();
        self.blocks.written();
    }
}
