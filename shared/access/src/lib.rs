//! Access rights of users to files, chatrooms and threads. Reads them from the tables as of one checkpoint, and applies
//! the events that the log has received since. A revocation therefore takes effect immediately, even if the tables lag
//! behind.
//!
//! A process follows the log and keeps the events that affect access rights (the overlay) until the tables certainly
//! contain them. Before each decision, but at most every 400 ms, it makes sure that it has followed the log to its end.

mod changes;
mod endings;
mod error;
mod following;
mod kept;
mod policies;
mod shelf;
mod tail;
mod transfer;

use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tail::Tail;
use waybill_cache::Cache;
use waybill_domain::access::{Author, FileFacts, Memberships, Presence, ShareFacts, Standing, ends};
use waybill_domain::directory::CompanyRules;
use waybill_domain::scan::{ScanRules, Scans};
use waybill_event_log::EventLog;
use waybill_read_cache::{ReadCache, Shelf};
use waybill_read_model::Database;
use waybill_read_model::queries::{AccessRows, access_rows};
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{
    ChatroomId, CompanyId, Event, FileId, LocationPolicy, Place, Recorded, ThreadId, Timestamp, UserId,
};
use waybill_service_kit::Shutdown;

pub use changes::{History, Scope};
pub use error::AccessError;
pub use policies::{Policies, scan_filter};
pub use transfer::{Credential, Rights, Transfer};
pub use waybill_read_model::queries::Wanted;

/// Maximum number of users that are cached as active, and of companies whose settings are cached.
const REMEMBERED: u64 = 100_000;

/// The access rights of a user, and the requested files, chatrooms and threads.
#[derive(Clone, Debug)]
pub struct Known {
    /// State of the company and of the user.
    pub standing: Standing,
    /// The rules of the company.
    pub rules: CompanyRules,
    /// The requested files.
    pub files: HashMap<FileId, FileFacts>,
    /// The memberships of the user.
    pub members: Memberships,
    /// The existing chatrooms and threads.
    pub places: BTreeSet<Place>,
    /// The sequence of the latest deletion of each place. Associations that were created before it are no longer valid.
    pub since: BTreeMap<Place, u64>,
}

impl Known {
    /// Returns the chatroom that a thread belongs to.
    pub fn chatroom_of(&self, thread: ThreadId) -> Option<ChatroomId> {
        self.members.around.get(&thread).copied()
    }

    /// Returns `true` if the place exists and the user is a member of it.
    pub fn is_member(&self, place: Place) -> bool {
        self.places.contains(&place) && self.members.has(place)
    }

    fn apply(&mut self, viewer: UserId, recorded: &Recorded) {
        if let Event::Directory(event) = &recorded.event {
            self.standing.apply(viewer, event);
            self.members.apply(viewer, event);
            self.apply_to_company(event, recorded.position.seq);
        }
        for facts in self.files.values_mut() {
            facts.apply(viewer, recorded.subject.aggregate, &recorded.event);
        }
    }

    /// Applies an event at `seq` to the rules, the places, and the positions from which on their associations count.
    fn apply_to_company(&mut self, event: &DirectoryEvent, seq: u64) {
        self.rules.apply(event);
        let around = &self.members.around;
        self.places.retain(|place| !ends(event, *place, around));
        let ended = self.since.iter_mut().filter(|(place, _)| ends(event, **place, around));
        ended.for_each(|(_, since)| *since = seq);
    }
}

/// Provides the current access rights. Makes no decisions.
pub struct Access {
    log: Arc<dyn EventLog>,
    database: Database,
    tails: Vec<Tail>,
    /// Users that were active when they were last looked up. An event that ends a user or company, or invalidates their
    /// tokens, removes the entry.
    active: Cache<(CompanyId, UserId), Standing>,
    rules: Cache<CompanyId, CompanyRules>,
    /// Rules of the installation for virus scans.
    scans: ScanRules,
    /// Data from the tables that were read earlier, if they are kept.
    kept: Option<Shelf<AccessRows>>,
}

