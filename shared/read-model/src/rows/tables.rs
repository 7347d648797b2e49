//! One struct per table, with the columns of the table as fields. Sizes are in bytes, and times are in UTC.
//!
//! `schema.rs` is printed from the migrated database, and a row compiles only if it has exactly the columns of its
//! table. Clients see rows of sessions and quotas as they are.

use super::columns::{Column, is_column};
use super::{JsonText, Row};
use crate::schema;
use crate::statement::Bind;
use chrono::{DateTime, Utc};
use diesel::{Queryable, Selectable, Table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{AccessType, ProcessingStatus, RangeSet, SessionStatus, UploadStatus};

macro_rules! row {
    ($(#[$doc:meta])* $name:ident, $table:ident, key: $key:literal, id: $id:ident, of: $company:ident, { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "the columns are documented in the migration and in docs/data-model.md")]
        pub struct $name {
            $($(#[$fdoc])* pub $field: $type,)*
        }

        impl Row for $name {
            const NAME: &'static str = stringify!($table);
            const TABLE: &'static str = concat!("\"", stringify!($table), "\"");
            const KEY: &'static str = $key;
            const ID: &'static str = stringify!($id);
            const COMPANY: &'static str = stringify!($company);
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field),)*];
            const CASTS: &'static [&'static str] = &[$(<$type as Column>::CAST,)*];

            fn lookup_id(&self) -> Uuid {
                self.$id
            }

            fn company_id(&self) -> Uuid {
                self.$company
            }

            fn parse(json: &str) -> Result<Self, serde_json::Error> {
                serde_json::from_str(json)
            }

            fn arrays(rows: &[&Self]) -> Result<Vec<Bind>, serde_json::Error> {
                Ok(vec![$(Column::array(rows.iter().map(|row| &row.$field))?,)*])
            }
        }

        // Compiles only if the fields are the columns of the table, in the order of the table.
        const _: <schema::$table::table as Table>::AllColumns = ($(schema::$table::$field,)*);
        const _: fn() = || {
            $(is_column::<schema::$table::$field, $type>();)*
        };
    };
}

row! {
    /// A tenant.
    CompanyRow, company, key: "id", id: id, of: id, {
        id: Uuid,
        created_at: DateTime<Utc>,
        max_file_bytes: Option<i64>,
        max_session_bytes: Option<i64>,
        allowed_mime_types: Option<Vec<String>>,
        retention_days: Option<i32>,
        deleted_at: Option<DateTime<Utc>>,
        link_max_age_s: Option<i64>,
        link_max_downloads: Option<i64>,
        limits: Option<serde_json::Value>,
        min_retention_days: Option<i32>,
        tokens_valid_from: Option<DateTime<Utc>>,
        scan: Option<String>,
        unscanned: Option<String>,
        archive_after_days: Option<i32>,
        strip_location: Option<String>,
    }
}

row! {
    /// A user of a company.
    UserRow, user, key: "company_id, id", id: id, of: company_id, {
        company_id: Uuid,
        id: Uuid,
        created_at: DateTime<Utc>,
        deleted_at: Option<DateTime<Utc>>,
        removed_seq: i64,
        tokens_valid_from: Option<DateTime<Utc>>,
    }
}

row! {
    /// A chatroom of the host product.
    ChatroomRow, chatroom, key: "company_id, id", id: id, of: company_id, {
        company_id: Uuid,
        id: Uuid,
        created_at: DateTime<Utc>,
        deleted_at: Option<DateTime<Utc>>,
        deleted_seq: i64,
    }
}

row! {
    /// A thread of the host product.
    ThreadRow, thread, key: "company_id, id", id: id, of: company_id, {
        company_id: Uuid,
        id: Uuid,
        chatroom_id: Option<Uuid>,
        created_at: DateTime<Utc>,
        opened_seq: i64,
        deleted_at: Option<DateTime<Utc>>,
        deleted_seq: i64,
    }
}

