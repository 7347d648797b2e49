//! Folding an aggregate's subjects.

use crate::snapshot::{self, Mark};
use crate::{Aggregate, LifecycleAggregate, OnLog, UploadAggregate};
use futures_util::future::BoxFuture;
use std::time::{Duration, Instant};
use waybill_domain::upload;
use waybill_event_log::{Back, EventLog, ReadError, Stored, read_back, read_rest};
use waybill_schema::{Event, Subject, Timestamp};

/// For how long a state may be decided on without looking again.
const RECENT: Duration = Duration::from_secs(1);
/// How many events are folded before the fold is worth keeping.
const SNAPSHOT_EVERY: u64 = 500;

/// An aggregate's state, and how far its subjects were read.
#[derive(Clone, Debug, Default)]
pub struct Loaded<S> {
    /// What is known.
    pub state: S,
    /// The last event of the subject that decisions go to; 0 without one.
    pub last_seq: u64,
    /// The last event of all its subjects; 0 without one.
    pub read_to: u64,
    /// The last fact; 0 without one.
    pub(crate) facts_seq: u64,
    /// Up to where the subject of decisions was read together with the facts. What was appended after that is in
    /// `last_seq`, and is folded again with the facts that came before it.
    pub(crate) folded_seq: u64,
    /// The message id of the event at `read_to`.
    read_to_id: Option<String>,
    /// How many events were folded since the last snapshot.
    since_snapshot: u64,
    /// What it begins with.
    beginning: S,
    /// The log's generation that it was read from; `None` before anything was.
    generation: Option<u64>,
    /// When it was last known to be all there is.
    complete_at: Option<Instant>,
}

impl<S: Default> Loaded<S> {
    /// Of an aggregate whose id was made a moment ago: there is nothing to read.
    pub fn of_new() -> Self {
        Self { complete_at: Some(Instant::now()), ..Self::default() }
    }
}

impl<S: Default + Clone> Loaded<S> {
    /// Of an aggregate that begins with something that its own events do not say.
    pub fn beginning_with(state: S) -> Self {
        Self { beginning: state.clone(), state, ..Self::default() }
    }

    /// Makes sure that what was read is of the log's generation: else all of it is read anew.
    pub(crate) fn is_of(&mut self, log: &dyn EventLog) {
        let generation = log.generation();
        if self.generation.is_some_and(|before| before != generation) {
            self.begin_again();
        }
        self.generation = Some(generation);
    }

    fn begin_again(&mut self) {
        let generation = self.generation;
        *self = Self { generation, ..Self::beginning_with(self.beginning.clone()) };
    }
}

impl<S> Loaded<S> {
    /// Whether it was all there is a moment ago: good enough to decide on where the append tells if it was not.
    pub(crate) fn is_recent(&self) -> bool {
        self.complete_at.is_some_and(|at| at.elapsed() < RECENT)
    }

    fn seqs(&self) -> Seqs {
        Seqs { folded: self.folded_seq, facts: self.facts_seq }
    }
}

/// Folds all of an aggregate's events that the leader knows now.
///
/// # Errors
/// [`ReadError`].
pub fn load<'a, A: OnLog>(
    log: &'a dyn EventLog,
    aggregate: &'a A,
) -> BoxFuture<'a, Result<Loaded<A::State>, ReadError>> {
    aggregate.load(log)
}

/// Loads an upload to look at: all bytes of one that is verified are there, so its chunks are not read.
///
/// # Errors
/// [`ReadError`].
pub fn look_at_upload<'a>(
    log: &'a dyn EventLog,
    aggregate: &'a UploadAggregate,
) -> BoxFuture<'a, Result<Loaded<upload::State>, ReadError>> {
    Box::pin(async move {
        let mut loaded = load(log, &LifecycleAggregate(*aggregate)).await?;
        if !matches!(loaded.state.phase, upload::Phase::Absent | upload::Phase::Verified { .. }) {
            // From the beginning: events fold in the order of the log.
            loaded = load(log, aggregate).await?;
        }
        Ok(loaded)
    })
}

