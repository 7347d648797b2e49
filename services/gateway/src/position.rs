//! Read your own writes: commands answer with `Waybill-Position`, and a query that sends it back as
//! `Waybill-Min-Position` waits until the read model is that far.

use crate::problems::IntoProblem;
use actix_web::HttpRequest;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waybill_event_log::EventLog;
use waybill_read_model::{Connection, Database, projection};
use waybill_schema::Position;
use waybill_service_kit::Problem;

/// The header of answers to commands.
pub(crate) const POSITION: &str = "Waybill-Position";
const MIN_POSITION: &str = "Waybill-Min-Position";
/// How long a query waits for the projection.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(15);

/// Connections whose tables are as far as a query needs.
pub(crate) struct Positions {
    log: Arc<dyn EventLog>,
    database: Database,
    /// What queries are answered from as long as it is there; its tables say themselves how far they are.
    replica: Option<Database>,
}

impl Positions {
    pub(crate) fn new(log: Arc<dyn EventLog>, database: Database, replica: Option<Database>) -> Self {
        Self { log, database, replica }
    }

    async fn connect(&self) -> Result<Connection, Problem> {
        if let Some(replica) = &self.replica {
            match replica.connection().await {
                Ok(connection) => return Ok(connection),
                Err(error) => tracing::warn!(%error, "the replica does not answer; asking its primary"),
            }
        }
        self.database.connection().await.map_err(|error| error.into_problem("connecting for a query"))
    }

    /// A connection for a query, once the tables are as far as the request and `also` want.
    pub(crate) async fn connection(
        &self,
        request: &HttpRequest,
        also: Option<Position>,
    ) -> Result<Connection, Problem> {
        let mut wanted: Vec<Position> = also.into_iter().collect();
        if let Some(sent) = request.headers().get(MIN_POSITION) {
            let position = sent.to_str().ok().and_then(|text| text.parse().ok());
            let known = |position: &Position| position.partition < self.log.partitions().count();
            wanted.push(position.filter(known).ok_or_else(invalid)?);
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let mut connection = self.connect().await?;
            let mut reached = true;
            for position in &wanted {
                reached &= self.reached(&mut connection, *position).await?;
            }
            if reached {
                return Ok(connection);
            }
            drop(connection);
            if Instant::now() >= until {
                return self.too_late(&wanted).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn reached(&self, connection: &mut Connection, position: Position) -> Result<bool, Problem> {
        let checkpoint = projection::checkpoint(connection, position.partition)
            .await
            .map_err(|error| error.into_problem("reading a checkpoint"))?;
        Ok(checkpoint.is_some_and(|at| u64::try_from(at.seq).unwrap_or(0) >= position.seq))
    }

    async fn too_late(&self, wanted: &[Position]) -> Result<Connection, Problem> {
        for position in wanted {
            let head = self.log.head(position.partition).await.map_err(|e| e.into_problem("reading the log's end"))?;
            if position.seq > head.last_seq {
                return Err(invalid());
            }
        }
        Err(Problem {
            code: "projection_behind".to_owned(),
            ..Problem::unavailable("the read model is not that far yet; try again")
        })
    }
}

fn invalid() -> Problem {
    Problem::bad_request("position_invalid", "Waybill-Min-Position is no position that this service gave out")
}