impl Access {
    /// Creates an instance in an installation with these rules for virus scans. It answers only while [`Access::follow`]
    /// runs for each partition.
    pub fn new(log: Arc<dyn EventLog>, database: Database, scans: ScanRules) -> Arc<Self> {
        Self::keeping(log, database, scans, None)
    }

    /// Like [`Access::new`]. Keeps data that it reads from the tables in `cache`, if there is one.
    pub fn keeping(
        log: Arc<dyn EventLog>,
        database: Database,
        scans: ScanRules,
        cache: Option<Arc<ReadCache>>,
    ) -> Arc<Self> {
        let tails = log.partitions().all().map(|_| Tail::default()).collect();
        let (active, rules) = (Cache::new(REMEMBERED), Cache::new(REMEMBERED));
        Arc::new(Self { log, database, tails, active, rules, scans, kept: cache.map(shelf::shelf) })
    }

    /// Follows a partition until shutdown.
    pub fn follow(self: Arc<Self>, partition: u32, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(Self::keep_up(self, partition, shutdown))
    }

    async fn keep_up(self: Arc<Self>, partition: u32, shutdown: Shutdown) {
        let tail = self.tail(partition);
        let forget = |recorded: &Recorded| self.forget(recorded);
        while !shutdown.is_triggered() {
            let followed = tail.follow(self.log.as_ref(), &self.database, partition, &forget);
            if let Some(Err(error)) = shutdown.unless(followed).await {
                tracing::warn!(partition, %error, "cannot follow the partition");
            }
            shutdown.unless(tokio::time::sleep(Duration::from_millis(200))).await;
        }
    }

    /// Invalidates the cache entries that an event makes outdated.
    fn forget(&self, recorded: &Recorded) {
        let Event::Directory(event) = &recorded.event else { return };
        let company = recorded.subject.company;
        match event {
            DirectoryEvent::UserRemoved(user) => self.active.invalidate(&(company, user.user_id)),
            DirectoryEvent::TokensInvalidated(invalidated) => match invalidated.user_id {
                Some(user) => self.active.invalidate(&(company, user)),
                None => self.active.invalidate_company(company),
            },
            DirectoryEvent::CompanyClosed(_) => {
                self.rules.invalidate(&company);
                self.active.invalidate_company(company);
            }
            DirectoryEvent::CompanySettingsChanged(_) | DirectoryEvent::CompanyLimitsSet(_) => {
                self.rules.invalidate(&company);
            }
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadOpened(_)
            | DirectoryEvent::ThreadDeleted(_)
            | DirectoryEvent::MemberAdded(_)
            | DirectoryEvent::MemberRemoved(_) => {}
        }
    }

