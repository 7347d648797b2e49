//! The list of the tables that events are folded into. All code that handles every table is generated from it.

/// Calls the macro `$callback` with all tables that events are folded into, each as `name: Row,`. Tables come before the
/// tables that refer to them.
#[macro_export]
macro_rules! with_tables {
    ($callback:ident) => {
        $callback! {
            companies: $crate::rows::CompanyRow,
            users: $crate::rows::UserRow,
            chatrooms: $crate::rows::ChatroomRow,
            threads: $crate::rows::ThreadRow,
            members: $crate::rows::MemberRow,
            files: $crate::rows::FileRow,
            shares: $crate::rows::FileAssociationRow,
            tokens: $crate::rows::DownloadTokenRow,
            links: $crate::rows::UploadLinkRow,
            contents: $crate::rows::ContentRow,
            sessions: $crate::rows::UploadSessionRow,
            progress: $crate::rows::UploadProgressRow,
            partials: $crate::rows::PartialUploadRow,
            quotas: $crate::rows::StorageQuotaRow,
            reservations: $crate::rows::QuotaReservationRow,
            totals: $crate::rows::FileTotalRow,
            blocks: $crate::rows::EventPositionsRow,
        }
    };
}

/// A table with rows of companies.
pub(crate) struct OfCompanies {
    /// Name of the table.
    pub(crate) name: &'static str,
    /// Name of the table in SQL.
    pub(crate) table: &'static str,
    /// The column with the company.
    pub(crate) company: &'static str,
}

macro_rules! tables {
    ($($name:ident: $row:ty,)*) => {
        /// The tables that events are folded into. Tables come before the tables that refer to them.
        pub(crate) const TABLES: &[OfCompanies] = &[$(OfCompanies {
            name: <$row as super::Row>::NAME,
            table: <$row as super::Row>::TABLE,
            company: <$row as super::Row>::COMPANY,
        },)*];
    };
}

with_tables!(tables);
