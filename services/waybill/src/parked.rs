//! `waybill parked`: lists, shows and retries parked reactions and parked events of the projection.

use crate::{CommandError, backing};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::process::ExitCode;
use waybill_event_log::{Bucket, EventLog};
use waybill_projector::fold_parked;
use waybill_read_model::projection::{self, ParkedEvent};
use waybill_schema::{Position, Timestamp, names};
use waybill_service_kit::settings::{DatabaseSettings, NatsSettings};
use waybill_worker::parked::{Entry, get, list, retry};

#[derive(Args)]
pub(crate) struct ParkedArgs {
    #[command(subcommand)]
    command: ParkedCommand,
}

#[derive(Subcommand)]
enum ParkedCommand {
    /// List all parked reactions and events, one JSON object per line
    Ls(Servers),
    /// Show an event and the reason why it is parked
    Show {
        /// Position of the event, as `waybill parked ls` prints it
        position: Position,
        #[command(flatten)]
        servers: Servers,
    },
    /// Retry parked reactions and events
    ///
    /// Workers retry the reactions within a minute. This command also folds all parked events that can be folded now.
    Retry {
        /// Position of the event, as `waybill parked ls` prints it
        #[arg(required_unless_present = "all")]
        position: Option<Position>,
        /// Retry all parked reactions and events
        #[arg(long, conflicts_with = "position")]
        all: bool,
        #[command(flatten)]
        servers: Servers,
    },
}

#[derive(Args)]
struct Servers {
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// One line of `waybill parked ls`.
#[derive(Serialize)]
struct Line<'a> {
    position: String,
    /// `reaction` or `projection`.
    kind: &'static str,
    subject: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_at: Option<Timestamp>,
}

impl<'a> Line<'a> {
    fn of_reaction(position: Position, entry: &'a Entry) -> Self {
        let Entry { subject, reason, attempts, parked_at, .. } = entry;
        let (attempts, parked_at) = (Some(*attempts), Some(Timestamp(*parked_at)));
        Self { position: position.to_string(), kind: "reaction", subject, reason, attempts, parked_at }
    }

    fn of_projection(partition: u32, event: &'a ParkedEvent) -> Self {
        let position = Position { partition, seq: event.seq.unsigned_abs() };
        let ParkedEvent { subject, reason, .. } = event;
        Self { position: position.to_string(), kind: "projection", subject, reason, attempts: None, parked_at: None }
    }

    fn print(&self) -> Result<(), CommandError> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

pub(crate) async fn parked(args: ParkedArgs) -> Result<ExitCode, CommandError> {
    match args.command {
        ParkedCommand::Ls(servers) => ls(&servers).await,
        ParkedCommand::Show { position, servers } => show(&servers, position).await,
        ParkedCommand::Retry { position, servers, .. } => again(&servers, position).await,
    }
}

async fn bucket(servers: &Servers) -> Result<Bucket, CommandError> {
    let nats = backing::nats(&servers.nats).await?;
    let bucket = Bucket::open(&nats, names::PARKED_BUCKET).await;
    bucket.map_err(|error| format!("{error}; run `waybill provision`").into())
}

async fn of_projection(servers: &Servers) -> Result<Vec<(u32, ParkedEvent)>, CommandError> {
    let mut connection = backing::database(&servers.database)?.connection().await?;
    Ok(projection::parked(&mut connection).await?)
}

async fn ls(servers: &Servers) -> Result<ExitCode, CommandError> {
    for (position, entry) in list(&bucket(servers).await?).await? {
        Line::of_reaction(position, &entry).print()?;
    }
    for (partition, event) in of_projection(servers).await? {
        Line::of_projection(partition, &event).print()?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(servers: &Servers, position: Position) -> Result<ExitCode, CommandError> {
    let entry = get(&bucket(servers).await?, position).await?;
    let projected = of_projection(servers).await?;
    let event = projected
        .iter()
        .find(|(partition, event)| *partition == position.partition && event.seq.unsigned_abs() == position.seq);
    if entry.is_none() && event.is_none() {
        return Err(format!("there is no parked reaction or event with the position {position}").into());
    }
    if let Some(entry) = &entry {
        Line::of_reaction(position, entry).print()?;
    }
    if let Some((partition, event)) = event {
        Line::of_projection(*partition, event).print()?;
    }
    let nats = backing::nats(&servers.nats).await?;
    match backing::log(&servers.nats, &nats).await?.at(position).await? {
        None => println!("the log has no event at this position"),
        Some(stored) => match stored.event {
            Ok(recorded) => println!("{}", serde_json::to_string(&recorded.event)?),
            Err(error) => println!("{error}"),
        },
    }
    Ok(ExitCode::SUCCESS)
}

async fn again(servers: &Servers, position: Option<Position>) -> Result<ExitCode, CommandError> {
    let bucket = bucket(servers).await?;
    let positions = match position {
        Some(position) => vec![position],
        None => list(&bucket).await?.into_iter().map(|(position, _)| position).collect(),
    };
    let mut found = 0;
    for position in positions {
        found += usize::from(retry(&bucket, position).await?);
    }
    let is_wanted = |at: Position| position.is_none_or(|position| position == at);
    let events = of_projection(servers).await?;
    let at =
        |(partition, event): &(u32, ParkedEvent)| Position { partition: *partition, seq: event.seq.unsigned_abs() };
    let is_parked = events.iter().map(at).any(is_wanted);
    if found == 0 && !is_parked {
        let Some(position) = position else {
            println!("nothing is parked");
            return Ok(ExitCode::SUCCESS);
        };
        return Err(format!("there is no parked reaction or event with the position {position}").into());
    }
    if found > 0 {
        println!("workers will retry {found} reactions");
    }
    if is_parked {
        let nats = backing::nats(&servers.nats).await?;
        let log = backing::log(&servers.nats, &nats).await?;
        let folded = fold_parked(log.as_ref(), &backing::database(&servers.database)?).await?;
        println!("folded {} parked events", folded.len());
        if !folded.into_iter().any(is_wanted) {
            return Err("the event stays parked; `waybill parked show` prints the reason".into());
        }
    }
    Ok(ExitCode::SUCCESS)
}
