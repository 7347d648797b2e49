//! A valid token registers its company and user, by event, when they are first seen.

use crate::problems::IntoProblem;
use moka::sync::Cache;
use std::sync::Arc;
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, append};
use waybill_read_model::{Database, queries};
use waybill_repository::Context;
use waybill_schema::events::{CompanyRegisteredV1, UserRegisteredV1};
use waybill_schema::{Aggregate, CompanyId, Event, Position, Routing, Subject, UserId, names};
use waybill_service_kit::{Principal, Problem};

/// How many users are remembered as known.
const KNOWN_KEPT: u64 = 100_000;

pub(crate) struct Registration {
    log: Arc<dyn EventLog>,
    database: Database,
    known: Cache<(CompanyId, UserId), Option<Position>>,
}

impl Registration {
    pub(crate) fn new(log: Arc<dyn EventLog>, database: Database) -> Self {
        Self { log, database, known: Cache::new(KNOWN_KEPT) }
    }

    /// Makes sure that the principal is known; answers with the position of the registration, if this process made it.
    pub(crate) async fn ensure(&self, principal: &Principal, context: &Context) -> Result<Option<Position>, Problem> {
        let key = (principal.company_id, principal.user_id);
        if let Some(position) = self.known.get(&key) {
            return Ok(position);
        }
        let position =
            if self.is_in_read_model(principal).await { None } else { Some(self.register(principal, context).await?) };
        self.known.insert(key, position);
        Ok(position)
    }

    /// A read model that does not answer, or lags, only means one registration more, which changes nothing.
    async fn is_in_read_model(&self, principal: &Principal) -> bool {
        let Ok(mut connection) = self.database.connection().await else { return false };
        queries::is_user_known(&mut connection, principal.company_id, principal.user_id).await.unwrap_or(false)
    }

    async fn register(&self, principal: &Principal, context: &Context) -> Result<Position, Problem> {
        let (company_id, user_id) = (principal.company_id, principal.user_id);
        let subject = Subject::new(company_id, Aggregate::Directory);
        let new = |event: Event, expect, message_id| NewEvent {
            subject,
            envelope: context.envelope(Routing::default()),
            event,
            expect,
            message_id,
        };
        let company = new(CompanyRegisteredV1 { company_id }.into(), Expect::LastSeq(0), None);
        match append(self.log.as_ref(), company).await {
            Ok(_) | Err(AppendError::Conflict) => {}
            Err(error) => return Err(error.into_problem("registering a company")),
        }
        let id = names::user_message_id(company_id, user_id);
        let user = new(UserRegisteredV1 { user_id }.into(), Expect::Any, Some(id));
        append(self.log.as_ref(), user).await.map_err(|error| error.into_problem("registering a user"))
    }
}
