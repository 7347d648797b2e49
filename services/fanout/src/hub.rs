//! The hub follows all partitions and delivers each event to the connections that watch one of its topics.

use crate::clients::Clients;
use crate::concealed::is_concealed;
use crate::live::{Live, What, is_before_verification, progress, topics, transition};
use crate::outbox::Outbox;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use waybill_access::Access;
use waybill_api::frames::{ProgressFacts, Stage, Topic};
use waybill_cache::Cache;
use waybill_domain::progress::Tracker;
use waybill_event_log::{EventLog, ReadError, Stored, read_after, read_events};
use waybill_schema::events::{DirectoryEvent, ShareEvent, UploadEvent, UploadKind};
use waybill_schema::{
    AccessType, CompanyId, Entity, Event, Grant, Permissions, Recorded, ShareId, Subject, Timestamp, UploadId, UserId,
};
use waybill_service_kit::{Shutdown, now};

/// Maximum number of shares in the cache.
const SHARES: u64 = 20_000;
/// Maximum size of the cache for the progress of uploads in bytes: about 20,000 uploads of typical size.
const TRACKED_BYTES: u64 = 64 * 1_024 * 1_024;

/// State of a share that decides whether the members of its chatroom or thread receive events about the file.
#[derive(Clone, Copy)]
struct Openness {
    /// `true` if all members may see the file.
    open: bool,
    /// End of the share.
    until: Option<Timestamp>,
    /// Sequence of the event that shared the file.
    began: u64,
    /// `true` if the share rests on another one, whose end is not known here. Members then hear of changes of the share
    /// only, and not of the file.
    rests: bool,
}

impl Openness {
    /// Returns the state of the share that an upload into a chatroom or thread creates.
    fn of_upload(began: u64) -> Self {
        Self { open: true, until: None, began, rests: false }
    }

    fn after(self, recorded: &Recorded) -> Self {
        let of = |access_type, permissions: Option<&Permissions>, until| Self {
            open: access_type != AccessType::Restricted && permissions.is_none_or(lets_all_see),
            until,
            ..self
        };
        let Event::Share(event) = &recorded.event else { return self };
        match event {
            ShareEvent::FileShared(shared) => {
                let of = of(shared.access_type, shared.permissions.as_ref(), shared.expires_at);
                let rests = shared.basis.parent().is_some();
                Self { began: recorded.position.seq, rests, ..of }
            }
            ShareEvent::ShareChanged(changed) => {
                of(changed.access_type, changed.permissions.as_ref(), changed.expires_at)
            }
            ShareEvent::ShareRevoked(_) => Self { open: false, ..self },
            ShareEvent::SharePinned(_) => self,
        }
    }

    fn is_open(self) -> bool {
        self.open && self.until.is_none_or(|until| now() < until)
    }
}

/// Returns `true` if all members of a place may see the file. Otherwise no member receives events about it, as if it
/// were `RESTRICTED`.
fn lets_all_see(permissions: &Permissions) -> bool {
    let sees = |grants: &Vec<Grant>| !grants.is_empty();
    permissions.everyone.as_ref().is_none_or(sees) && permissions.users.values().all(sees)
}

/// Connection that watches a topic.
pub(crate) struct Watcher {
    /// Number of the connection.
    pub(crate) conn: u64,
    /// Outbox of the connection.
    pub(crate) outbox: Arc<Outbox>,
    /// Files that were shared into the chatroom or thread before this sequence are not visible any more.
    pub(crate) since: u64,
    /// The user of the connection, or `None` if the user is an admin, who also sees files that are not verified.
    pub(crate) user_id: Option<UserId>,
}

/// Watchers by company and topic. Host products choose the ids of chatrooms and threads, so two companies may use the
/// same.
type Watchers = HashMap<(CompanyId, Topic), Vec<Watcher>>;

/// Recipient of an event.
struct Recipient {
    outbox: Arc<Outbox>,
    since: u64,
    user_id: Option<UserId>,
}

/// Recipients of an event, by topic.
type Watching = Vec<(Topic, Vec<Recipient>)>;

