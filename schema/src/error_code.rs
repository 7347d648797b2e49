//! Error codes. Clients decide by them, and `FileRejected` events contain them, so a code never changes its meaning.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

macro_rules! error_codes {
    ($($name:ident $text:literal [$($status:literal),*] $meaning:literal $members:literal;)*) => {
        /// Stable code of an error. `docs/errors.md` is generated from these definitions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $name,)*
        }

        impl ErrorCode {
            /// All codes, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the code as clients and events contain it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns the HTTP statuses that answers with this code have. A code that only describes a failed upload
            /// has none.
            pub const fn statuses(self) -> &'static [u16] {
                match self {
                    $(Self::$name => &[$($status),*],)*
                }
            }

            /// Returns what the code means and what the client should do, in Markdown.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }

            /// Returns the further members of answers with this code, in Markdown. The text is empty if the answer has no such members.
            pub const fn members(self) -> &'static str {
                match self {
                    $(Self::$name => $members,)*
                }
            }
        }

        impl FromStr for ErrorCode {
            type Err = UnknownErrorCode;

            fn from_str(text: &str) -> Result<Self, UnknownErrorCode> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(UnknownErrorCode(text.to_owned())),
                }
            }
        }
    };
}

error_codes! {
    ArchiveEmpty "archive_empty" [422] "None of the files can be downloaded, so that the archive would be empty" "";
    ArchiveInvalid "archive_invalid" [422] "The request names no files, or files in more than one way. Send exactly one of `file_ids`, `chatroom_id`, `thread_id` and `session_id`" "";
    ArchiveStale "archive_stale" [410] "The archive has expired, or a file of it has changed or can no longer be read by the user who made it. Make a new one with `POST /v1/archives`" "";
    ArchiveTooLarge "archive_too_large" [413] "The archive would have more than 1,000 files or 50 GiB. Make several archives" "`limit_bytes`";
    AssociationExists "association_exists" [409] "The file has an association with this chatroom or thread that another user created, and the caller may not change it. Ask the uploader or an admin to change it" "`association_id`";
    AssociationInvalid "association_invalid" [422] "The association is invalid: it names no chatroom or thread, its expiry is in the past, or it is `RESTRICTED` without named users" "";
    AssociationsExhausted "associations_exhausted" [409] "The file has as many associations as the operator allows (`WAYBILL_ASSOCIATIONS_PER_FILE`). Revoke associations that are not needed" "";
    BodyIncomplete "body_incomplete" [400] "The body ended early. Bytes of a chunk or a tus upload that arrived are stored: ask for the offset and continue. A file in one request or in a form is not stored: send it again, or in chunks" "";
    BodyTooSlow "body_too_slow" [408] "The body arrived too slowly. Send JSON within 30 s, and bytes at 100 bytes per second or more" "";
    ChecksumInvalid "checksum_invalid" [400] "The algorithm of the checksum is unknown, or the value has the wrong form for it" "";
    ChunkDiffers "chunk_differs" [409] "Other bytes are already stored for this chunk, or the repeated bytes were cut differently and cannot be compared. Ask what is missing, and send only that" "";
    ChunkIncomplete "chunk_incomplete" [400] "The body is shorter than the chunk. To send a piece of a chunk, use `Content-Range`" "";
    ChunkIndexInvalid "chunk_index_invalid" [400] "The upload has no chunk with this index" "`total_chunks`";
    ChunksMissing "chunks_missing" [409] "Bytes are missing" "`missing`: `[[from, to), …]`";
    ContentRangeInvalid "content_range_invalid" [400] "`Content-Range` is not inside the chunk" "";
    ContentTypeRefused "content_type_refused" [415] "The route expects JSON, or the media type of the upload protocol, or plain bytes instead of a form. `POST /v1/files` also accepts `multipart/form-data`. With curl: `-F file=@NAME`, or `--data-binary @NAME` with `-H 'Content-Type: …'`" "";
    CursorInvalid "cursor_invalid" [400] "The cursor was not issued to this company" "";
    DigestInvalid "digest_invalid" [400, 422] "The value is not a SHA-256" "";
    DigestMismatch "digest_mismatch" [400, 422] "The bytes do not have the declared SHA-256. Of a chunk nothing was stored; a file is `FAILED`" "";
    DirectUnavailable "direct_unavailable" [409] "Clients cannot reach the object store of this server. Upload in another way; the operator can set `WAYBILL_S3_PUBLIC_ENDPOINT`" "";
    DirectoryFull "directory_full" [409] "The directory has as many users, chatrooms, threads and memberships as the operator allows (`WAYBILL_DIRECTORY_MAX_ENTRIES`). Remove memberships that are not needed; removed users and places still count" "";
    DownloadRunning "download_running" [429] "Another request downloads the file with the same link. Try again after `Retry-After`" "";
    EncodingRefused "encoding_refused" [415] "Send the bytes without `Content-Encoding`" "";
    EventBudgetExhausted "event_budget_exhausted" [429] "The user (`WAYBILL_EVENT_BYTES_PER_USER`) or the company sent too many changes or too much metadata. Uploads without much metadata and all reads still work. Wait for `Retry-After`" "";
    FileArchived "file_archived" [409] "The file is archived. Send `POST /v1/files/{id}/thaw`, and wait for the event `FileThawed` over the WebSocket" "";
    FileDeleted "file_deleted" [409, 410] "The file was deleted" "";
    FileInfected "file_infected" [403] "The virus scanner found something in the file. Nobody can read it until an administrator releases it (`POST /v1/files/{id}/release`). `scan` of the file has the name of what was found" "";
    FileNotDeleted "file_not_deleted" [409] "Only a deleted file can be purged" "";
    FileNotQuarantined "file_not_quarantined" [409] "Only an infected or unscanned file can be released" "";
    FileNotReady "file_not_ready" [409] "The file is not verified, or the company requires a virus scan that is not complete, or that the metadata of pictures is removed, which is not done yet. Try again after `Retry-After`, or wait for the event `FileScanned` or `LocationStripped` over the WebSocket" "";
    FileTooLarge "file_too_large" [413] "The file exceeds the limit for one file" "`limit_bytes`";
    FileUnscanned "file_unscanned" [403] "The file could not be scanned for viruses completely, and the company does not permit such files. An administrator can release it (`POST /v1/files/{id}/release`). `scan` of the file has the reason" "";
    FormInvalid "form_invalid" [400] "The form cannot be read, does not have exactly one file, or has a field that describes the file after it. Put fields first, and send each file in its own request" "";
    HeaderInvalid "header_invalid" [400] "A header of the upload protocol has an invalid value" "";
    HeaderMissing "header_missing" [400] "A header of the upload protocol is missing" "";
    IdInvalid "id_invalid" [422] "An id is not a UUID" "";
    IdTaken "id_taken" [409] "The id was used for something else" "";
    IdempotencyKeyInvalid "idempotency_key_invalid" [400] "The key must have 1 to 255 bytes" "";
    IdempotencyKeyReused "idempotency_key_reused" [422] "The key was used with another request" "";
    IdempotencyKeysExhausted "idempotency_keys_exhausted" [429] "The user or the company has used its new keys of the last 24 hours. Earlier keys still work. Wait for `Retry-After`, or send the request without a key" "";
    Internal "internal" [500] "A fault of Waybill" "";
    JsonInvalid "json_invalid" [400, 422] "The JSON cannot be read, or has unknown members. 422 if it contains half a surrogate pair" "";
    JsonTooLarge "json_too_large" [413] "The JSON has more than 64 KiB" "";
    LabelsInvalid "labels_invalid" [422] "The file would have more than 50 labels, or a label is empty, has more than 100 characters or contains a control character" "";
    LengthConflict "length_conflict" [400] "The length differs from the known one" "";
    LengthUnknown "length_unknown" [409] "The length was deferred and must be set first" "";
    LimitInvalid "limit_invalid" [422] "The storage limit is too large, or above the limit that the host product set" "`limit_bytes`";
    LinkEnded "link_ended" [410] "The upload link was revoked or has expired, or the account of the person who made it has ended. Ask for a new one" "";
    LinkExhausted "link_exhausted" [413] "The upload link does not permit so many files or bytes" "`left_files`, `left_bytes`";
    LinkForbidden "link_forbidden" [403] "An upload link only permits to upload files" "";
    LinkInvalid "link_invalid" [422] "The upload link would be invalid: `expires_in_s` is 1 to 7,776,000, `max_files` 1 to 10,000, the label has at most 255 bytes, and `mime_types` at most 50 entries" "";
    LinkNameRequired "link_name_required" [422] "The upload link asks for the name of the sender. Send `sender_name` in the metadata" "";
    LinksExhausted "links_exhausted" [409] "The company has as many upload links as it may have. Wait until some have expired" "";
    LinksForbidden "links_forbidden" [403] "The company does not allow download links" "";
    MediaUrlEnded "media_url_ended" [410] "The media URL has expired, or the access that it gave has ended. Ask for a new one (`POST /v1/media-urls`), before `refresh_at` if possible" "";
    MediaUrlInvalid "media_url_invalid" [403] "The media URL was changed, or signed with a key that is no longer valid. Use URLs as `POST /v1/media-urls` returns them" "";
    MediaUrlsInvalid "media_urls_invalid" [422] "The request has no item or more than 200, or `ttl_s` is not within 60 to 3,600" "";
    MetadataInvalid "metadata_invalid" [400] "The metadata cannot be read or stored (a number beyond the range of a double, a NUL), or an id in `Upload-Metadata` is not a UUID" "";
    MetadataTooLarge "metadata_too_large" [413] "The metadata has more than 8 KiB" "";
    MethodNotAllowed "method_not_allowed" [405] "The URL does not support the method; `Allow` lists those that it supports" "";
    NameInvalid "name_invalid" [422] "The name contains path or control characters, or characters that can disguise the extension, has more than 255 UTF-16 units, or is not UTF-8. Rename the file" "";
    NotFound "not_found" [404] "The object does not exist, or it belongs to somebody else" "";
    NotPermitted "not_permitted" [403] "The user may see the file, but may not do this with it" "";
    NotReady "not_ready" [503] "A server that Waybill needs does not answer" "`failing`";
    NotRegistered "not_registered" [403] "The company or the user is not, or no longer, in the directory" "";
    OffsetMismatch "offset_mismatch" [409] "The upload continues at another offset" "`offset_bytes`";
    OriginRefused "origin_refused" [403] "The origin of the WebSocket is neither the server's own nor in `WAYBILL_ALLOWED_ORIGINS`" "";
    PartMissing "part_missing" [409] "The store has no such part with this `ETag`. Get a new URL for the part and send it again" "`part_number`";
    PartialUnfit "partial_unfit" [409, 422] "An upload cannot be concatenated: it is not a partial upload, not complete, or part of another file" "";
    PartsDiffer "parts_differ" [422] "The stored parts differ from the acknowledged ones; the file is `FAILED`" "";
    PartsInvalid "parts_invalid" [400] "A part does not belong to the upload or has another size, or a completion has no parts or the wrong order" "`part_size_bytes`";
    PartsLost "parts_lost" [422] "The store no longer has the parts; the file is `FAILED`" "";
    PieceTooSmall "piece_too_small" [400] "The upload already consists of 10,000 pieces, and this piece is too small. Send at least `least_bytes` new bytes in each request (1/40,000 of the file), or up to the end of a file of known length. In tus clients this is the chunk size" "`least_bytes`";
    PositionInvalid "position_invalid" [400] "`Waybill-Min-Position` or `after` was never issued" "";
    PreconditionFailed "precondition_failed" [412] "The file does not have the entity tag of `If-Match`. Ask for its present one with `HEAD`, and start again" "";
    PreviewAbsent "preview_absent" [404] "The file has no such preview, or not yet. `preview` of the file lists its previews, or the reason why it has no previews. Wait for the event `PreviewsMade` over the WebSocket" "";
    ProjectionBehind "projection_behind" [503] "The read model has not reached the position yet" "";
    QueryInvalid "query_invalid" [400] "The query string cannot be read" "";
    QuotaExceeded "quota_exceeded" [413] "The file needs more space than is free. Also the `error_code` of an upload of unknown size that became too large" "`storage_used_bytes`, `storage_reserved_bytes`, `storage_limit_bytes`";
    RangeUnsatisfiable "range_unsatisfiable" [416] "No byte of the range exists" "";
    RequestInvalid "request_invalid" [400] "`signRequest` of Uppy does not send such a request, or the request has two `Host` headers" "";
    RoleRequired "role_required" [403] "The token lacks a role" "";
    SessionEnded "session_ended" [409] "The session is closed, cancelled or expired" "";
    SessionTooLarge "session_too_large" [413] "The files of the session together would exceed its limit" "`limit_bytes`";
    SettingsInvalid "settings_invalid" [422] "The settings are outside of what a company may have" "";
    SizeExceeded "size_exceeded" [413] "The body has more bytes than declared. In the IETF protocol this ends the upload" "";
    Superseded "superseded" [409] "A newer request for the same bytes took over" "";
    TicketInvalid "ticket_invalid" [401] "The WebSocket ticket is unknown, used or expired" "";
    TokenEnded "token_ended" [410] "The download token was revoked, has expired, or has no downloads left" "";
    TokenInvalid "token_invalid" [401] "The token is expired or not valid for this service" "";
    TokenMissing "token_missing" [401] "The request needs a token" "";
    TokenSettingsInvalid "token_settings_invalid" [422] "The settings of the download token are out of range (lifetime 1 s to 30 days, `max_downloads` 1 to 10,000)" "";
    TooManyAtOnce "too_many_at_once" [429] "The user, the company, the download link or the client address has too many downloads, uploads, waits, audit exports or WebSockets at the same time; `detail` says which. Wait for `Retry-After`, or until one has ended" "";
    TooManyOperations "too_many_operations" [413] "The request has more than 1,000 operations" "";
    TooManyRequests "too_many_requests" [429] "Wait as long as `Retry-After` says" "";
    TooManyUploads "too_many_uploads" [429] "The user (`WAYBILL_OPEN_UPLOADS_PER_USER`) or the company (`WAYBILL_OPEN_UPLOADS_PER_COMPANY`) has too many open uploads. Complete or cancel some, and wait for `Retry-After`" "";
    TypeRefused "type_refused" [415, 422] "The company does not accept the type, or opening the file would run something ([File types](file-types.md)); 422 if the content shows it after the upload. Do not send the file again; put a program into an archive" "";
    Unavailable "unavailable" [503] "A server does not answer. Try again" "";
    UpgradeRequired "upgrade_required" [400] "A WebSocket must begin with a handshake (RFC 6455)" "";
    UploadCompleted "upload_completed" [409] "The upload is complete" "";
    UploadEnded "upload_ended" [410] "The upload was cancelled, rejected or has expired, or its file was deleted. Start a new one. tus gets 404 for HEAD" "";
    UploadExpired "upload_expired" [] "`error_code` of an upload that nobody continued in time" "";
    UploadKind "upload_kind" [403, 409] "The bytes of this upload arrive in another way" "";
    UserRequired "user_required" [403] "A service token cannot act as a user" "";
    UserLimitExceeded "user_limit_exceeded" [413] "The files and open uploads of the user would exceed the limit that an administrator set for users. Delete files, or ask an administrator" "`storage_used_bytes`, `storage_reserved_bytes`, `storage_limit_bytes`, all of the user";
    UserSpaceExceeded "user_space_exceeded" [413] "The open uploads of one user would reserve more than the user's share of the company's quota (`WAYBILL_USER_RESERVED_PERCENT`). Complete or cancel uploads first" "`limit_bytes`";
    VersionRefused "version_refused" [412] "Send `Tus-Resumable: 1.0.0`" "";
    WrongListener "wrong_listener" [403] "The host product has an address of its own (`WAYBILL_HOST_ADDR`), and the request came to the other address" "";
}

/// Error of parsing a code that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown error code {0:?}; a newer version of Waybill may have sent it")]
pub struct UnknownErrorCode(pub String);

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
