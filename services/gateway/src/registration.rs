//! The directories of companies, and who gets into one by coming with a valid token.

use crate::problems::IntoProblem;
use moka::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Mutex;
use waybill_domain::directory::{Command, State};
use waybill_event_log::EventLog;
use waybill_read_model::{Database, queries};
use waybill_repository::{Context, DirectoryAggregate, Done, Loaded, execute, refresh};
use waybill_schema::{CompanyId, Position, UserId};
use waybill_service_kit::{Principal, Problem, Role};

/// How many users are remembered as known.
const KNOWN_KEPT: u64 = 100_000;
/// How many users, chatrooms, threads and members are kept at hand, of all companies together.
const ENTRIES_KEPT: u64 = 500_000;

/// A folded directory. Commands to one company wait for each other here, so that only other gateways conflict.
struct Folded {
    loaded: Mutex<Loaded<State>>,
    entries: AtomicU32,
}

/// The directories, decided on as the log has them.
pub(crate) struct Directories {
    log: Arc<dyn EventLog>,
    folded: Cache<CompanyId, Arc<Folded>>,
}

impl Directories {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Self {
        let weigher = |_: &CompanyId, folded: &Arc<Folded>| folded.entries.load(Ordering::Relaxed).max(1);
        Self { log, folded: Cache::builder().max_capacity(ENTRIES_KEPT).weigher(weigher).build() }
    }

    /// Carries out commands in their order.
    ///
    /// # Errors
    /// The refusal of the first one that is refused, with its `index`; those before it have been carried out.
    pub(crate) async fn run(
        &self,
        company: CompanyId,
        context: &Context,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Option<Position>, Problem> {
        let folded = self.of(company);
        let mut loaded = folded.loaded.lock().await;
        let aggregate = DirectoryAggregate { company };
        let mut position = None;
        for (index, command) in commands.into_iter().enumerate() {
            let done = execute(self.log.as_ref(), &aggregate, &mut loaded, context, command).await;
            let Done { position: at, .. } =
                done.map_err(|error| error.into_problem("changing a directory").with("index", index))?;
            position = Some(at);
        }
        self.weigh(company, &folded, &loaded.state);
        Ok(position)
    }

    /// Looks at a directory as it is now.
    pub(crate) async fn look<T>(&self, company: CompanyId, look: impl FnOnce(&State) -> T) -> Result<T, Problem> {
        let folded = self.of(company);
        let mut loaded = folded.loaded.lock().await;
        refresh(self.log.as_ref(), &DirectoryAggregate { company }, &mut loaded)
            .await
            .map_err(|error| error.into_problem("loading a directory"))?;
        self.weigh(company, &folded, &loaded.state);
        Ok(look(&loaded.state))
    }

    fn of(&self, company: CompanyId) -> Arc<Folded> {
        self.folded.get_with(company, || Arc::new(Folded { loaded: Mutex::default(), entries: AtomicU32::new(1) }))
    }

    /// What has grown is put back, so that the cache weighs it again.
    fn weigh(&self, company: CompanyId, folded: &Arc<Folded>, state: &State) {
        let entries = u32::try_from(state.len()).unwrap_or(u32::MAX);
        if entries > folded.entries.swap(entries, Ordering::Relaxed) {
            self.folded.insert(company, folded.clone());
        }
    }
}

/// Lets those in who come with a valid token.
pub(crate) struct Registration {
    directories: Arc<Directories>,
    database: Database,
    /// Whether an unknown company or user is registered.
    automatic: bool,
    known: Cache<(CompanyId, UserId), Option<Position>>,
}

impl Registration {
    pub(crate) fn new(directories: Arc<Directories>, database: Database, automatic: bool) -> Self {
        Self { directories, database, automatic, known: Cache::new(KNOWN_KEPT) }
    }

    /// Makes sure that the principal is known; answers with the position of the registration, if this process made it.
    ///
    /// # Errors
    /// 403 `not_registered` where they are not, or were removed; 403 `user_required` for a service.
    pub(crate) async fn ensure(&self, principal: &Principal, context: &Context) -> Result<Option<Position>, Problem> {
        if principal.roles.contains(&Role::Service) {
            return Err(Problem::new(403, "user_required", "a service token is no user; send a token of a user"));
        }
        let key = (principal.company_id, principal.user_id);
        if let Some(position) = self.known.get(&key) {
            return Ok(position);
        }
        let position =
            if self.is_in_read_model(principal).await { None } else { self.admit(principal, context).await? };
        self.known.insert(key, position);
        Ok(position)
    }

    /// A read model that does not answer, or lags, only means that the log is asked.
    async fn is_in_read_model(&self, principal: &Principal) -> bool {
        let Ok(mut connection) = self.database.connection().await else { return false };
        queries::is_user_known(&mut connection, principal.company_id, principal.user_id).await.unwrap_or(false)
    }

    async fn admit(&self, principal: &Principal, context: &Context) -> Result<Option<Position>, Problem> {
        let (company, user) = (principal.company_id, principal.user_id);
        if self.automatic {
            let commands = [Command::AdmitCompany(company), Command::Admit(user)];
            return self.directories.run(company, context, commands).await;
        }
        let is_active = self.directories.look(company, |directory| directory.is_active(user)).await?;
        if is_active { Ok(None) } else { Err(not_registered()) }
    }
}

/// The answer to those who are not in the directory, or not any more.
pub(crate) fn not_registered() -> Problem {
    crate::problems::refused(&waybill_domain::Refusal::NotRegistered)
}