    /// Returns the current access rights of `user` of `company` to everything in `wanted`.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn look<'a>(
        &'a self,
        connection: &'a mut AsyncPgConnection,
        company: CompanyId,
        user: UserId,
        wanted: &'a Wanted,
    ) -> BoxFuture<'a, Result<Known, AccessError>> {
        Box::pin(self.look_at(connection, company, user, wanted, false))
    }

    async fn look_at(
        &self,
        connection: &mut AsyncPgConnection,
        company: CompanyId,
        user: UserId,
        wanted: &Wanted,
        keeps: bool,
    ) -> Result<Known, AccessError> {
        let partition = self.log.partitions().of(company);
        let tail = self.tail(partition);
        tail.reach_the_end(&self.log, partition).await?;
        // The tables may not have these memberships yet. Without them, they would return too few associations.
        let joined = if wanted.files.is_empty() { Vec::new() } else { tail.joined(company, user) };
        let has_joined = !joined.is_empty();
        let asked = Wanted { joined, ..wanted.clone() };
        let text = access_rows(connection, partition, company, user, &asked).await?;
        let rows = AccessRows::parse(&text)?;
        if keeps && !has_joined {
            self.keep(company, user, wanted, &rows, &text);
        }
        let recent = tail.since(company, rows.seq)?;
        self.known(company, user, rows, &recent)
    }

    /// Returns the access rights according to data from the tables, and to the events after them.
    fn known(
        &self,
        company: CompanyId,
        user: UserId,
        rows: AccessRows,
        recent: &[Arc<Recorded>],
    ) -> Result<Known, AccessError> {
        if rows.parked.contains(&key(company, "directory")) {
            return Err(AccessError::Parked);
        }
        let mut known = known(company, rows);
        for recorded in recent {
            known.apply(user, recorded);
        }
        let (scan_rules, location_policy) = (known.rules.scans(self.scans), known.rules.strip_location());
        for facts in known.files.values_mut() {
            (facts.scan_rules, facts.location_policy) = (scan_rules, location_policy);
        }
        Ok(known)
    }

    /// Returns whether a user and their company are active. A user that was found active is cached until an event says
    /// otherwise.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn standing(&self, company: CompanyId, user: UserId) -> BoxFuture<'_, Result<Standing, AccessError>> {
        Box::pin(self.stands(company, user))
    }

    async fn stands(&self, company: CompanyId, user: UserId) -> Result<Standing, AccessError> {
        let partition = self.log.partitions().of(company);
        let tail = self.tail(partition);
        tail.reach_the_end(&self.log, partition).await?;
        if let Some(standing) = self.active.get(&(company, user)) {
            return Ok(*standing);
        }
        let seen = tail.at();
        let mut connection = self.database.connection().await?;
        let known = self.look(&mut connection, company, user, &Wanted::default()).await?;
        if known.standing.is_active() {
            self.active.insert(&(company, user), known.standing);
            self.rules.insert(&company, known.rules);
            // An event that arrived in the meantime found no entry to invalidate.
            tail.since(company, seen)?.iter().for_each(|recorded| self.forget(recorded));
        }
        Ok(known.standing)
    }

    /// Returns the rules for virus scans that apply to every company.
    pub fn installation_scans(&self) -> ScanRules {
        self.scans
    }

    /// Returns the rules of a company for virus scans.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn scan_rules(&self, company: CompanyId) -> Result<ScanRules, AccessError> {
        Ok(self.rules(company).await?.scans(self.scans))
    }

    /// Returns the rules of a company.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn rules(&self, company: CompanyId) -> BoxFuture<'_, Result<Arc<CompanyRules>, AccessError>> {
        Box::pin(self.read_rules(company))
    }

    async fn read_rules(&self, company: CompanyId) -> Result<Arc<CompanyRules>, AccessError> {
        let partition = self.log.partitions().of(company);
        let tail = self.tail(partition);
        tail.reach_the_end(&self.log, partition).await?;
        if let Some(rules) = self.rules.get(&company) {
            return Ok(rules);
        }
        let seen = tail.at();
        let mut connection = self.database.connection().await?;
        let nobody = UserId(Default::default());
        let known = self.look(&mut connection, company, nobody, &Wanted::default()).await?;
        let rules = Arc::new(known.rules);
        // Rules of a company that is not in the tables yet are not cached.
        if known.standing.company != Presence::Unknown {
            self.rules.insert(&company, rules.clone());
            tail.since(company, seen)?.iter().for_each(|recorded| self.forget(recorded));
        }
        Ok(rules)
    }
}

/// Returns the name of an aggregate in `parked_event`, as the projector writes it.
fn key(company: CompanyId, of: &str) -> String {
    format!("{company}.{of}")
}

/// Returns the later one of the times before which tokens of the user and of the company are invalid.
fn tokens_valid_from(rows: &AccessRows) -> Option<Timestamp> {
    let of_company = rows.company.as_ref().and_then(|company| company.tokens_valid_from);
    let of_user = rows.user.as_ref().and_then(|user| user.tokens_valid_from);
    of_company.max(of_user).map(|at| Timestamp(at.timestamp_millis()))
}

