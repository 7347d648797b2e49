//! Query for access rights. It is a single statement, so that all data are as of one checkpoint.

use super::Scan;
use crate::ReadModelError;
use crate::projection::signed;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;
use waybill_schema::events::CompanySettings;
use waybill_schema::{AccessType, ChatroomId, CompanyId, FileId, Permissions, Place, ShareId, ThreadId, UserId};

/// The objects whose access rights are requested.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Wanted {
    /// Files, with the associations that can concern the user: for the uploader all of them, for others those that
    /// they created, those of places of which they are a member, and those for the whole company; and with the
    /// associations that these rest on.
    pub files: Vec<FileId>,
    /// `true` if all associations of the files are needed, for example because the user is an admin.
    pub every_share: bool,
    /// `true` if the associations are needed with all users that they name, because the user wants to share the file or
    /// to change an association. Otherwise they name only the user and the authors of associations that rest on them.
    pub all_names: bool,
    /// Places that the user was added to recently, so that the tables may not have the memberships yet.
    pub joined: Vec<Place>,
    /// Chatrooms.
    pub chatrooms: Vec<ChatroomId>,
    /// Threads, with the chatrooms that they belong to.
    pub threads: Vec<ThreadId>,
}

/// Data from the tables for deciding access.
#[derive(Clone, Debug, Deserialize)]
pub struct AccessRows {
    /// The checkpoint of these data.
    pub seq: u64,
    /// The epoch of the stream at this checkpoint.
    pub epoch: Option<String>,
    /// The incarnation of the rows.
    pub incarnation: Option<Uuid>,
    /// `true` if an event of the partition is parked, so that the data can change without an event.
    pub has_parked: bool,
    /// The company, if it is registered.
    pub company: Option<CompanyAccess>,
    /// The user, if they are registered.
    pub user: Option<UserAccess>,
    /// The requested files that exist.
    pub files: Vec<FileAccess>,
    /// Associations of these files that were not revoked and can concern the user.
    pub shares: Vec<ShareAccess>,
    /// The users that shared these files by another association.
    pub authors: Vec<AuthorAccess>,
    /// The chatrooms that exist and are not deleted.
    pub chatrooms: Vec<ChatroomAccess>,
    /// The threads that exist, including deleted ones.
    pub threads: Vec<ThreadAccess>,
    /// Those of the requested aggregates that have parked events. Their data in the tables may be outdated.
    pub parked: Vec<String>,
    /// Those of the chatrooms of which the user is a member.
    pub member_of_chatrooms: Vec<ChatroomId>,
    /// Those of the threads of which the user is a member.
    pub member_of_threads: Vec<ThreadId>,
}

/// A company.
#[derive(Clone, Debug, Deserialize)]
pub struct CompanyAccess {
    /// `true` if the company was closed.
    pub is_closed: bool,
    /// Limits that the host product set.
    #[serde(default, deserialize_with = "or_default")]
    pub limits: CompanySettings,
    /// Minimum number of days for which files are kept.
    pub min_retention_days: Option<u32>,
    /// The company's own settings.
    pub settings: CompanySettings,
    /// Tokens of all users that were issued before this time are invalid.
    pub tokens_valid_from: Option<DateTime<Utc>>,
}

/// A user.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct UserAccess {
    /// `true` if the user was removed.
    pub is_removed: bool,
    /// Tokens of the user that were issued before this time are invalid.
    pub tokens_valid_from: Option<DateTime<Utc>>,
}

/// Reads a value that is the default if it is `null`.
fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CompanySettings, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A file. The query returns an array with the fields in this order, which costs less than an object.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in waybill_domain::access")]
pub struct FileAccess {
    pub id: FileId,
    pub uploaded_by: UserId,
    pub is_verified: bool,
    pub is_deleted: bool,
    pub is_purged: bool,
    pub scan: Option<Scan>,
    pub is_released: bool,
}

/// An association. The query returns an array with the fields in this order.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in waybill_domain::access")]
pub struct ShareAccess {
    pub id: ShareId,
    pub file_id: FileId,
    pub chatroom_id: Option<ChatroomId>,
    pub thread_id: Option<ThreadId>,
    pub shared_by: UserId,
    pub parent: Option<ShareId>,
    pub access_type: AccessType,
    /// Without the grants of users that [`Wanted::all_names`] leaves out.
    pub permissions: Option<Permissions>,
    pub expires_at: Option<DateTime<Utc>>,
    /// `true` if its chatroom or thread is deleted, or was deleted after the association was created, or if the
    /// association that it rests on has begun again since then.
    pub ended: bool,
}