/// Folds what came since. If the stream is not the one that was read before, all of it is folded anew.
///
/// # Errors
/// [`ReadError`].
pub fn refresh<'a, A: OnLog>(
    log: &'a dyn EventLog,
    aggregate: &'a A,
    loaded: &'a mut Loaded<A::State>,
) -> BoxFuture<'a, Result<(), ReadError>> {
    aggregate.refresh(log, loaded)
}

/// Does what [`refresh`] says.
pub(crate) async fn fold_new<A: Aggregate>(
    log: &dyn EventLog,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
) -> Result<(), ReadError> {
    let asked_at = Instant::now();
    loaded.is_of(log);
    let mut read = read_both(log, aggregate, loaded).await;
    if let Err(ReadError::Diverged { subject, seq }) = &read {
        tracing::warn!(subject, seq, "the stream was restored or replaced; reading an aggregate again");
        loaded.begin_again();
        read = read_both(log, aggregate, loaded).await;
    }
    fold(aggregate, loaded, read?)?;
    loaded.complete_at = Some(asked_at);
    keep(log, aggregate, loaded).await;
    Ok(())
}

/// Keeps a snapshot, if there is enough that is new. Everything up to `read_to` is folded: it was refreshed a moment ago.
async fn keep<A: Aggregate>(log: &dyn EventLog, aggregate: &A, loaded: &mut Loaded<A::State>) {
    let (Some(version), Some(values)) = (A::SNAPSHOT_VERSION, log.snapshots()) else { return };
    if loaded.since_snapshot < SNAPSHOT_EVERY || A::is_over(&loaded.state) {
        return;
    }
    loaded.since_snapshot = 0;
    let Loaded { state, last_seq, facts_seq, .. } = &*loaded;
    let Some(bytes) = snapshot::pack(&(state, *last_seq, *facts_seq)) else { return };
    let mark = Mark { seq: loaded.read_to, id: loaded.read_to_id.clone() };
    if let Err(error) = snapshot::write(values, aggregate.subject(), version, mark, &bytes).await {
        tracing::warn!(subject = %aggregate.subject(), %error, "a snapshot was not kept");
    }
}

/// Begins with the last snapshot, if there is one.
async fn restore<A: Aggregate>(log: &dyn EventLog, aggregate: &A, loaded: &mut Loaded<A::State>) {
    let (Some(version), Some(values)) = (A::SNAPSHOT_VERSION, log.snapshots()) else { return };
    let read = snapshot::read::<(A::State, u64, u64)>(log, values, aggregate.subject(), version).await;
    let Some(((state, last_seq, facts_seq), mark)) = read else { return };
    loaded.state = state;
    (loaded.last_seq, loaded.folded_seq, loaded.facts_seq) = (last_seq, last_seq, facts_seq);
    (loaded.read_to, loaded.read_to_id) = (mark.seq, mark.id);
}

/// What came since on all subjects of an aggregate, in the order of the log, and as of one moment: of two events, none is
/// read without the one before it. What is long is begun with its snapshot.
async fn read_both<A: Aggregate>(
    log: &dyn EventLog,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
) -> Result<Vec<Stored>, ReadError> {
    let newest = Newest::read(log, aggregate.subject(), aggregate.facts(), loaded.seqs()).await?;
    if loaded.read_to == 0 && newest.is_long() {
        restore(log, aggregate, loaded).await;
    }
    newest.with_rest(log, loaded.seqs()).await
}

/// The newest events of an aggregate's subjects: of the one with decisions, and of the one with facts.
struct Newest {
    decisions: (Subject, Back),
    facts: Option<(Subject, Back)>,
}

/// Up to where each of the two subjects was read.
struct Seqs {
    folded: u64,
    facts: u64,
}

impl Newest {
    /// Reads a few of them, not further back than what was read before.
    async fn read(
        log: &dyn EventLog,
        subject: Subject,
        facts: Option<Subject>,
        before: Seqs,
    ) -> Result<Self, ReadError> {
        let (last, last_fact) = ends(log, subject, facts).await?;
        let decisions = (subject, read_back(log, subject, last, before.folded).await?);
        let facts = match facts {
            Some(facts) => Some((facts, read_back(log, facts, last_fact, before.facts).await?)),
            None => None,
        };
        Ok(Self { decisions, facts })
    }

