//! The open connections, by user.

use crate::outbox::Outbox;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;
use waybill_http_kit::Principal;
use waybill_schema::{CompanyId, UserId};

/// Maximum number of batches in which connections are closed at shutdown.
const BATCHES: usize = 20;
/// Time between two batches. All batches together take at most 2 s.
const BATCH_EVERY: Duration = Duration::from_millis(100);
/// Minimum number of connections in a batch.
const BATCH_MIN: usize = 32;

/// Maximum number of connections that a user may have in this process.
const OF_USER_MAX: usize = 8;

/// Connections of one user, by number.
type OfUser = Vec<(u64, Arc<Outbox>)>;

/// All connections, by user.
#[derive(Default)]
pub(crate) struct Clients(RwLock<Entered>);

#[derive(Default)]
struct Entered {
    all: HashMap<(CompanyId, UserId), OfUser>,
    /// Set when the process stops. Every connection is then closed.
    stopping: bool,
}

impl Clients {
    /// Adds connection `conn` of the principal. Returns false if the user has too many connections.
    pub(crate) fn enter(&self, conn: u64, principal: &Principal, outbox: &Arc<Outbox>) -> bool {
        let mut entered = self.write();
        let user = (principal.company_id, principal.user_id);
        // Most users have one connection.
        let of_user = entered.all.entry(user).or_insert_with(|| Vec::with_capacity(1));
        if of_user.len() >= OF_USER_MAX {
            return false;
        }
        of_user.push((conn, outbox.clone()));
        if entered.stopping {
            // The batches already exist and do not contain this connection.
            outbox.stop();
        }
        true
    }

    /// Removes connection `conn` of the principal.
    pub(crate) fn leave(&self, conn: u64, principal: &Principal) {
        let mut entered = self.write();
        let user = (principal.company_id, principal.user_id);
        if let Some(of_user) = entered.all.get_mut(&user) {
            of_user.retain(|(entered, _)| *entered != conn);
            if of_user.is_empty() {
                entered.all.remove(&user);
            }
        }
    }

    /// Makes the connections of a company, or of one of its users, check access again because event `seq` may have
    /// ended it.
    pub(crate) fn recheck(&self, company: CompanyId, of: Option<UserId>, seq: u64) {
        let entered = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let recheck = |of_user: &OfUser| of_user.iter().for_each(|(_, outbox)| outbox.recheck(seq));
        match of {
            Some(user) => entered.all.get(&(company, user)).into_iter().for_each(recheck),
            None => entered.all.iter().filter(|((of, _), _)| *of == company).for_each(|(_, of_user)| recheck(of_user)),
        }
    }

    /// Closes all connections in random batches, so that clients do not reconnect all at once. Closes later connections
    /// immediately.
    pub(crate) async fn send_away(&self) {
        let outboxes: Vec<Arc<Outbox>> = {
            let mut entered = self.write();
            entered.stopping = true;
            // The iteration order of a `HashMap` is random.
            entered.all.values().flatten().map(|(_, outbox)| outbox.clone()).collect()
        };
        let batch = outboxes.len().div_ceil(BATCHES).max(BATCH_MIN);
        for (number, outboxes) in outboxes.chunks(batch).enumerate() {
            if number > 0 {
                tokio::time::sleep(BATCH_EVERY).await;
            }
            outboxes.iter().for_each(|outbox| outbox.stop());
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entered> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Next;
    use futures_util::poll;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use uuid::Uuid;
    use waybill_api::frames::Close;
    use waybill_schema::Timestamp;

    fn principal(company: u128, user: u128) -> Principal {
        let (company_id, user_id) = (CompanyId(Uuid::from_u128(company)), UserId(Uuid::from_u128(user)));
        Principal { user_id, company_id, roles: Vec::new(), issued_at: None, expires_at: Timestamp(0), link: None }
    }

    fn next(outbox: &Outbox) -> Option<Next> {
        match outbox.poll_next(&Context::from_waker(Waker::noop()), true) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    fn is_rechecked(outbox: &Outbox) -> bool {
        matches!(next(outbox), Some(Next::Recheck(_)))
    }

    fn is_stopped(outbox: &Outbox) -> bool {
        matches!(next(outbox), Some(Next::End(Close::Restart)))
    }

    #[test]
    fn a_recheck_reaches_only_the_connections_of_its_user_or_company() {
        let clients = Clients::default();
        let who = [principal(1, 1), principal(1, 1), principal(1, 2), principal(2, 1)];
        let outboxes = [(); 4].map(|()| Arc::<Outbox>::default());
        for (conn, (who, outbox)) in (0..).zip(who.iter().zip(&outboxes)) {
            assert!(clients.enter(conn, who, outbox));
        }
        let rechecked = || [0, 1, 2, 3].map(|conn: usize| is_rechecked(&outboxes[conn]));
        clients.recheck(who[0].company_id, Some(who[0].user_id), 1);
        assert_eq!(rechecked(), [true, true, false, false]);
        clients.recheck(who[0].company_id, None, 2);
        assert_eq!(rechecked(), [true, true, true, false]);
        clients.leave(0, &who[0]);
        clients.leave(2, &who[2]);
        clients.recheck(who[0].company_id, None, 3);
        assert_eq!(rechecked(), [false, true, false, false]);
    }

    #[test]
    fn a_user_has_eight_connections() {
        let clients = Clients::default();
        let user = principal(1, 1);
        let entered = (1..=10).filter(|conn| clients.enter(*conn, &user, &Arc::default())).count();
        assert_eq!(entered, 8);
        assert!(
            clients.enter(11, &principal(1, 2), &Arc::default())
                && clients.enter(12, &principal(2, 1), &Arc::default())
        );
        clients.leave(9, &user);
        assert!(
            !clients.enter(13, &user, &Arc::default()),
            "removing a connection that was not admitted frees no place"
        );
        clients.leave(8, &user);
        assert!(clients.enter(14, &user, &Arc::default()));
    }

    #[tokio::test]
    async fn a_stopping_server_closes_connections_in_batches_and_late_connections_immediately() {
        assert!(BATCH_EVERY * u32::try_from(BATCHES).unwrap() <= Duration::from_secs(2));
        for (count, at_once) in [(1, 1), (40, 32), (1_000, 50)] {
            let clients = Clients::default();
            let outboxes: Vec<Arc<Outbox>> = (0..count).map(|_| Arc::default()).collect();
            for (conn, outbox) in (0..).zip(&outboxes) {
                assert!(clients.enter(conn, &principal(1, conn.into()), outbox));
            }
            let mut sent_away = pin!(clients.send_away());
            let is_done = poll!(&mut sent_away).is_ready();
            let stopped = outboxes.iter().filter(|outbox| is_stopped(outbox)).count();
            assert_eq!((stopped, is_done), (at_once, count == 1), "{count}");
            let late = Arc::<Outbox>::default();
            assert!(clients.enter(count, &principal(1, 0), &late));
            assert!(is_stopped(&late));
        }
    }
}
