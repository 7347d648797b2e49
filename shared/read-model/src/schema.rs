//! Definitions of the tables for diesel.
//!
//! `WAYBILL_WRITE_DOCS=1 scripts/test tables::` prints this file from a database after all migrations.

diesel::table! {
    chatroom (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        deleted_seq -> Int8,
    }
}

diesel::table! {
    company (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        max_file_bytes -> Nullable<Int8>,
        max_session_bytes -> Nullable<Int8>,
        allowed_mime_types -> Nullable<Jsonb>,
        retention_days -> Nullable<Int4>,
        deleted_at -> Nullable<Timestamptz>,
        link_max_age_s -> Nullable<Int8>,
        link_max_downloads -> Nullable<Int8>,
        limits -> Nullable<Jsonb>,
        min_retention_days -> Nullable<Int4>,
        tokens_valid_from -> Nullable<Timestamptz>,
        #[max_length = 20]
        scan -> Nullable<Varchar>,
        #[max_length = 20]
        unscanned -> Nullable<Varchar>,
        archive_after_days -> Nullable<Int4>,
        #[max_length = 20]
        strip_location -> Nullable<Varchar>,
    }
}

diesel::table! {
    compressor (id) {
        id -> Uuid,
        alive_until -> Timestamptz,
    }
}

diesel::table! {
    content (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        #[max_length = 64]
        hash -> Varchar,
        #[max_length = 100]
        storage_bucket -> Varchar,
        #[max_length = 500]
        storage_key -> Varchar,
        size_bytes -> Int8,
        reference_count -> Int4,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        stored_bytes -> Nullable<Int8>,
    }
}

