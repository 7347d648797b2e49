//! `waybill audit export`: writes the events of a company to a file. Also reads such files.

use crate::api::{Api, ApiArgs};
use crate::end::Ended;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use waybill_api::audit::{ExportedEvent, SignedHead, StoredEvent};
use waybill_event_log::RawMessage;

/// Write all events of the company to a file, followed by the signed heads of their Merkle tree
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill audit export events.ndjson
  tail -n 1 events.ndjson > head-2026-11.json    # keep it in another place
  waybill audit verify events.ndjson --key \"$KEY\" --head head-2026-10.json")]
pub(crate) struct ExportArgs {
    /// Path of the new file
    file: PathBuf,
    /// Replace an existing file
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Line of an exported file.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Head(Box<SignedHead>),
    Event(Box<ExportedEvent<Value>>),
}

pub(crate) async fn export(args: ExportArgs) -> Result<Ended, String> {
    let api = Api::new(args.api)?;
    if args.file.exists() && !args.force {
        return Err(format!("{} already exists; use --force to replace it", args.file.display()));
    }
    let failed = |error: std::io::Error| format!("{}: {error}", args.file.display());
    // The file has another name until it is complete.
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = folder.join(format!(".waybill-{}.part", Uuid::now_v7()));
    let mut answer = api.send(api.get("/v1/audit/export")).await.map_err(|error| error.to_string())?;
    let mut file = BufWriter::new(File::create_new(&part).map_err(failed)?);
    while let Some(bytes) = answer.chunk().await.map_err(|error| error.to_string())? {
        file.write_all(&bytes).map_err(failed)?;
    }
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    std::fs::rename(&part, &args.file).map_err(failed)?;
    eprintln!("wrote {}", args.file.display());
    Ok(Ended::Done)
}

/// Returns the lines of an exported file with their numbers, from 1.
pub(crate) fn lines(path: &Path) -> Result<impl Iterator<Item = Result<(usize, Line), String>>, String> {
    let failed = {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let file = BufReader::new(File::open(path).map_err(&failed)?);
    Ok((1..).zip(file.lines()).map(move |(number, line)| parsed(number, &line.map_err(&failed)?)))
}

/// Parses a line.
pub(crate) fn parsed(number: usize, text: &str) -> Result<(usize, Line), String> {
    let wrong = |_| {
        if text.contains("\"chain\":") {
            format!(
                "line {number}: the file has the format of an earlier version, with a hash chain: verify it with that version, \
                 or export again"
            )
        } else {
            format!("line {number}: the line is not an event or a head")
        }
    };
    serde_json::from_str(text).map(|line| (number, line)).map_err(wrong)
}

/// Returns the stored message of an exported event, or `None` if it is malformed.
pub(crate) fn raw(event: &StoredEvent) -> Option<RawMessage> {
    Some(RawMessage {
        position: event.position.parse().ok()?,
        subject: event.subject.clone(),
        headers: event.headers.clone().into_iter().collect(),
        body: BASE64.decode(&event.body).ok()?,
    })
}
