//! Reservation of quota. The gateway decides concurrent starts of a company together and appends them as one event.
//! Starts in other gateways conflict with them and are decided again.

use crate::http::problems::{IntoProblem, refused};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use waybill_access::Policies;
use waybill_domain::limits::RESERVATION_ITEMS_MAX;
use waybill_domain::quota::{State, reserve};
use waybill_domain::{Refusal, quota};
use waybill_event_log::{AppendError, EventLog};
use waybill_repository::{BatchSize, Batches, Busy, Context, ExecuteError, Held, Linger, Quotas};
use waybill_schema::events::{QuotaEvent, QuotaLimitSetV1, ReservedItem, SettledItem};
use waybill_schema::{Actor, CompanyId, Entity, Position, Subject, UploadId};
use waybill_service_kit::{Problem, now};

/// Time in milliseconds within which an upload must start after its reservation. A file that is sent in one request
/// must arrive completely within this time.
const START_WITHIN_MS: i64 = 30 * 60_000;

/// Size of the batches of starts of one company that are decided together.
const BATCHES: BatchSize =
    BatchSize { most: RESERVATION_ITEMS_MAX, queue: 1_024, linger: Linger::IfBusy(Duration::from_millis(20)) };

/// A start that waits for its reservation.
struct Request {
    item: ReservedItem,
    context: Context,
    is_repeatable: bool,
}

type Answer = Result<Position, Problem>;

/// Reserves quota with one task per company.
pub(crate) struct Reserver {
    shared: Arc<Shared>,
    starts: Batches<CompanyId, Request, Answer>,
}

struct Shared {
    log: Arc<dyn EventLog>,
    quotas: Arc<Quotas>,
    policies: Policies,
    default_quota_bytes: u64,
}

impl Reserver {
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        quotas: Arc<Quotas>,
        policies: Policies,
        default_quota_bytes: u64,
    ) -> Self {
        let shared = Arc::new(Shared { log, quotas, policies, default_quota_bytes });
        let starts = Batches::new(BATCHES, {
            let shared = shared.clone();
            move |company, requests: Vec<Request>| {
                let shared = shared.clone();
                async move {
                    match shared.reserve_all(company, &requests).await {
                        Ok(answers) => answers,
                        Err(problem) => requests.iter().map(|_| Err(problem.clone())).collect(),
                    }
                }
            }
        });
        Self { shared, starts }
    }

    /// Reserves quota for one upload. Returns the position of the reservation. `is_repeatable` is `true` if an earlier
    /// request may have reserved the same upload.
    ///
    /// # Errors
    /// 413 `quota_exceeded` and other refusals; 503 if too many starts of the company wait.
    pub(crate) async fn reserve(
        &self,
        company: CompanyId,
        item: ReservedItem,
        context: Context,
        is_repeatable: bool,
    ) -> Answer {
        let answered = self.starts.ask(company, Request { item, context, is_repeatable }).await;
        answered
            .map_err(|Busy| Problem::unavailable("too many uploads of the company start at the same time; try again"))?
    }

    /// Raises the reservation of an upload of unknown length to at least `needed_bytes`, up to `max_bytes`.
    pub(crate) async fn raise(
        &self,
        company: CompanyId,
        upload: UploadId,
        needed_bytes: u64,
        max_bytes: u64,
        context: &Context,
    ) -> Result<(), Problem> {
        let limits = self.shared.policies.limits(company).await?;
        let decide = |state: &State, limit| quota::raise(state, upload, needed_bytes, max_bytes, limit, &limits);
        self.change(company, context, decide).await.map(drop)
    }

    /// Transfers the reservations of partial uploads to their final upload.
    pub(crate) async fn transfer(
        &self,
        company: CompanyId,
        item: &ReservedItem,
        from: &[UploadId],
        context: &Context,
    ) -> Answer {
        let shared = &self.shared;
        let limits = shared.policies.limits(company).await?;
        let until = now().plus_ms(START_WITHIN_MS);
        let mut held = shared.hold(company).await?;
        loop {
            let state = shared.look(&mut held).await?;
            let limit = state.limit_bytes.unwrap_or(shared.default_quota_bytes);
            let decided = quota::transfer(state, item, from, limit, &limits, until);
            // The sweep has settled the reservation of an earlier attempt that broke off. The upload cannot continue.
            if !state.reserved.contains_key(&item.upload_id) && shared.is_known(company, item.upload_id).await? {
                return Err(refused(&Refusal::UploadEnded { status: "expired" }));
            }
            let Some(event) = decided.map_err(|refusal| refused(&refusal))? else { return Ok(held.position()) };
            if let Some(position) = shared.append(&mut held, context, event).await? {
                return Ok(position);
            }
        }
    }

    /// Releases the reservation of an upload that failed to start.
    pub(crate) async fn give_back(
        &self,
        company: CompanyId,
        upload: UploadId,
        context: &Context,
    ) -> Result<(), Problem> {
        let ended = [SettledItem { upload_id: upload, bytes_used: None }];
        self.change(company, context, |state, _| Ok(quota::settle(state, &ended).map(Into::into))).await.map(drop)
    }

    /// Returns the current quota of a company.
    pub(crate) async fn quota(&self, company: CompanyId) -> Result<State, Problem> {
        self.shared.quotas.look(company).await.map_err(failed)
    }

    /// Sets the storage limit of a company.
    pub(crate) async fn set_limit(&self, company: CompanyId, storage_limit_bytes: u64, context: &Context) -> Answer {
        self.change(company, context, |_, _| Ok(Some(QuotaLimitSetV1 { storage_limit_bytes }.into()))).await
    }

    /// Appends the event that `decide` returns for the current state and limit.
    async fn change(
        &self,
        company: CompanyId,
        context: &Context,
        decide: impl Fn(&State, u64) -> Result<Option<QuotaEvent>, Refusal> + Sync,
    ) -> Answer {
        let Shared { quotas, default_quota_bytes, .. } = self.shared.as_ref();
        let decide = |state: &State| decide(state, state.limit_bytes.unwrap_or(*default_quota_bytes));
        quotas.change(context, company, &decide).await.map_err(failed)
    }
}