row! {
    /// A member of a chatroom or thread.
    MemberRow, member, key: "company_id, id", id: id, of: company_id, {
        company_id: Uuid,
        id: Uuid,
        chatroom_id: Option<Uuid>,
        thread_id: Option<Uuid>,
        user_id: Uuid,
        created_at: DateTime<Utc>,
        added_seq: i64,
        removed_at: Option<DateTime<Utc>>,
    }
}

row! {
    /// An association of a file with a chatroom or thread.
    FileAssociationRow, file_association, key: "company_id, id", id: id, of: company_id, {
        id: Uuid,
        company_id: Uuid,
        file_id: Uuid,
        chatroom_id: Option<Uuid>,
        thread_id: Option<Uuid>,
        shared_by: Uuid,
        access_type: AccessType,
        permissions: Option<serde_json::Value>,
        expires_at: Option<DateTime<Utc>>,
        is_pinned: bool,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
        shared_seq: i64,
        revoked_at: Option<DateTime<Utc>>,
        parent_id: Option<Uuid>,
    }
}

row! {
    /// A download token.
    DownloadTokenRow, download_token, key: "company_id, id", id: id, of: company_id, {
        id: Uuid,
        company_id: Uuid,
        file_id: Uuid,
        user_id: Uuid,
        token: String,
        expires_at: DateTime<Utc>,
        download_count: i32,
        max_downloads: Option<i32>,
        ip_address: Option<std::net::IpAddr>,
        user_agent: Option<String>,
        created_at: DateTime<Utc>,
        last_used_at: Option<DateTime<Utc>>,
        revoked_at: Option<DateTime<Utc>>,
    }
}

row! {
    /// An upload link. Sizes are in bytes.
    UploadLinkRow, upload_link, key: "company_id, id", id: id, of: company_id, {
        id: Uuid,
        company_id: Uuid,
        user_id: Uuid,
        label: Option<String>,
        expires_at: DateTime<Utc>,
        max_files: i32,
        max_bytes: i64,
        max_file_bytes: Option<i64>,
        mime_types: Option<Vec<String>>,
        chatroom_id: Option<Uuid>,
        thread_id: Option<Uuid>,
        ask_name: bool,
        created_at: DateTime<Utc>,
        revoked_at: Option<DateTime<Utc>>,
    }
}

row! {
    /// An object that several files of a company with equal digests refer to, or one that is compressed or was moved.
    ContentRow, content, key: "company_id, id", id: id, of: company_id, {
        company_id: Uuid,
        id: Uuid,
        hash: String,
        storage_bucket: String,
        storage_key: String,
        size_bytes: i64,
        reference_count: i32,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
        stored_bytes: Option<i64>,
    }
}

row! {
    /// A file. The row exists from the start of the upload on.
    FileRow, file, key: "company_id, id", id: id, of: company_id, {
        id: Uuid,
        company_id: Uuid,
        thread_id: Option<Uuid>,
        chatroom_id: Option<Uuid>,
        uploaded_by: Uuid,
        original_name: String,
        display_name: Option<String>,
        mime_type: String,
        size_bytes: i64,
        hash: Option<String>,
        storage_key: Option<String>,
        storage_bucket: Option<String>,
        download_url: Option<String>,
        metadata: Option<JsonText>,
        is_processed: bool,
        processing_status: ProcessingStatus,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
        deleted_at: Option<DateTime<Utc>>,
        purged_at: Option<DateTime<Utc>>,
        search_name: String,
        metadata_text: Option<String>,
        restored_at: Option<DateTime<Utc>>,
        scan_verdict: Option<String>,
        scan: Option<serde_json::Value>,
        released_at: Option<DateTime<Utc>>,
        preview: Option<serde_json::Value>,
        stored_bytes: Option<i64>,
        storage_tier: String,
        restore_requested_at: Option<DateTime<Utc>>,
        location: Option<serde_json::Value>,
        crc32: Option<i64>,
        plain_crc32: Option<i64>,
        upload_link_id: Option<Uuid>,
        labels: Option<serde_json::Value>,
        terms: Option<serde_json::Value>,
    }
}

