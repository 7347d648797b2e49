//! Reservation of quota. The gateway decides concurrent starts of a company together and appends them as one event.
//! Starts in other gateways conflict with them and are decided again.

use crate::http::problems::IntoProblem;
use crate::http::problems::OrProblem;
use crate::settings::GatewaySettings;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use waybill_access::Policies;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::limits::{OpenLimits, RESERVATION_ITEMS_MAX};
use waybill_domain::link;
use waybill_domain::quota::{Command, LinkLimits, Reservation, State, Terms, check_each};
use waybill_event_log::{AppendError, EventLog, ReadError};
use waybill_http_kit::Problem;
use waybill_repository::{
    BatchSize, Batches, Busy, Context, ExecuteError, Held, Linger, LinkAggregate, Prepare, QuotaAggregate, Repository,
};
use waybill_schema::events::{QuotaUserLimitSet, ReservedItem, ReservedLink, SettledItem};
use waybill_schema::{Actor, CompanyId, Entity, LinkId, Position, Subject, Timestamp, UploadId};
use waybill_service_kit::now;

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
    repository: Arc<Repository>,
    policies: Policies,
    default_quota_bytes: u64,
    open: OpenLimits,
}

impl Reserver {
    pub(crate) fn new(repository: Arc<Repository>, policies: Policies, settings: &GatewaySettings) -> Self {
        let default_quota_bytes = settings.default_quota_bytes;
        let shared = Arc::new(Shared { repository, policies, default_quota_bytes, open: settings.open_limits() });
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
        let mut terms = self.shared.terms(company).await?;
        let link = self.look(company, |state| state.reserved.get(&upload).and_then(|reserved| reserved.link)).await?;
        terms.links = self.shared.links(company, link.into_iter()).await?;
        let command = Command::Raise { upload_id: upload, needed_bytes, max_bytes, terms };
        self.execute(company, command, context).await.map(drop)
    }

    /// Transfers the reservations of partial uploads to their final upload.
    pub(crate) async fn transfer(
        &self,
        company: CompanyId,
        item: &ReservedItem,
        from: &[UploadId],
        context: &Context,
    ) -> Answer {
        let mut terms = self.shared.terms(company).await?;
        terms.links = self.shared.links(company, item.link.into_iter()).await?;
        let until = now().plus_ms(START_WITHIN_MS);
        let mut held = self.shared.hold(company).await?;
        let mut transfer = Transfer { log: self.shared.repository.log(), company, item, from, until, terms };
        held.execute(&mut transfer, context).await.map(|done| done.position).map_err(not_changed)
    }

    /// Releases the reservation of an upload that failed to start.
    pub(crate) async fn give_back(
        &self,
        company: CompanyId,
        upload: UploadId,
        context: &Context,
    ) -> Result<(), Problem> {
        let ended = vec![SettledItem { upload_id: upload, bytes_used: None }];
        self.execute(company, Command::Settle(ended), context).await.map(drop)
    }

    /// Returns the current quota of a company.
    pub(crate) async fn quota(&self, company: CompanyId) -> Result<State, Problem> {
        self.shared.repository.quota(company).await.map_err(failed)
    }

    /// Applies `look` to the current quota of a company.
    pub(crate) async fn look<T: Send>(
        &self,
        company: CompanyId,
        look: impl FnOnce(&State) -> T + Send,
    ) -> Result<T, Problem> {
        self.shared.repository.look_at_quota(company, look).await.map_err(failed)
    }

    /// Sets the limit of a user, or of all users that have no limit of their own.
    pub(crate) async fn set_user_limit(&self, company: CompanyId, set: QuotaUserLimitSet, context: &Context) -> Answer {
        self.execute(company, Command::SetUserLimit(set), context).await
    }

    /// Sets the storage limit of a company.
    pub(crate) async fn set_limit(
        &self,
        company: CompanyId,
        storage_limit_bytes: u64,
        is_of_host: bool,
        context: &Context,
    ) -> Answer {
        let default_limit_bytes = self.shared.default_quota_bytes;
        let command = if is_of_host {
            Command::SetLimit { storage_limit_bytes }
        } else {
            Command::LowerLimit { storage_limit_bytes, default_limit_bytes }
        };
        self.execute(company, command, context).await
    }

    async fn execute(&self, company: CompanyId, command: Command, context: &Context) -> Answer {
        let done = self.shared.repository.execute(&QuotaAggregate { company }, command, context).await;
        done.map(|done| done.position).map_err(failed)
    }
}