/// A user that shared a file by another association.
#[derive(Clone, Debug, Deserialize)]
pub struct AuthorAccess {
    /// Id.
    pub id: UserId,
    /// `true` if the user was removed.
    pub is_removed: bool,
    /// Those of the chatrooms of which the user is a member.
    pub chatrooms: Vec<ChatroomId>,
    /// Those of the threads of which the user is a member.
    pub threads: Vec<ThreadId>,
}

/// A chatroom that is not deleted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ChatroomAccess {
    /// Id.
    pub id: ChatroomId,
    /// Sequence of the latest deletion, or 0 if the chatroom was never deleted.
    pub deleted_seq: u64,
}

/// A thread.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ThreadAccess {
    /// Id.
    pub id: ThreadId,
    /// The chatroom that the thread belongs to.
    pub chatroom_id: Option<ChatroomId>,
    /// `true` if neither the thread nor its chatroom is deleted.
    pub is_open: bool,
    /// Sequence of the latest deletion of the thread or its chatroom, or 0 if neither was ever deleted.
    pub deleted_seq: u64,
}

const OPERATION: &str = "reading access rights";

/// Uses the primary keys of companies, users, chatrooms, threads and files, and `idx_file_association_file_id` for
/// associations. Ids are compared with `= ANY(ARRAY(…))` instead of joined, so that no plan reads all threads, chatrooms or users of a
/// company.
const TEXT: &str = r#"
WITH RECURSIVE viewer AS MATERIALIZED (
    SELECT u.deleted_at, u.removed_seq, u.tokens_valid_from FROM "user" u WHERE u.company_id = :company AND u.id = :user
),
memberships AS MATERIALIZED (
    SELECT m.chatroom_id, m.thread_id, m.added_seq FROM member m, viewer v
    WHERE m.company_id = :company AND m.user_id = :user AND m.removed_at IS NULL AND m.added_seq > v.removed_seq
),
rooms AS MATERIALIZED (
    SELECT chatroom_id AS id FROM memberships WHERE chatroom_id IS NOT NULL UNION SELECT unnest(:joined_chatrooms)
),
wanted_files AS MATERIALIZED (
    SELECT f.id, f.uploaded_by, f.is_processed, f.deleted_at, f.purged_at, f.scan, f.released_at
    FROM file f WHERE f.company_id = :company AND f.id = ANY(:files)
),
direct AS MATERIALIZED (
    SELECT a.id, a.file_id, a.chatroom_id, a.thread_id, a.shared_by, a.parent_id, a.access_type, a.permissions, a.expires_at,
        a.shared_seq
    FROM file_association a JOIN wanted_files f ON f.id = a.file_id
    WHERE a.file_id = ANY(:files) AND a.company_id = :company AND a.revoked_at IS NULL
        AND (:every_share OR f.uploaded_by = :user OR a.shared_by = :user OR (
            (a.expires_at IS NULL OR a.expires_at > now()) AND (
                a.access_type = 'PUBLIC'
                OR a.chatroom_id IN (SELECT id FROM rooms)
                OR a.thread_id IN (SELECT thread_id FROM memberships WHERE thread_id IS NOT NULL)
                OR a.thread_id = ANY(:joined_threads)
                OR (SELECT t.chatroom_id FROM thread t WHERE t.company_id = :company AND t.id = a.thread_id)
                    IN (SELECT id FROM rooms))))
),
above (id, file_id, parent_id) AS (
    SELECT a.id, a.file_id, a.parent_id FROM direct d
    JOIN file_association a ON a.company_id = :company AND a.id = d.parent_id AND a.file_id = d.file_id
    WHERE d.parent_id IS NOT NULL AND a.revoked_at IS NULL
    UNION
    SELECT a.id, a.file_id, a.parent_id FROM above
    JOIN file_association a ON a.company_id = :company AND a.id = above.parent_id AND a.file_id = above.file_id
    WHERE above.parent_id IS NOT NULL AND a.revoked_at IS NULL
),
found AS MATERIALIZED (
    SELECT * FROM direct
    UNION ALL
    SELECT a.id, a.file_id, a.chatroom_id, a.thread_id, a.shared_by, a.parent_id, a.access_type, a.permissions, a.expires_at,
        a.shared_seq
    FROM file_association a WHERE a.company_id = :company
        AND a.id = ANY(ARRAY(SELECT id FROM above WHERE id NOT IN (SELECT id FROM direct)))
),
named (id, name) AS (
    (
        SELECT found.id, :user_text::text FROM found
        UNION SELECT found.parent_id, found.shared_by::text FROM found WHERE found.parent_id IS NOT NULL
    )
    UNION SELECT found.parent_id, named.name FROM named JOIN found ON found.id = named.id
    WHERE found.parent_id IS NOT NULL
),
shares AS MATERIALIZED (
    SELECT a.id, a.file_id, a.chatroom_id, a.thread_id, a.shared_by, a.parent_id, a.access_type, a.expires_at, a.shared_seq,
        CASE WHEN :all_names OR a.permissions IS NULL THEN a.permissions ELSE jsonb_build_object(
            'everyone', a.permissions -> 'everyone',
            'users', (SELECT coalesce(jsonb_object_agg(n.name, a.permissions -> 'users' -> n.name), '{}')
                FROM named n WHERE n.id = a.id AND a.permissions -> 'users' -> n.name IS NOT NULL)) END AS permissions
    FROM found a
),
threads AS MATERIALIZED (
    SELECT t.id, t.chatroom_id,
        t.deleted_at IS NULL
            AND (t.chatroom_id IS NULL OR (r.deleted_at IS NULL AND t.opened_seq > r.deleted_seq)) AS is_open,
        greatest(t.deleted_seq, coalesce(r.deleted_seq, 0)) AS deleted_seq
    FROM thread t
    LEFT JOIN chatroom r ON r.company_id = :company AND r.id = t.chatroom_id
    WHERE t.company_id = :company AND t.id = ANY(ARRAY(SELECT unnest(:threads) UNION SELECT thread_id FROM shares))
),
chatrooms AS MATERIALIZED (
    SELECT r.id, r.deleted_at IS NULL AS is_open, r.deleted_seq FROM chatroom r
    WHERE r.company_id = :company AND r.id = ANY(ARRAY(
        SELECT unnest(:chatrooms) UNION SELECT chatroom_id FROM shares UNION SELECT chatroom_id FROM threads))
),
authors AS MATERIALIZED (
    SELECT u.id, u.deleted_at, u.removed_seq FROM "user" u
    WHERE u.company_id = :company AND u.id = ANY(ARRAY(SELECT DISTINCT shared_by FROM shares WHERE parent_id IS NOT NULL))
),
memberships_of_authors AS MATERIALIZED (
    SELECT m.user_id, m.chatroom_id, m.thread_id, m.added_seq FROM authors u
    JOIN member m ON m.company_id = :company AND m.user_id = u.id
    WHERE m.removed_at IS NULL AND m.added_seq > u.removed_seq
)
SELECT json_build_object(
    'seq', coalesce((SELECT seq FROM projection_checkpoint WHERE partition = :partition), 0),
    'epoch', (SELECT epoch FROM projection_checkpoint WHERE partition = :partition),
    'incarnation', (SELECT incarnation FROM projection_checkpoint WHERE partition = :partition),
    'has_parked', EXISTS (SELECT FROM parked_event WHERE partition = :partition),
    'company', (SELECT json_build_object(
        'is_closed', c.deleted_at IS NOT NULL,
        'limits', c.limits,
        'min_retention_days', c.min_retention_days,
        'settings', json_build_object(
            'max_file_bytes', c.max_file_bytes,
            'max_session_bytes', c.max_session_bytes,
            'allowed_mime_types', c.allowed_mime_types,
            'retention_days', c.retention_days,
            'link_max_age_s', c.link_max_age_s,
            'link_max_downloads', c.link_max_downloads,
            'scan', c.scan,
            'unscanned', c.unscanned,
            'archive_after_days', c.archive_after_days,
            'strip_location', c.strip_location),
        'tokens_valid_from', c.tokens_valid_from) FROM company c WHERE c.id = :company),
    'user', (SELECT json_build_object('is_removed', v.deleted_at IS NOT NULL, 'tokens_valid_from', v.tokens_valid_from)
        FROM viewer v),
    'files', (SELECT coalesce(json_agg(json_build_array(
        f.id, f.uploaded_by, f.is_processed, f.deleted_at IS NOT NULL, f.purged_at IS NOT NULL, f.scan, f.released_at IS NOT NULL)), '[]')
        FROM wanted_files f),
    'shares', (SELECT coalesce(json_agg(json_build_array(
        a.id, a.file_id, a.chatroom_id, a.thread_id, a.shared_by, a.parent_id, a.access_type, a.permissions, a.expires_at,
        (a.chatroom_id IS NOT NULL AND NOT coalesce(r.is_open AND a.shared_seq > r.deleted_seq, false))
            OR (a.thread_id IS NOT NULL AND NOT coalesce(t.is_open AND a.shared_seq > t.deleted_seq, false))
            OR (a.parent_id IS NOT NULL
                AND EXISTS (SELECT FROM shares p WHERE p.id = a.parent_id AND p.shared_seq > a.shared_seq)))), '[]')
        FROM shares a LEFT JOIN chatrooms r ON r.id = a.chatroom_id LEFT JOIN threads t ON t.id = a.thread_id),
    'authors', (SELECT coalesce(json_agg(json_build_object(
        'id', u.id,
        'is_removed', u.deleted_at IS NOT NULL,
        'chatrooms', (SELECT coalesce(json_agg(r.id), '[]') FROM memberships_of_authors m
            JOIN chatrooms r ON r.id = m.chatroom_id
            WHERE m.user_id = u.id AND r.is_open AND m.added_seq > r.deleted_seq),
        'threads', (SELECT coalesce(json_agg(t.id), '[]') FROM memberships_of_authors m
            JOIN threads t ON t.id = m.thread_id
            WHERE m.user_id = u.id AND t.is_open AND m.added_seq > t.deleted_seq))), '[]') FROM authors u),
    'chatrooms', (SELECT coalesce(json_agg(json_build_object('id', id, 'deleted_seq', deleted_seq)), '[]')
        FROM chatrooms WHERE is_open),
    'threads', (SELECT coalesce(json_agg(json_build_object(
        'id', id, 'chatroom_id', chatroom_id, 'is_open', is_open, 'deleted_seq', deleted_seq)), '[]') FROM threads),
    'parked', (SELECT coalesce(json_agg(DISTINCT p.aggregate), '[]') FROM parked_event p WHERE p.aggregate IN (
        SELECT :company::text || '.directory'
        UNION ALL SELECT :company::text || '.file.' || f.id FROM unnest(:files) f (id)
        UNION ALL SELECT :company::text || '.share.' || s.id FROM shares s)),
    'member_of_chatrooms', (SELECT coalesce(json_agg(r.id), '[]') FROM memberships m
        JOIN chatrooms r ON r.id = m.chatroom_id WHERE r.is_open AND m.added_seq > r.deleted_seq),
    'member_of_threads', (SELECT coalesce(json_agg(t.id), '[]') FROM memberships m
        JOIN threads t ON t.id = m.thread_id WHERE t.is_open AND m.added_seq > t.deleted_seq)
)::text AS known
"#;