/// Result of folding an event into the progress of its upload.
#[derive(Default)]
struct Tracked {
    /// The progress to send, if any.
    figures: Option<ProgressFacts>,
    /// The user that uploads the file. `None` if the event does not belong to an upload.
    uploaded_by: Option<UserId>,
}

/// Delivers events to connections.
pub(crate) struct Hub {
    /// The open connections.
    pub(crate) clients: Clients,
    log: Arc<dyn EventLog>,
    access: Arc<Access>,
    watchers: RwLock<Watchers>,
    shares: Cache<(CompanyId, ShareId), Openness>,
    trackers: Cache<UploadId, Mutex<Tracker>>,
    /// Sequence of the last event of each partition that was delivered or is being delivered.
    handed_out: Vec<AtomicU64>,
}

impl Hub {
    pub(crate) fn new(log: Arc<dyn EventLog>, access: Arc<Access>) -> Self {
        let handed_out = log.partitions().all().map(|_| AtomicU64::new(0)).collect();
        Self {
            clients: Clients::default(),
            log,
            access,
            watchers: RwLock::default(),
            shares: Cache::new(SHARES),
            // The weight changes with each event. `track` inserts the tracker again, which weighs it again.
            trackers: Cache::builder(TRACKED_BYTES).weigher(weight).build(),
            handed_out,
        }
    }