impl Shared {
    async fn hold(&self, company: CompanyId) -> Result<Held<'_>, Problem> {
        self.quotas.hold(company).await.map_err(|error| failed(error.into()))
    }

    async fn look<'a>(&self, held: &'a mut Held<'_>) -> Result<&'a State, Problem> {
        held.look().await.map_err(|error| error.into_problem("loading a quota"))
    }

    async fn append(
        &self,
        held: &mut Held<'_>,
        context: &Context,
        event: QuotaEvent,
    ) -> Result<Option<Position>, Problem> {
        held.append(context, event).await.map_err(|error| failed(error.into()))
    }

    /// Returns `true` if the upload has events. They follow its reservation, so a reservation that is no longer open
    /// was settled.
    async fn is_known(&self, company: CompanyId, upload: UploadId) -> Result<bool, Problem> {
        let last = self.log.last(Subject::new(company, Entity::UploadLifecycle(upload))).await;
        Ok(last.map_err(|error| error.into_problem("looking for an upload"))?.is_some())
    }

    /// Decides a batch of starts on the newest state. Decides again if another gateway appended an event first.
    async fn reserve_all(&self, company: CompanyId, batch: &[Request]) -> Result<Vec<Answer>, Problem> {
        let context = common_context(batch);
        let limits = self.policies.limits(company).await?;
        let until = now().plus_ms(START_WITHIN_MS);
        let mut held = self.hold(company).await?;
        loop {
            let state = self.look(&mut held).await?;
            let Some(limit_bytes) = state.limit_bytes else {
                let set = QuotaLimitSetV1 { storage_limit_bytes: self.default_quota_bytes };
                let context = Context { actor: Actor::Service("gateway".to_owned()), ..context.clone() };
                self.append(&mut held, &context, set.into()).await?;
                continue;
            };
            // A repeated request needs no reservation if its first one was settled. Settlements after this check
            // concern reservations that are in the state, or they conflict with the append below.
            let mut open = Vec::with_capacity(batch.len());
            for Request { item, is_repeatable, .. } in batch {
                let is_reserved = state.reserved.contains_key(&item.upload_id);
                if !*is_repeatable || is_reserved || !self.is_known(company, item.upload_id).await? {
                    open.push(item.clone());
                }
            }
            let reservation = reserve(state, &open, limit_bytes, &limits, until);
            let position = match reservation.event {
                Some(event) => match self.append(&mut held, &context, event.into()).await? {
                    Some(position) => position,
                    None => continue,
                },
                None => held.position(),
            };
            // A batch can contain the same id several times. All of these requests get the same answer.
            let answered = open.iter().map(|item| item.upload_id).zip(&reservation.answers);
            let refusals: HashMap<UploadId, &Refusal> =
                answered.filter_map(|(id, answer)| answer.as_ref().err().map(|refusal| (id, refusal))).collect();
            let answer = |request: &Request| match refusals.get(&request.item.upload_id) {
                Some(refusal) => Err(refused(refusal)),
                None => Ok(position),
            };
            return Ok(batch.iter().map(answer).collect());
        }
    }
}

fn failed(error: ExecuteError) -> Problem {
    match error {
        ExecuteError::Append(AppendError::Conflict) => {
            Problem::unavailable("too many requests change the quota of the company at the same time; try again")
        }
        error => error.into_problem("changing a quota"),
    }
}

/// Returns the context for the event of a batch. Its actor is the user if all starts are from one user, and the gateway
/// otherwise.
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
