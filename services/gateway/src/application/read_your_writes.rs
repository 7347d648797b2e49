//! Read your own writes: responses to commands have `Waybill-Position`. A query that sends this value as
//! `Waybill-Min-Position` waits until the read model has reached the position.

use crate::application::replica::Replica;
use crate::http::problems::OrProblem;
use actix_web::HttpRequest;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use waybill_event_log::EventLog;
use waybill_http_kit::Problem;
use waybill_read_model::{Connection, Database, projection};
use waybill_schema::ErrorCode;
use waybill_schema::Position;

const MIN_POSITION: &str = "Waybill-Min-Position";

/// Maximum time for which a query waits for the read model.
const PATIENCE: Duration = Duration::from_secs(2);

/// Maximum time for which a query waits for the replica before it asks the primary.
const REPLICA_WITHIN: Duration = Duration::from_millis(500);

const PAUSE: Duration = Duration::from_millis(15);

/// Provides connections to a read model that has reached the positions that a query needs.
pub(crate) struct Positions {
    log: Arc<dyn EventLog>,
    database: Database,
    /// Replica that answers queries while it is usable. Its own checkpoints say which positions it has reached.
    replica: Option<Arc<Replica>>,
}

impl Positions {
    pub(crate) fn new(log: Arc<dyn EventLog>, database: Database, replica: Option<Arc<Replica>>) -> Self {
        Self { log, database, replica }
    }

    /// Connects to the replica if it is usable and has reached the positions.
    async fn to_replica(&self, wanted: &[Position]) -> Option<Connection> {
        let replica = self.replica.as_ref()?;
        let connect = async {
            let mut connection = replica.connection().await?;
            // A replica that has just stopped to answer would otherwise be noticed only by the query, which has no end then.
            projection::checkpoint(&mut connection, 0).await.ok()?;
            for position in wanted {
                self.reached(&mut connection, *position).await.ok()?.then_some(())?;
            }
            Some(connection)
        };
        tokio::time::timeout(REPLICA_WITHIN, connect).await.ok().flatten()
    }

    /// Begins to read for a request. The tables must have reached its `Waybill-Min-Position`, and `also`.
    ///
    /// # Errors
    /// 400 `position_invalid`.
    pub(crate) fn reading(&self, request: &HttpRequest, also: Option<Position>) -> Result<Reading<'_>, Problem> {
        let mut wanted: Vec<Position> = also.into_iter().collect();
        if let Some(sent) = request.headers().get(MIN_POSITION) {
            let position = sent.to_str().ok().and_then(|text| text.parse().ok());
            let known = |position: &Position| position.partition < self.log.partitions().count();
            wanted.push(position.filter(known).ok_or_else(invalid)?);
        }
        Ok(Reading { positions: self, wanted, may_lag: true, connection: None })
    }

    /// Begins to read from the primary, without a position that the tables must have reached.
    pub(crate) fn reading_primary(&self) -> Reading<'_> {
        Reading { positions: self, wanted: Vec::new(), may_lag: false, connection: None }
    }

    /// Returns a connection for a query when the read model has reached `Waybill-Min-Position` of the request and
    /// `also`.
    ///
    /// # Errors
    /// 400 `position_invalid`; 503 `projection_behind` after 2 s of waiting.
    pub(crate) async fn connection(
        &self,
        request: &HttpRequest,
        also: Option<Position>,
    ) -> Result<Connection, Problem> {
        let Reading { wanted, .. } = self.reading(request, also)?;
        self.connect(&wanted, true).await
    }

    /// Connects to the primary, or to the replica if the tables `may_lag`.
    async fn connect(&self, wanted: &[Position], may_lag: bool) -> Result<Connection, Problem> {
        if may_lag && let Some(connection) = self.to_replica(wanted).await {
            return Ok(connection);
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let mut connection = self.database.connection().await.or_problem("connecting for a query")?;
            let mut reached = true;
            for position in wanted {
                reached &= self.reached(&mut connection, *position).await?;
            }
            if reached {
                return Ok(connection);
            }
            drop(connection);
            if Instant::now() >= until {
                return self.too_late(wanted).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn reached(&self, connection: &mut Connection, position: Position) -> Result<bool, Problem> {
        let checkpoint =
            projection::checkpoint(connection, position.partition).await.or_problem("reading a checkpoint")?;
        Ok(checkpoint.is_some_and(|at| u64::try_from(at.seq).unwrap_or(0) >= position.seq))
    }

    /// Returns the error after the waiting time: 400 if a position is after the end of the log, and 503 otherwise.
    async fn too_late(&self, wanted: &[Position]) -> Result<Connection, Problem> {
        for position in wanted {
            let head = self.log.head(position.partition).await.or_problem("reading the log's end")?;
            if position.seq > head.last_seq {
                return Err(invalid());
            }
        }
        Err(Problem {
            code: ErrorCode::ProjectionBehind,
            ..Problem::unavailable("the read model has not reached the position yet; try again")
        })
    }
}

/// Queries of one request. It connects to PostgreSQL when the first one is necessary.
pub(crate) struct Reading<'a> {
    positions: &'a Positions,
    wanted: Vec<Position>,
    /// `true` if the replica may answer.
    may_lag: bool,
    connection: Option<Connection>,
}

impl Reading<'_> {
    /// Returns the positions that the tables must have reached.
    pub(crate) fn wanted(&self) -> &[Position] {
        &self.wanted
    }

    /// Adds a position that the tables have reached, so that access rights are read as of it or later.
    pub(crate) fn also(&mut self, position: Position) {
        self.wanted.push(position);
    }

    /// Gives the connection back, before something else is waited for.
    pub(crate) fn release(&mut self) {
        self.connection = None;
    }

    /// Returns the connection for queries.
    ///
    /// # Errors
    /// 400 `position_invalid`; 503 `projection_behind` after 2 s of waiting.
    pub(crate) async fn connection(&mut self) -> Result<&mut Connection, Problem> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.positions.connect(&self.wanted, self.may_lag).await?,
        };
        Ok(self.connection.insert(connection))
    }
}

fn invalid() -> Problem {
    Problem::bad_request(
        ErrorCode::PositionInvalid,
        "Waybill-Min-Position was not issued by this service; send the value of a Waybill-Position header",
    )
}