    /// Returns whether there are more before them.
    fn is_long(&self) -> bool {
        let is_long = |back: &Back| matches!(back, Back::Newest(_));
        is_long(&self.decisions.1) || self.facts.as_ref().is_some_and(|(_, facts)| is_long(facts))
    }

    /// Reads the others, too. Returns all in the order of the log.
    async fn with_rest(self, log: &dyn EventLog, before: Seqs) -> Result<Vec<Stored>, ReadError> {
        let (subject, back) = self.decisions;
        let mut events = read_rest(log, subject, back, before.folded).await?;
        if let Some((facts, back)) = self.facts {
            events.extend(read_rest(log, facts, back, before.facts).await?);
            events.sort_by_key(|event| event.position.seq);
        }
        Ok(events)
    }
}

/// The last decision and the last fact, as of one moment.
async fn ends(
    log: &dyn EventLog,
    subject: Subject,
    facts: Option<Subject>,
) -> Result<(Option<Stored>, Option<Stored>), ReadError> {
    let mut last = log.last(subject).await?;
    let Some(facts) = facts else { return Ok((last, None)) };
    loop {
        let last_fact = log.last(facts).await?;
        // A decision between the last one known and this fact would be missing.
        if seq_of(last_fact.as_ref()) < seq_of(last.as_ref()) || last_fact.is_none() {
            return Ok((last, last_fact));
        }
        let again = log.last(subject).await?;
        let same = seq_of(again.as_ref()) == seq_of(last.as_ref());
        last = again;
        if same {
            return Ok((last, last_fact));
        }
    }
}

fn seq_of(event: Option<&Stored>) -> u64 {
    event.map_or(0, |event| event.position.seq)
}

fn fold<A: Aggregate>(aggregate: &A, loaded: &mut Loaded<A::State>, events: Vec<Stored>) -> Result<(), ReadError> {
    let subject = aggregate.subject();
    for mut event in events {
        let id = event.message_id.take();
        let recorded = event.into_event()?;
        A::fold(&mut loaded.state, &recorded.event, recorded.envelope.time);
        loaded.since_snapshot += 1;
        if recorded.position.seq > loaded.read_to {
            (loaded.read_to, loaded.read_to_id) = (recorded.position.seq, id);
        }
        if recorded.subject == subject {
            loaded.last_seq = recorded.position.seq;
            loaded.folded_seq = recorded.position.seq;
        } else {
            loaded.facts_seq = recorded.position.seq;
        }
    }
    Ok(())
}

impl<S: Clone> Loaded<S> {
    /// Folds a decision that was appended behind `last_seq`. Where the aggregate has facts besides, the next refresh folds it
    /// again with those that came before it, which changes nothing.
    pub(crate) fn decided<A: Aggregate<State = S>>(&mut self, aggregate: &A, appended: &Appended) {
        A::fold(&mut self.state, &appended.event, appended.time);
        self.last_seq = appended.seq;
        if aggregate.facts().is_none() {
            self.folded_seq = appended.seq;
            self.read_up_to(appended);
        }
    }
}

/// An event that was appended.
pub(crate) struct Appended {
    pub(crate) event: Event,
    pub(crate) time: Timestamp,
    pub(crate) seq: u64,
    pub(crate) message_id: String,
}

impl<S> Loaded<S> {
    fn read_up_to(&mut self, appended: &Appended) {
        self.read_to = appended.seq;
        self.read_to_id = Some(appended.message_id.clone());
        self.since_snapshot += 1;
    }
}

/// Folds a fact that was appended behind the last one, with the decisions that came before it.
pub(crate) async fn fold_fact<A: Aggregate>(
    log: &dyn EventLog,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
    appended: &Appended,
) -> Result<(), ReadError> {
    let asked_at = Instant::now();
    let last = log.last(aggregate.subject()).await?;
    if seq_of(last.as_ref()) != loaded.last_seq {
        return fold_new(log, aggregate, loaded).await;
    }
    // The fact was appended behind the last one, and this is the last decision: there is no more.
    loaded.complete_at = Some(asked_at);
    A::fold(&mut loaded.state, &appended.event, appended.time);
    loaded.facts_seq = appended.seq;
    loaded.folded_seq = loaded.last_seq;
    loaded.read_up_to(appended);
    Ok(())
}