impl Shared {
    async fn hold(&self, company: CompanyId) -> Result<Held<'_>, Problem> {
        self.repository.hold_quota(company).await.map_err(|error| failed(error.into()))
    }

    async fn terms(&self, company: CompanyId) -> Result<Terms, Problem> {
        let limits = self.policies.limits(company).await.or_problem("reading the settings of a company")?;
        Ok(Terms { default_limit_bytes: self.default_quota_bytes, limits, open: self.open, links: BTreeMap::new() })
    }

    /// Returns the limits of upload links.
    async fn links(
        &self,
        company: CompanyId,
        links: impl Iterator<Item = ReservedLink>,
    ) -> Result<BTreeMap<LinkId, LinkLimits>, Problem> {
        let mut limits = BTreeMap::new();
        for link in links.map(|link| link.link_id) {
            if limits.contains_key(&link) {
                continue;
            }
            let loaded = self.repository.load(&LinkAggregate { company, link }).await;
            let state = loaded.or_problem("loading an upload link")?.state;
            limits.insert(link, link::limits(state.made().map_err(refused)?));
        }
        Ok(limits)
    }

    /// Decides a batch of starts on the newest state. Decides again if another gateway appended an event first.
    async fn reserve_all(&self, company: CompanyId, batch: &[Request]) -> Result<Vec<Answer>, Problem> {
        let context = common_context(batch);
        let mut terms = self.terms(company).await?;
        terms.links = self.links(company, batch.iter().filter_map(|request| request.item.link)).await?;
        let until = now().plus_ms(START_WITHIN_MS);
        let mut held = self.hold(company).await?;
        let by_gateway = Context { actor: Actor::Service("gateway".to_owned()), ..context.clone() };
        let mut first_limit = Command::SetFirstLimit { storage_limit_bytes: self.default_quota_bytes };
        held.execute(&mut first_limit, &by_gateway).await.map_err(not_changed)?;
        let log = self.repository.log();
        let mut starts = Starts { log, company, batch, until, terms, refusals: HashMap::new() };
        let position = held.execute(&mut starts, &context).await.map_err(not_changed)?.position;
        // A batch can contain the same id several times. All of these requests get the same answer.
        let answer = |request: &Request| match starts.refusals.get(&request.item.upload_id) {
            Some(refusal) => Err(refused(refusal.clone())),
            None => Ok(position),
        };
        Ok(batch.iter().map(answer).collect())
    }
}

/// Starts that are decided together.
struct Starts<'s> {
    log: &'s dyn EventLog,
    company: CompanyId,
    batch: &'s [Request],
    until: Timestamp,
    terms: Terms,
    /// Refusals of the last decision.
    refusals: HashMap<UploadId, Refusal>,
}

impl Prepare for Starts<'_> {
    fn command<'a>(&'a mut self, state: &'a State) -> BoxFuture<'a, Result<Command, ExecuteError>> {
        Box::pin(async move {
            // A repeated request needs no reservation if its first one was settled. Settlements after this check
            // concern reservations that are in the state, or they conflict with the append of this command.
            let mut open = Vec::with_capacity(self.batch.len());
            for Request { item, is_repeatable, .. } in self.batch {
                let is_reserved = state.reserved.contains_key(&item.upload_id);
                if !*is_repeatable || is_reserved || !is_known(self.log, self.company, item.upload_id).await? {
                    open.push(item.clone());
                }
            }
            let Reservation { answers, items } = check_each(state, &open, &self.terms);
            let answered = open.iter().map(|item| item.upload_id).zip(answers);
            self.refusals = answered.filter_map(|(id, answer)| answer.err().map(|refusal| (id, refusal))).collect();
            Ok(Command::Reserve { items, until: self.until, terms: self.terms.clone() })
        })
    }
}

/// Transfer of the reservations of partial uploads.
struct Transfer<'s> {
    log: &'s dyn EventLog,
    company: CompanyId,
    item: &'s ReservedItem,
    from: &'s [UploadId],
    until: Timestamp,
    terms: Terms,
}

impl Prepare for Transfer<'_> {
    fn command<'a>(&'a mut self, state: &'a State) -> BoxFuture<'a, Result<Command, ExecuteError>> {
        Box::pin(async move {
            let Self { item, from, until, .. } = *self;
            // The sweep has settled the reservation of an earlier attempt that broke off. The upload cannot continue.
            if !state.reserved.contains_key(&item.upload_id) && is_known(self.log, self.company, item.upload_id).await?
            {
                return Err(Refusal::UploadEnded { status: "expired" }.into());
            }
            Ok(Command::Transfer { item: item.clone(), from: from.to_vec(), until, terms: self.terms.clone() })
        })
    }
}

/// Returns `true` if the upload has events. They follow its reservation, so a reservation that is no longer open was
/// settled.
async fn is_known(log: &dyn EventLog, company: CompanyId, upload: UploadId) -> Result<bool, ReadError> {
    Ok(log.last(Subject::new(company, Entity::UploadLifecycle(upload))).await?.is_some())
}

/// Converts the error of a command that reads the log before its decision.
fn not_changed(error: ExecuteError) -> Problem {
    match error {
        ExecuteError::Read(error) => error.into_problem("loading a quota"),
        error => failed(error),
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
/// otherwise. It has an address only if all starts are from one user and this address, and names the first request: the
/// events of the uploads name their own requests.
fn common_context(batch: &[Request]) -> Context {
    let service = || Actor::Service("gateway".to_owned());
    let contexts = || batch.iter().map(|request| &request.context);
    let Some(first) = contexts().next() else {
        return Context {
            actor: service(),
            causation: waybill_schema::Causation::Request(uuid::Uuid::nil()),
            address: None,
            clock: now,
        };
    };
    let is_one_user = contexts().all(|context| context.actor == first.actor);
    let is_one_address = is_one_user && contexts().all(|context| context.address == first.address);
    Context {
        actor: if is_one_user { first.actor.clone() } else { service() },
        address: first.address.filter(|_| is_one_address),
        ..first.clone()
    }
}