impl AccessRows {
    /// Reads the text that [`access_rows`] returns.
    ///
    /// # Errors
    /// [`ReadModelError`] if it has another form.
    pub fn parse(text: &str) -> Result<Self, ReadModelError> {
        serde_json::from_str(text).map_err(ReadModelError::row(OPERATION))
    }
}

/// Reads the data for deciding the access of a user to the objects in `wanted`, as the text of [`AccessRows`].
///
/// # Errors
/// [`ReadModelError`].
pub fn access_rows<'a>(
    connection: &'a mut AsyncPgConnection,
    partition: u32,
    company: CompanyId,
    user: UserId,
    wanted: &'a Wanted,
) -> BoxFuture<'a, Result<String, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Text)]
            known: String,
        }
        let found: Found = statement(partition, company, user, wanted)
            .get_result(connection)
            .await
            .map_err(ReadModelError::query(OPERATION))?;
        Ok(found.known)
    })
}

/// Returns the statement of [`access_rows`].
pub(super) fn statement(partition: u32, company: CompanyId, user: UserId, wanted: &Wanted) -> Statement {
    let (mut joined_chatrooms, mut joined_threads) = (Vec::new(), Vec::new());
    for place in &wanted.joined {
        match place {
            Place::Chatroom(id) => joined_chatrooms.push(id.0),
            Place::Thread(id) => joined_threads.push(id.0),
        }
    }
    let binds = [
        ("user_text", Bind::Text(user.to_string())),
        ("every_share", Bind::Bool(wanted.every_share)),
        ("all_names", Bind::Bool(wanted.all_names)),
        ("joined_chatrooms", Bind::Uuids(joined_chatrooms)),
        ("joined_threads", Bind::Uuids(joined_threads)),
        ("company", Bind::Uuid(company.0)),
        ("user", Bind::Uuid(user.0)),
        ("partition", Bind::Integer(signed(partition))),
        ("files", Bind::Uuids(wanted.files.iter().map(|id| id.0).collect())),
        ("chatrooms", Bind::Uuids(wanted.chatrooms.iter().map(|id| id.0).collect())),
        ("threads", Bind::Uuids(wanted.threads.iter().map(|id| id.0).collect())),
    ];
    Statement::new(TEXT, binds)
}