row! {
    /// A session, as clients see it. Sizes are in bytes.
    #[derive(Queryable, Selectable, ToSchema)]
    #[diesel(table_name = schema::upload_session, check_for_backend(diesel::pg::Pg))]
    #[schema(as = Session)]
    UploadSessionRow, upload_session, key: "id", id: id, of: company_id, {
        id: Uuid,
        user_id: Uuid,
        company_id: Uuid,
        session_name: Option<String>,
        total_files: i32,
        completed_files: i32,
        failed_files: i32,
        total_size: i64,
        uploaded_size: i64,
        #[diesel(deserialize_as = String)]
        #[schema(value_type = String)]
        status: SessionStatus,
        is_closed: bool,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
        completed_at: Option<DateTime<Utc>>,
    }
}

row! {
    /// The progress of an upload.
    UploadProgressRow, upload_progress, key: "id", id: id, of: company_id, {
        id: Uuid,
        company_id: Uuid,
        upload_session_id: Option<Uuid>,
        file_id: Uuid,
        user_id: Uuid,
        status: UploadStatus,
        progress_percentage: i32,
        bytes_uploaded: i64,
        total_bytes: i64,
        upload_speed: i64,
        estimated_time_remaining: Option<i32>,
        current_chunk: i32,
        total_chunks: i32,
        error_code: Option<String>,
        error_message: Option<String>,
        started_at: DateTime<Utc>,
        completed_at: Option<DateTime<Utc>>,
        last_updated_at: DateTime<Utc>,
        last_stored_at: Option<DateTime<Utc>>,
        expires_at: DateTime<Utc>,
        part_size_bytes: i64,
        covered: RangeSet,
        applied_seq: i64,
        length_deferred: bool,
        quarantine_until: Option<DateTime<Utc>>,
    }
}

row! {
    /// A partial upload, which becomes a part of a final upload.
    PartialUploadRow, partial_upload, key: "id", id: id, of: company_id, {
        id: Uuid,
        company_id: Uuid,
        uploaded_by: Uuid,
        expires_at: DateTime<Utc>,
        has_ended: bool,
        upload_session_id: Option<Uuid>,
    }
}

row! {
    /// The quota of a company.
    #[derive(Queryable, Selectable)]
    #[diesel(table_name = schema::storage_quota, check_for_backend(diesel::pg::Pg))]
    StorageQuotaRow, storage_quota, key: "company_id", id: company_id, of: company_id, {
        id: Uuid,
        company_id: Uuid,
        storage_limit_bytes: i64,
        storage_used_bytes: i64,
        storage_reserved_bytes: i64,
        file_count: i32,
        last_calculated_at: DateTime<Utc>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

row! {
    /// The reservation of an upload, until it is settled.
    QuotaReservationRow, quota_reservation, key: "company_id, upload_id", id: upload_id, of: company_id, {
        upload_id: Uuid,
        company_id: Uuid,
        upload_session_id: Option<Uuid>,
        bytes_total: i64,
        reserved_until: DateTime<Utc>,
    }
}

row! {
    /// Positions of a company's events in a block of the log ([`crate::blocks`]).
    EventPositionsRow, event_positions, key: "company_id, id", id: id, of: company_id, {
        company_id: Uuid,
        id: Uuid,
        events: i64,
    }
}

row! {
    /// Number and total size of a company's files, derived from the events of the files.
    FileTotalRow, file_total, key: "company_id", id: company_id, of: company_id, {
        company_id: Uuid,
        file_bytes: i64,
        file_count: i64,
        releasing_bytes: i64,
        releasing_count: i64,
        last_purged_at: Option<DateTime<Utc>>,
    }
}
