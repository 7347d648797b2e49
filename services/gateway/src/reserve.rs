//! Reserving space. Starts that meet in this gateway are decided together and appended as one event; with those of
//! other gateways they conflict, and are decided again.

use crate::problems::{IntoProblem, refused};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use waybill_access::Policies;
use waybill_domain::Refusal;
use waybill_domain::limits::RESERVATION_ITEMS_MAX;
use waybill_domain::quota::{self, State, reserve};
use waybill_event_log::jetstream::Bucket;
use waybill_event_log::{AppendError, EventLog};
use waybill_repository::{Context, ExecuteError, LoadedQuota, append_quota, change_quota, load_quota, refresh_quota};
use waybill_schema::events::{QuotaLimitSetV1, ReservedItem};
use waybill_schema::{Actor, Aggregate, CompanyId, Event, Position, Subject, UploadId};
use waybill_service_kit::{Problem, now};

/// How long after the reservation the upload must have started; a whole file in one request must have come by then.
const START_WITHIN_MS: i64 = 30 * 60_000;
/// How often a reservation is decided anew before clients are told to try again.
const ATTEMPTS: u32 = 30;
/// After how long without a start a company's task ends.
const IDLE: Duration = Duration::from_secs(300);
/// How many starts of one company wait at most.
const QUEUE: usize = 1_024;

struct Request {
    item: ReservedItem,
    context: Context,
    is_repeatable: bool,
    answer: oneshot::Sender<Result<Position, Problem>>,
}

/// Reserves space, one task per company.
pub(crate) struct Reserver {
    shared: Arc<Shared>,
    companies: Mutex<HashMap<CompanyId, mpsc::Sender<Request>>>,
}

struct Shared {
    log: Arc<dyn EventLog>,
    snapshots: Bucket,
    policies: Policies,
    default_quota_bytes: u64,
}

impl Reserver {
    pub(crate) fn new(log: Arc<dyn EventLog>, snapshots: Bucket, policies: Policies, default_quota_bytes: u64) -> Self {
        let shared = Arc::new(Shared { log, snapshots, policies, default_quota_bytes });
        Self { shared, companies: Mutex::default() }
    }

    /// Reserves space for one upload; answers with the reservation's position. `is_repeatable` says that the same
    /// upload may have been asked for before.
    pub(crate) async fn reserve(
        &self,
        company: CompanyId,
        item: ReservedItem,
        context: Context,
        is_repeatable: bool,
    ) -> Result<Position, Problem> {
        let busy = || Problem::unavailable("too many uploads of the company start at once; try again");
        let (answer, answered) = oneshot::channel();
        let mut request = Request { item, context, is_repeatable, answer };
        // A task that is just ending takes nothing more; then a new one is begun.
        for _ in 0..2 {
            match self.task(company).try_send(request) {
                Ok(()) => return answered.await.unwrap_or_else(|_| Err(busy())),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(busy()),
                Err(mpsc::error::TrySendError::Closed(back)) => request = back,
            }
        }
        Err(busy())
    }

    /// Raises the reservation of an upload whose length is not known, so that it holds `needed_bytes`.
    pub(crate) async fn raise(
        &self,
        company: CompanyId,
        upload: UploadId,
        (needed_bytes, max_bytes): (u64, u64),
        context: &Context,
    ) -> Result<(), Problem> {
        let limits = self.shared.policies.limits(company).await?;
        let decide = |state: &State, limit| quota::raise(state, upload, needed_bytes, max_bytes, limit, &limits);
        self.change(company, context, decide).await.map(drop)
    }

    /// Gives the reservations of partial uploads to a final one.
    pub(crate) async fn transfer(
        &self,
        company: CompanyId,
        item: &ReservedItem,
        from: &[UploadId],
        context: &Context,
    ) -> Result<Position, Problem> {
        let limits = self.shared.policies.limits(company).await?;
        let until = now().plus_ms(START_WITHIN_MS);
        // A repeated request whose first try broke off, and was swept up, has nothing to go on with.
        if is_settled(self.shared.log.as_ref(), company, item).await? {
            return Err(refused(&Refusal::UploadEnded { status: "expired" }));
        }
        self.change(company, context, |state, limit| quota::transfer(state, item, from, limit, &limits, until)).await
    }

    /// A company's quota as it is now.
    pub(crate) async fn quota(&self, company: CompanyId) -> Result<State, Problem> {
        let Shared { log, snapshots, .. } = self.shared.as_ref();
        let quota = load_quota(log.as_ref(), Some(snapshots), company).await;
        quota.map(|quota| quota.state).map_err(|error| error.into_problem("loading a quota"))
    }

    /// Sets the most that a company may store.
    pub(crate) async fn set_limit(
        &self,
        company: CompanyId,
        storage_limit_bytes: u64,
        context: &Context,
    ) -> Result<Position, Problem> {
        self.change(company, context, |_, _| Ok(Some(QuotaLimitSetV1 { storage_limit_bytes }.into()))).await
    }

    async fn change(
        &self,
        company: CompanyId,
        context: &Context,
        decide: impl Fn(&State, u64) -> Result<Option<Event>, Refusal>,
    ) -> Result<Position, Problem> {
        let Shared { log, snapshots, default_quota_bytes, .. } = self.shared.as_ref();
        let decide = |state: &State| decide(state, state.limit_bytes.unwrap_or(*default_quota_bytes));
        change_quota(log.as_ref(), snapshots, context, company, decide).await.map_err(|error| match error {
            ExecuteError::Append(AppendError::Conflict) => in_demand(),
            error => error.into_problem("changing a quota"),
        })
    }