    /// Makes the connections check access again whose access the event may have ended.
    fn have_rechecked(&self, recorded: &Recorded) {
        let Event::Directory(event) = &recorded.event else { return };
        let of = match event {
            DirectoryEvent::MemberRemoved(removed) => Some(removed.user_id),
            DirectoryEvent::UserRemoved(removed) => Some(removed.user_id),
            DirectoryEvent::CompanyClosed(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadDeleted(_) => None,
            DirectoryEvent::TokensInvalidated(invalidated) => invalidated.user_id,
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyLimitsSet(_)
            | DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ThreadOpened(_)
            | DirectoryEvent::MemberAdded(_) => return,
        };
        self.clients.recheck(recorded.subject.company, of, recorded.position.seq);
    }

    /// Handles an event that a newer version wrote and that this version cannot read. The event may end access, so this
    /// forgets the share or makes all connections of the company check access again.
    fn suppose_the_worst(&self, stored: &Stored) {
        let Ok(Subject { company, aggregate }) = Subject::parse(&stored.subject) else { return };
        match aggregate {
            // No connection receives events about a share that cannot be read.
            Entity::Share(id) => self.shares.invalidate(&(company, id)),
            Entity::Directory => self.clients.recheck(company, None, stored.position.seq),
            _ => {}
        }
    }

    /// Returns the sequence at which the file was shared into its chatroom or thread, if the watchers of that place may
    /// receive the event. They may not if the share is for individual users, revoked or expired.
    async fn is_for_the_place(&self, recorded: &Recorded) -> Option<u64> {
        let company = recorded.subject.company;
        let (share, is_share_event) = match recorded.subject.aggregate {
            Entity::UploadLifecycle(id) | Entity::UploadChunks(id) | Entity::File(id) => (ShareId(id.0), false),
            Entity::Share(id) => (id, true),
            _ => return None,
        };
        let before = match self.shares.get(&(company, share)) {
            Some(before) => *before,
            None => match self.load_share(recorded, share).await {
                Some(before) => before,
                None => return None,
            },
        };
        let after = if is_share_event { before.after(recorded) } else { before };
        self.shares.insert(&(company, share), after);
        // Watchers who could see the file receive the event that ends the share.
        let is_new = matches!(recorded.event, Event::Share(ShareEvent::FileShared(_)));
        let is_open = after.is_open() && (is_share_event || !after.rests);
        let is_told = is_open || (is_share_event && !is_new && before.is_open());
        is_told.then_some(after.began)
    }

    /// Loads the state of a share before an event. Returns `None` if the log cannot be read.
    async fn load_share(&self, recorded: &Recorded, share: ShareId) -> Option<Openness> {
        let position = recorded.position;
        let subject = |aggregate| Subject::new(recorded.subject.company, aggregate);
        let events = read_events(self.log.as_ref(), subject(Entity::Share(share)), 0).await.ok()?;
        let before = events.iter().filter(|event| event.position.seq < position.seq);
        // The share of an upload begins with the upload.
        let upload = subject(Entity::UploadLifecycle(UploadId(share.0)));
        let started = read_after(self.log.as_ref(), upload, 0).await.ok()?;
        let began = started.first().map_or(position.seq, |first| first.position.seq);
        Some(before.fold(Openness::of_upload(began), |share, recorded| share.after(recorded)))
    }

    /// Delivers future events about `topic` to a watcher, which replaces an earlier one of the same connection. Returns
    /// the sequence up to which events were delivered before. A snapshot must contain at least these events.
    pub(crate) fn watch(&self, company: CompanyId, topic: Topic, watcher: Watcher) -> u64 {
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        let watching = watchers.entry((company, topic)).or_default();
        match watching.iter_mut().find(|earlier| earlier.conn == watcher.conn) {
            Some(earlier) => *earlier = watcher,
            None => watching.push(watcher),
        }
        self.at(self.log.partitions().of(company)).load(Ordering::SeqCst)
    }

    /// Stops delivering events about `topic` to connection `conn`.
    pub(crate) fn unwatch(&self, company: CompanyId, topic: Topic, conn: u64) {
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(watching) = watchers.get_mut(&(company, topic)) {
            watching.retain(|watcher| watcher.conn != conn);
            if watching.is_empty() {
                watchers.remove(&(company, topic));
            }
        }
    }

    fn at(&self, partition: u32) -> &AtomicU64 {
        &self.handed_out[partition as usize]
    }

    /// Closes all connections after shutdown is triggered.
    pub(crate) async fn drain(self: Arc<Self>, shutdown: Shutdown) {
        shutdown.triggered().await;
        self.clients.send_away().await;
    }

    /// Follows a partition from its end until shutdown.
    pub(crate) async fn follow(self: Arc<Self>, partition: u32, shutdown: Shutdown) {
        let mut from = None;
        while !shutdown.is_triggered() {
            let followed = self.follow_from(partition, &mut from);
            if let Some(Err(error)) = shutdown.unless(followed).await {
                tracing::warn!(partition, %error, "cannot follow the partition");
            }
            shutdown.unless(tokio::time::sleep(Duration::from_millis(500))).await;
        }
    }

    async fn follow_from(&self, partition: u32, from: &mut Option<u64>) -> Result<(), ReadError> {
        let end = self.log.head(partition).await?.last_seq;
        // A stream that ends before `from` was restored from a backup. All later events are new.
        let at = from.filter(|seq| *seq <= end).unwrap_or(end);
        *from = Some(at);
        self.at(partition).store(at, Ordering::SeqCst);
        let mut events = self.log.subscribe(partition, at).await?;
        while let Some(stored) = events.next().await {
            let stored = stored?;
            let seq = stored.position.seq;
            // This comes before the search for watchers. The snapshot of a later watcher must contain this event.
            self.at(partition).store(seq, Ordering::SeqCst);
            match &stored.event {
                Ok(recorded) => self.hand_out(recorded).await,
                Err(_) => self.suppose_the_worst(&stored),
            }
            *from = Some(seq);
        }
        Ok(())
    }

    async fn hand_out(&self, recorded: &Recorded) {
        let mut watching: Watching = {
            let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
            let of = |topic: Topic| {
                let all = watchers.get(&(recorded.subject.company, topic))?;
                let recipient = |watcher: &Watcher| {
                    let Watcher { since, user_id, .. } = *watcher;
                    Recipient { outbox: watcher.outbox.clone(), since, user_id }
                };
                Some((topic, all.iter().map(recipient).collect()))
            };
            topics(recorded).into_iter().filter_map(of).collect()
        };
        self.have_rechecked(recorded);
        let is_of_place = |topic: &Topic| matches!(topic, Topic::Chatroom(_) | Topic::Thread(_));
        let known = matches!(recorded.subject.aggregate, Entity::Share(id)
            if self.shares.contains_key(&(recorded.subject.company, id)));
        if known || watching.iter().any(|(topic, _)| is_of_place(topic)) {
            let began = self.is_for_the_place(recorded).await;
            for (_, recipients) in watching.iter_mut().filter(|(topic, _)| is_of_place(topic)) {
                recipients.retain(|recipient| began.is_some_and(|began| began > recipient.since));
            }
            watching.retain(|(_, recipients)| !recipients.is_empty());
        }
        let Some(Tracked { figures, uploaded_by }) = self.track(recorded, !watching.is_empty()).await else { return };
        let is_hidden = is_before_verification(recorded)
            || (watching.iter().any(|(topic, _)| is_of_place(topic))
                && is_concealed(&self.access, self.log.as_ref(), recorded).await);
        if is_hidden {
            // Members of the place do not see the file yet.
            let uploaded_by = uploaded_by.or(recorded.envelope.routing.uploaded_by);
            let sees = |user: Option<UserId>| user.is_none_or(|user| uploaded_by == Some(user));
            for (_, recipients) in watching.iter_mut().filter(|(topic, _)| is_of_place(topic)) {
                recipients.retain(|recipient| sees(recipient.user_id));
            }
        }
        let seq = recorded.position.seq;
        let lives = transition(recorded).into_iter().chain(figures.map(What::Progress));
        for live in lives.map(|what| Arc::new(Live::new(seq, what))) {
            for (topic, recipients) in &watching {
                recipients.iter().for_each(|recipient| recipient.outbox.deliver(*topic, &live));
            }
        }
    }

    /// Folds an event into the progress of its upload. Returns `None` if no watcher may receive the event because it
    /// belongs to a partial upload, which is not a file.
    async fn track(&self, recorded: &Recorded, watched: bool) -> Option<Tracked> {
        let nothing = Some(Tracked::default());
        let (Entity::UploadLifecycle(id) | Entity::UploadChunks(id)) = recorded.subject.aggregate else {
            return nothing;
        };
        let Event::Upload(event) = &recorded.event else { return nothing };
        let tracker = match (self.trackers.get(&id), event) {
            (Some(tracker), _) => tracker,
            (None, UploadEvent::UploadStarted(_)) => Arc::default(),
            (None, _) if watched => match self.load(recorded, id).await {
                Some(before) => Arc::new(Mutex::new(before)),
                None => return nothing,
            },
            (None, _) => return nothing,
        };
        let (facts, is_partial, uploaded_by) = {
            let mut tracker = locked(&tracker);
            tracker.evolve(event, recorded.envelope.time);
            let uploaded_by = tracker.upload.started.as_ref().map(|started| started.uploaded_by);
            (progress(id, &tracker), tracker.upload.kind == UploadKind::Partial, uploaded_by)
        };
        if facts.stage == Stage::Ended {
            self.trackers.invalidate(&id);
        } else {
            self.trackers.insert(&id, tracker);
        }
        let shown = watched && matches!(event, UploadEvent::ChunkUploaded(_) | UploadEvent::FileCompleted(_));
        (!is_partial).then(|| Tracked { figures: shown.then_some(facts), uploaded_by })
    }

    /// Loads the progress of an upload before an event from the log.
    async fn load(&self, recorded: &Recorded, id: UploadId) -> Option<Tracker> {
        let position = recorded.position;
        let mut before = Vec::new();
        for aggregate in [Entity::UploadLifecycle(id), Entity::UploadChunks(id)] {
            let subject = Subject::new(recorded.subject.company, aggregate);
            before.extend(read_events(self.log.as_ref(), subject, 0).await.ok()?);
        }
        before.sort_by_key(|event| event.position.seq);
        let mut tracker = Tracker::default();
        for recorded in before.iter().filter(|event| event.position.seq < position.seq) {
            if let Event::Upload(event) = &recorded.event {
                tracker.evolve(event, recorded.envelope.time);
            }
        }
        Some(tracker)
    }
}

fn weight(tracker: &Mutex<Tracker>) -> u32 {
    u32::try_from(locked(tracker).upload.weight()).unwrap_or(u32::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
