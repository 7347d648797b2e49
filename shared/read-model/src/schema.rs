//! Definitions for diesel of the tables that typed queries use.

diesel::table! {
    file (company_id, id) {
        id -> Uuid,
        company_id -> Uuid,
        thread_id -> Nullable<Uuid>,
        chatroom_id -> Nullable<Uuid>,
        uploaded_by -> Uuid,
        original_name -> Varchar,
        display_name -> Nullable<Varchar>,
        mime_type -> Varchar,
        size_bytes -> BigInt,
        hash -> Nullable<Varchar>,
        storage_key -> Nullable<Varchar>,
        storage_bucket -> Nullable<Varchar>,
        download_url -> Nullable<Text>,
        metadata -> Nullable<Jsonb>,
        is_processed -> Bool,
        processing_status -> Varchar,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        purged_at -> Nullable<Timestamptz>,
        search_name -> Text,
        metadata_text -> Nullable<Text>,
    }
}

diesel::table! {
    user (company_id, id) {
        company_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        removed_seq -> BigInt,
    }
}

diesel::table! {
    upload_session (id) {
        id -> Uuid,
        user_id -> Uuid,
        company_id -> Uuid,
        session_name -> Nullable<Varchar>,
        total_files -> Integer,
        completed_files -> Integer,
        failed_files -> Integer,
        total_size -> BigInt,
        uploaded_size -> BigInt,
        status -> Varchar,
        is_closed -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        completed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    upload_progress (id) {
        id -> Uuid,
        company_id -> Uuid,
        upload_session_id -> Nullable<Uuid>,
        file_id -> Uuid,
        user_id -> Uuid,
        status -> Varchar,
        progress_percentage -> Integer,
        bytes_uploaded -> BigInt,
        total_bytes -> BigInt,
        upload_speed -> BigInt,
        estimated_time_remaining -> Nullable<Integer>,
        current_chunk -> Integer,
        total_chunks -> Integer,
        error_code -> Nullable<Text>,
        error_message -> Nullable<Text>,
        started_at -> Timestamptz,
        completed_at -> Nullable<Timestamptz>,
        last_updated_at -> Timestamptz,
        expires_at -> Timestamptz,
        quarantine_until -> Nullable<Timestamptz>,
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
    storage_quota (id) {
        id -> Uuid,
        company_id -> Uuid,
        storage_limit_bytes -> BigInt,
        storage_used_bytes -> BigInt,
        storage_reserved_bytes -> BigInt,
        file_count -> Integer,
        last_calculated_at -> Timestamptz,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    quota_reservation (company_id, upload_id) {
        upload_id -> Uuid,
        company_id -> Uuid,
        upload_session_id -> Nullable<Uuid>,
        bytes_total -> BigInt,
        reserved_until -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(quota_reservation, upload_progress, partial_upload);