fn known(company: CompanyId, rows: AccessRows) -> Known {
    let tokens_valid_from = tokens_valid_from(&rows);
    let parked = rows.parked;
    let is_parked = |of: String| parked.contains(&key(company, &of));
    let presence = |ended: Option<bool>| match ended {
        None => Presence::Unknown,
        Some(false) => Presence::Active,
        Some(true) => Presence::Ended,
    };
    let standing = Standing {
        company: presence(rows.company.as_ref().map(|company| company.is_closed)),
        user: presence(rows.user.map(|user| user.is_removed)),
        tokens_valid_from,
    };
    let around: BTreeMap<ThreadId, ChatroomId> =
        rows.threads.iter().filter_map(|thread| Some((thread.id, thread.chatroom_id?))).collect();
    let members = Memberships { places: places_of(rows.member_of_chatrooms, rows.member_of_threads), around };
    let open_threads = rows.threads.iter().filter(|thread| thread.is_open).map(|thread| Place::Thread(thread.id));
    let since = rows
        .chatrooms
        .iter()
        .map(|room| (Place::Chatroom(room.id), room.deleted_seq))
        .chain(rows.threads.iter().map(|thread| (Place::Thread(thread.id), thread.deleted_seq)))
        .collect();
    let places = rows.chatrooms.iter().map(|room| Place::Chatroom(room.id)).chain(open_threads).collect();
    let mut files: HashMap<FileId, FileFacts> = rows
        .files
        .into_iter()
        .map(|file| {
            let facts = FileFacts {
                file_id: file.id,
                uploaded_by: file.uploaded_by,
                is_verified: file.is_verified,
                // Deny access: the parked event may be the deletion.
                is_deleted: file.is_deleted || is_parked(format!("file.{}", file.id)),
                is_purged: file.is_purged,
                scans: Scans { last: file.scan.map(|scan| scan.result()), is_released: file.is_released },
                scan_rules: ScanRules::default(),
                location_policy: LocationPolicy::Off,
                shares: BTreeMap::new(),
                members: members.clone(),
                authors: BTreeMap::new(),
            };
            (file.id, facts)
        })
        .collect();
    let authors: HashMap<UserId, Author> = rows
        .authors
        .into_iter()
        .map(|author| {
            let places = places_of(author.chatrooms, author.threads);
            (author.id, Author { places, is_removed: author.is_removed })
        })
        .collect();
    for share in rows.shares {
        let Some(facts) = files.get_mut(&share.file_id) else { continue };
        if share.parent.is_some()
            && let Some(author) = authors.get(&share.shared_by)
        {
            facts.authors.entry(share.shared_by).or_insert_with(|| author.clone());
        }
        let shared = ShareFacts {
            id: share.id,
            chatroom_id: share.chatroom_id,
            thread_id: share.thread_id,
            shared_by: share.shared_by,
            parent: share.parent,
            access_type: share.access_type,
            permissions: share.permissions,
            expires_at: share.expires_at.map(|at| Timestamp(at.timestamp_millis())),
            ended: share.ended || is_parked(format!("share.{}", share.id)),
        };
        facts.shares.insert(share.id, shared);
    }
    let company = rows.company.map(|company| (company.limits, company.min_retention_days, company.settings));
    let (limits, min_retention_days, settings) = company.unwrap_or_default();
    Known { standing, rules: CompanyRules { limits, min_retention_days, settings }, files, members, places, since }
}

fn places_of(chatrooms: Vec<ChatroomId>, threads: Vec<ThreadId>) -> BTreeSet<Place> {
    chatrooms.into_iter().map(Place::Chatroom).chain(threads.into_iter().map(Place::Thread)).collect()
}