diesel::table! {
    download_token (company_id, id) {
        id -> Uuid,
        company_id -> Uuid,
        file_id -> Uuid,
        user_id -> Uuid,
        #[max_length = 255]
        token -> Varchar,
        expires_at -> Timestamptz,
        download_count -> Int4,
        max_downloads -> Nullable<Int4>,
        ip_address -> Nullable<Inet>,
        user_agent -> Nullable<Text>,
        created_at -> Timestamptz,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    event_positions (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        events -> Int8,
    }
}

diesel::table! {
    file (company_id, id) {
        id -> Uuid,
        company_id -> Uuid,
        thread_id -> Nullable<Uuid>,
        chatroom_id -> Nullable<Uuid>,
        uploaded_by -> Uuid,
        #[max_length = 255]
        original_name -> Varchar,
        #[max_length = 255]
        display_name -> Nullable<Varchar>,
        #[max_length = 100]
        mime_type -> Varchar,
        size_bytes -> Int8,
        #[max_length = 64]
        hash -> Nullable<Varchar>,
        #[max_length = 500]
        storage_key -> Nullable<Varchar>,
        #[max_length = 100]
        storage_bucket -> Nullable<Varchar>,
        download_url -> Nullable<Text>,
        metadata -> Nullable<Jsonb>,
        is_processed -> Bool,
        #[max_length = 20]
        processing_status -> Varchar,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        purged_at -> Nullable<Timestamptz>,
        search_name -> Text,
        metadata_text -> Nullable<Text>,
        restored_at -> Nullable<Timestamptz>,
        #[max_length = 20]
        scan_verdict -> Nullable<Varchar>,
        scan -> Nullable<Jsonb>,
        released_at -> Nullable<Timestamptz>,
        preview -> Nullable<Jsonb>,
        stored_bytes -> Nullable<Int8>,
        #[max_length = 20]
        storage_tier -> Varchar,
        restore_requested_at -> Nullable<Timestamptz>,
        location -> Nullable<Jsonb>,
        crc32 -> Nullable<Int8>,
        plain_crc32 -> Nullable<Int8>,
        upload_link_id -> Nullable<Uuid>,
        labels -> Nullable<Jsonb>,
        terms -> Nullable<Jsonb>,
    }
}

diesel::table! {
    file_association (company_id, id) {
        id -> Uuid,
        company_id -> Uuid,
        file_id -> Uuid,
        chatroom_id -> Nullable<Uuid>,
        thread_id -> Nullable<Uuid>,
        shared_by -> Uuid,
        #[max_length = 20]
        access_type -> Varchar,
        permissions -> Nullable<Jsonb>,
        expires_at -> Nullable<Timestamptz>,
        is_pinned -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        shared_seq -> Int8,
        revoked_at -> Nullable<Timestamptz>,
        parent_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    file_read (company_id, file_id) {
        company_id -> Uuid,
        file_id -> Uuid,
        read_at -> Timestamptz,
    }
}

diesel::table! {
    file_total (company_id) {
        company_id -> Uuid,
        file_bytes -> Int8,
        file_count -> Int8,
        releasing_bytes -> Int8,
        releasing_count -> Int8,
        last_purged_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    member (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        chatroom_id -> Nullable<Uuid>,
        thread_id -> Nullable<Uuid>,
        user_id -> Uuid,
        created_at -> Timestamptz,
        added_seq -> Int8,
        removed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    parked_event (partition, seq) {
        partition -> Int4,
        seq -> Int8,
        subject -> Text,
        aggregate -> Text,
        reason -> Text,
    }
}

diesel::table! {
    partial_upload (id) {
        id -> Uuid,
        company_id -> Uuid,
        uploaded_by -> Uuid,
        expires_at -> Timestamptz,
        has_ended -> Bool,
        upload_session_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    projection_checkpoint (partition) {
        partition -> Int4,
        epoch -> Text,
        seq -> Int8,
        lease_owner -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        last_id -> Text,
        blocks_from -> Int8,
        incarnation -> Uuid,
    }
}

diesel::table! {
    projector (id) {
        id -> Uuid,
        alive_until -> Timestamptz,
    }
}

diesel::table! {
    quota_reservation (company_id, upload_id) {
        upload_id -> Uuid,
        company_id -> Uuid,
        upload_session_id -> Nullable<Uuid>,
        bytes_total -> Int8,
        reserved_until -> Timestamptz,
    }
}

diesel::table! {
    storage_quota (id) {
        id -> Uuid,
        company_id -> Uuid,
        storage_limit_bytes -> Int8,
        storage_used_bytes -> Int8,
        storage_reserved_bytes -> Int8,
        file_count -> Int4,
        last_calculated_at -> Timestamptz,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    sweeper (id) {
        id -> Uuid,
        alive_until -> Timestamptz,
    }
}

diesel::table! {
    thread (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        chatroom_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        opened_seq -> Int8,
        deleted_at -> Nullable<Timestamptz>,
        deleted_seq -> Int8,
    }
}

diesel::table! {
    upload_link (company_id, id) {
        id -> Uuid,
        company_id -> Uuid,
        user_id -> Uuid,
        #[max_length = 255]
        label -> Nullable<Varchar>,
        expires_at -> Timestamptz,
        max_files -> Int4,
        max_bytes -> Int8,
        max_file_bytes -> Nullable<Int8>,
        mime_types -> Nullable<Jsonb>,
        chatroom_id -> Nullable<Uuid>,
        thread_id -> Nullable<Uuid>,
        ask_name -> Bool,
        created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    upload_progress (id) {
        id -> Uuid,
        company_id -> Uuid,
        upload_session_id -> Nullable<Uuid>,
        file_id -> Uuid,
        user_id -> Uuid,
        #[max_length = 20]
        status -> Varchar,
        progress_percentage -> Int4,
        bytes_uploaded -> Int8,
        total_bytes -> Int8,
        upload_speed -> Int8,
        estimated_time_remaining -> Nullable<Int4>,
        current_chunk -> Int4,
        total_chunks -> Int4,
        error_code -> Nullable<Text>,
        error_message -> Nullable<Text>,
        started_at -> Timestamptz,
        completed_at -> Nullable<Timestamptz>,
        last_updated_at -> Timestamptz,
        last_stored_at -> Nullable<Timestamptz>,
        expires_at -> Timestamptz,
        part_size_bytes -> Int8,
        covered -> Jsonb,
        applied_seq -> Int8,
        length_deferred -> Bool,
        quarantine_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    upload_session (id) {
        id -> Uuid,
        user_id -> Uuid,
        company_id -> Uuid,
        #[max_length = 255]
        session_name -> Nullable<Varchar>,
        total_files -> Int4,
        completed_files -> Int4,
        failed_files -> Int4,
        total_size -> Int8,
        uploaded_size -> Int8,
        #[max_length = 20]
        status -> Varchar,
        is_closed -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        completed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    user (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        removed_seq -> Int8,
        tokens_valid_from -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    chatroom,
    company,
    compressor,
    content,
    download_token,
    event_positions,
    file,
    file_association,
    file_read,
    file_total,
    member,
    parked_event,
    partial_upload,
    projection_checkpoint,
    projector,
    quota_reservation,
    storage_quota,
    sweeper,
    thread,
    upload_link,
    upload_progress,
    upload_session,
    user,
);