    fn task(&self, company: CompanyId) -> mpsc::Sender<Request> {
        let mut companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = companies.get(&company).filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        companies.retain(|_, sender| !sender.is_closed());
        let (sender, requests) = mpsc::channel(QUEUE);
        companies.insert(company, sender.clone());
        tokio::spawn(run(self.shared.clone(), company, requests));
        sender
    }
}

async fn run(shared: Arc<Shared>, company: CompanyId, mut requests: mpsc::Receiver<Request>) {
    let mut loaded: Option<LoadedQuota> = None;
    let mut waiting = Vec::with_capacity(RESERVATION_ITEMS_MAX);
    loop {
        let received = tokio::time::timeout(IDLE, requests.recv_many(&mut waiting, RESERVATION_ITEMS_MAX)).await;
        if !matches!(received, Ok(1..)) {
            requests.close();
            // What came in the last moment is answered with 503 by its sender being dropped.
            return;
        }
        let batch = std::mem::take(&mut waiting);
        let answers = decide(&shared, company, &mut loaded, &batch).await;
        for (request, answer) in batch.into_iter().zip(answers) {
            // Whoever asked may have gone; then the sweep takes the space back.
            drop(request.answer.send(answer));
        }
    }
}

async fn decide(
    shared: &Shared,
    company: CompanyId,
    loaded: &mut Option<LoadedQuota>,
    batch: &[Request],
) -> Vec<Result<Position, Problem>> {
    let items: Vec<ReservedItem> = batch.iter().map(|request| request.item.clone()).collect();
    let all = |problem: Problem| batch.iter().map(|_| Err(problem.clone())).collect();
    for attempt in 1..=ATTEMPTS {
        match try_once(shared, company, loaded, &items, batch).await {
            Ok(Some(answers)) => return answers,
            Ok(None) => pause(attempt).await,
            Err(problem) => {
                *loaded = None;
                return all(problem);
            }
        }
    }
    all(in_demand())
}

fn in_demand() -> Problem {
    Problem::unavailable("the company's space is in great demand; try again")
}

/// Decides on the newest state; `None` where another gateway was faster.
async fn try_once(
    shared: &Shared,
    company: CompanyId,
    loaded: &mut Option<LoadedQuota>,
    items: &[ReservedItem],
    batch: &[Request],
) -> Result<Option<Vec<Result<Position, Problem>>>, Problem> {
    let log = shared.log.as_ref();
    let unwritten = |error: AppendError| error.into_problem("appending to a quota");
    let quota = match loaded {
        Some(quota) => {
            refresh_quota(log, Some(&shared.snapshots), company, quota)
                .await
                .map_err(|error| error.into_problem("refreshing a quota"))?;
            quota
        }
        None => loaded.insert(
            load_quota(log, Some(&shared.snapshots), company)
                .await
                .map_err(|error| error.into_problem("loading a quota"))?,
        ),
    };
    let context = common_context(batch);
    let Some(limit_bytes) = quota.state.limit_bytes else {
        let set = QuotaLimitSetV1 { storage_limit_bytes: shared.default_quota_bytes };
        let context = Context { actor: Actor::Service("gateway".to_owned()), ..context };
        append_quota(log, company, quota.last_seq, &context, set.into()).await.map_err(unwritten)?;
        return Ok(None);
    };
    let until = now().plus_ms(START_WITHIN_MS);
    // A repeated request whose reservation was settled by now needs none. Settlements that come after this look belong
    // to reservations that the fold knows, or that the append below conflicts with.
    let mut open = Vec::with_capacity(items.len());
    for (item, request) in items.iter().zip(batch) {
        if !(request.is_repeatable && is_settled(log, company, item).await?) {
            open.push(item.clone());
        }
    }
    let reservation = reserve(&quota.state, &open, limit_bytes, &shared.policies.limits(company).await?, until);
    let position = match reservation.event {
        Some(event) => {
            match append_quota(log, company, quota.last_seq, &context, event.into()).await.map_err(unwritten)? {
                Some(position) => position,
                None => return Ok(None),
            }
        }
        None => Position { partition: log.partitions().of(company), seq: quota.last_seq },
    };
    let mut answers = open.iter().map(|item| item.upload_id).zip(reservation.answers).collect::<HashMap<_, _>>();
    let answer = |item: &ReservedItem| match answers.remove(&item.upload_id) {
        Some(Err(refusal)) => Err(refused(&refusal)),
        Some(Ok(())) | None => Ok(position),
    };
    Ok(Some(items.iter().map(answer).collect()))
}

async fn is_settled(log: &dyn EventLog, company: CompanyId, item: &ReservedItem) -> Result<bool, Problem> {
    let subject = Subject::new(company, Aggregate::QuotaSettlement(item.upload_id));
    let partitions = log.partitions();
    let last = log.last_seq(partitions.of(company), &subject.to_nats(partitions)).await;
    let last = last.map_err(|error| error.into_problem("looking for a settlement"))?;
    Ok(last > 0)
}

/// One event for several starts: of the user, if they are all of one, otherwise of the gateway.
fn common_context(batch: &[Request]) -> Context {
    let service = || Actor::Service("gateway".to_owned());
    let mut contexts = batch.iter().map(|request| &request.context);
    let Some(first) = contexts.next() else {
        return Context {
            actor: service(),
            causation: waybill_schema::Causation::Request(uuid::Uuid::nil()),
            address: None,
            clock: now,
        };
    };
    if contexts.all(|context| context.actor == first.actor) {
        return first.clone();
    }
    Context { actor: service(), address: None, ..first.clone() }
}

/// A growing pause; gateways that met are spread by their ids' time.
async fn pause(attempt: u32) {
    let spread = u64::from(uuid::Uuid::new_v4().as_fields().0 % 16);
    tokio::time::sleep(Duration::from_millis(spread * u64::from(attempt.min(8)))).await;
}
