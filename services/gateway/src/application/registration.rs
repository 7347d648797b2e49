//! Registration of companies and users by a valid token, and access to the directories.

use crate::http::problems::{IntoProblem, OrProblem};
use std::sync::Arc;
use waybill_cache::Cache;
use waybill_domain::access::Barred;
use waybill_domain::directory::{Command, State};
use waybill_http_kit::auth::token_invalidated;
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::{Database, queries};
use waybill_repository::{Context, Directories};
use waybill_schema::{CompanyId, Position, UserId};

/// Number of registered users that are cached.
const KNOWN_KEPT: u64 = 100_000;

/// Executes commands in their order.
///
/// # Errors
/// The refusal of the first refused command, with its `index`. The commands before it were executed.
pub(crate) async fn change_directory(
    directories: &Directories,
    company: CompanyId,
    context: &Context,
    commands: impl IntoIterator<Item = Command>,
) -> Result<Option<Position>, Problem> {
    let done = directories.run(company, context, commands).await;
    done.map_err(|(index, error)| {
        error.into_problem("changing a directory").with(|members| members.index = Some(index))
    })
}

/// Applies `look` to the current state of a directory.
///
/// # Errors
/// 503 if the log does not answer.
pub(crate) async fn look_at_directory<T>(
    directories: &Directories,
    company: CompanyId,
    look: impl FnOnce(&State) -> T,
) -> Result<T, Problem> {
    directories.look(company, look).await.or_problem("loading a directory")
}

/// Registers users that send a valid token.
pub(crate) struct Registration {
    directories: Arc<Directories>,
    database: Database,
    /// `true` if unknown companies and users are registered automatically.
    automatic: bool,
    known: Cache<(CompanyId, UserId), Option<Position>>,
}

impl Registration {
    pub(crate) fn new(directories: Arc<Directories>, database: Database, automatic: bool) -> Self {
        Self { directories, database, automatic, known: Cache::new(KNOWN_KEPT) }
    }

    /// Returns `true` if a valid token registers its company and user.
    pub(crate) fn is_automatic(&self) -> bool {
        self.automatic
    }

    /// Makes sure that the principal is registered. Returns the position of the registration if this gateway made it.
    ///
    /// # Errors
    /// 403 `not_registered` if the user was removed, or is unknown and registration is not automatic; 403
    /// `user_required` for a service token.
    pub(crate) async fn ensure(&self, principal: &Principal, context: &Context) -> Result<Option<Position>, Problem> {
        principal.require_user()?;
        let key = (principal.company_id, principal.user_id);
        if let Some(position) = self.known.get(&key) {
            return Ok(*position);
        }
        let position =
            if self.is_in_read_model(principal).await { None } else { self.admit(principal, context).await? };
        self.known.insert(&key, position);
        Ok(position)
    }

    /// Returns `false` also if the read model does not answer or lags. The caller then reads the log.
    async fn is_in_read_model(&self, principal: &Principal) -> bool {
        let Ok(mut connection) = self.database.connection().await else { return false };
        queries::is_user_known(&mut connection, principal.company_id, principal.user_id).await.unwrap_or(false)
    }

    /// Registers the principal if registration is automatic, and otherwise checks that the user is registered.
    async fn admit(&self, principal: &Principal, context: &Context) -> Result<Option<Position>, Problem> {
        let (company, user) = (principal.company_id, principal.user_id);
        if self.automatic {
            let commands = [Command::AdmitCompany(company), Command::Admit(user)];
            return change_directory(&self.directories, company, context, commands).await;
        }
        let is_active = look_at_directory(&self.directories, company, |directory| directory.is_active(user)).await?;
        if is_active { Ok(None) } else { Err(not_registered()) }
    }
}

/// Returns the problem for users who may do nothing.
pub(crate) fn barred(why: Barred) -> Problem {
    match why {
        Barred::NotRegistered => not_registered(),
        Barred::TokenInvalidated => token_invalidated(),
    }
}

/// Returns the problem for users that are not registered or were removed.
pub(crate) fn not_registered() -> Problem {
    waybill_data_plane::refused(waybill_domain::Refusal::NotRegistered)
}
