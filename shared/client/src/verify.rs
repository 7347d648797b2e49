//! `waybill audit export` writes the events of a company to a file. `waybill audit verify` checks that such a file is
//! complete and unchanged.

use crate::api::{Api, ApiArgs};
use crate::end::Ended;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use waybill_api::audit::{ExportedEvent, SignedHead};
use waybill_event_log::chain::{Chain, RawMessage, signed_text};
use waybill_schema::Position;

/// Write all events of the company to a file, as a hash chain with a signed head in the last line
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill audit export events.ndjson
  tail -n 1 events.ndjson > head-2026-11.json    # keep it in another place
  waybill audit verify events.ndjson --head head-2026-10.json")]
pub(crate) struct ExportArgs {
    /// Path of the new file
    file: PathBuf,
    /// Replace an existing file
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Verify that an exported file is complete and unchanged, or print the first difference
///
/// The command needs no server. Exit codes: 0 the file is complete and unchanged; 1 it is not.
#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// File that `waybill audit export` wrote
    file: PathBuf,
    /// Public key of the signature of the head, in base64; by default, the key in the file is used without a check
    #[arg(long)]
    key: Option<String>,
    /// File with the head of an earlier export; the exported file must begin with the events of that export
    #[arg(long)]
    head: Option<PathBuf>,
}

/// Line of an exported file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Head(Box<SignedHead>),
    Event(ExportedEvent<Value>),
}

pub(crate) async fn export(args: ExportArgs) -> Result<Ended, String> {
    let api = Api::new(args.api)?;
    if args.file.exists() && !args.force {
        return Err(format!("{} already exists; use --force to replace it", args.file.display()));
    }
    let failed = |error: std::io::Error| format!("{}: {error}", args.file.display());
    let mut answer = api.send(api.get("/v1/audit/export")).await.map_err(|error| error.to_string())?;
    // The file has another name until it is complete.
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = folder.join(format!(".waybill-{}.part", Uuid::now_v7()));
    let mut file = BufWriter::new(File::create_new(&part).map_err(failed)?);
    while let Some(bytes) = answer.chunk().await.map_err(|error| error.to_string())? {
        file.write_all(&bytes).map_err(failed)?;
    }
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    std::fs::rename(&part, &args.file).map_err(failed)?;
    eprintln!("wrote {}", args.file.display());
    Ok(Ended::Done)
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<Ended, String> {
    match check(args) {
        Ok(verified) => {
            println!("{verified}");
            Ok(Ended::Done)
        }
        Err(fault) => {
            eprintln!("{fault}");
            Ok(Ended::Failed)
        }
    }
}

fn check(args: &VerifyArgs) -> Result<String, String> {
    let lines = read(&args.file)?;
    let earlier = args.head.as_deref().map(read_head).transpose()?;
    let head = lines.iter().find_map(|line| match line {
        Line::Head(head) => Some(head),
        Line::Event(_) => None,
    });
    let head = head.ok_or("the file has no head: its end was cut off")?;
    check_signature(head, args.key.as_deref())?;
    let company = head.head.company_id;
    let mut chain = Chain::of(company);
    for (index, line) in lines.iter().enumerate() {
        let Line::Event(event) = line else { break };
        let place = || format!("line {}, event {}", index + 1, event.position);
        let message = raw(event).ok_or_else(|| format!("{}: the event is malformed", place()))?;
        if chain.position.is_some_and(|before| message.position.seq <= before.seq) {
            return Err(format!("{}: the event is not in the order of the log", place()));
        }
        chain.link(&message);
        if chain.digest.to_string() != event.chain {
            return Err(format!("{}: the event was changed, or earlier events were removed or moved", place()));
        }
        let said = message.decode().ok().and_then(|recorded| serde_json::to_value(recorded.event).ok());
        if said.is_some() && said != event.event {
            return Err(format!("{}: the readable form of the event differs from its bytes", place()));
        }
        if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.head.events == chain.events)
            && earlier.head.chain != event.chain
        {
            return Err(format!("{}: the events up to here differ from those of the earlier export", place()));
        }
    }
    if lines.iter().position(|line| matches!(line, Line::Head(_))) != Some(lines.len() - 1) {
        return Err("the head is not the last line".to_owned());
    }
    let (has, had) = (chain.events, head.head.events);
    if has != had {
        return Err(format!(
            "the file has {has} events, but its head was signed for {had}: its end was cut off, or events were added"
        ));
    }
    if chain.digest.to_string() != head.head.chain {
        return Err("the head was signed for other events".to_owned());
    }
    if let Some(earlier) = earlier {
        let (earlier_company, events) = (earlier.head.company_id, earlier.head.events);
        if earlier_company != company {
            return Err("the earlier head belongs to another company".to_owned());
        }
        check_signature(&earlier, Some(args.key.as_deref().unwrap_or(&head.public_key)))?;
        if has < events {
            return Err(format!("the file has {has} events, but the earlier export had {events}: its end was cut off"));
        }
    }
    let pinned = if args.key.is_some() { "" } else { "; compare the key with /v1/audit/key" };
    let (time, key) = (&head.head.time, &head.public_key);
    Ok(format!("{has} events of company {company}, complete and unchanged as of {time}, signed with {key}{pinned}"))
}

fn read(path: &Path) -> Result<Vec<Line>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let line = |(index, line): (usize, std::io::Result<String>)| {
        let text = line.map_err(failed)?;
        serde_json::from_str(&text).map_err(|_| format!("line {}: the line is not an event or a head", index + 1))
    };
    file.lines().enumerate().map(line).collect()
}

fn read_head(path: &Path) -> Result<Box<SignedHead>, String> {
    match read(path)?.pop() {
        Some(Line::Head(head)) => Ok(head),
        _ => Err(format!("{} has no head in its last line", path.display())),
    }
}

fn raw(event: &ExportedEvent<Value>) -> Option<RawMessage> {
    Some(RawMessage {
        position: event.position.parse().ok()?,
        subject: event.subject.clone(),
        headers: event.headers.clone().into_iter().collect(),
        body: BASE64.decode(&event.body).ok()?,
    })
}

fn check_signature(line: &SignedHead, key: Option<&str>) -> Result<(), String> {
    if key.is_some_and(|key| key != line.public_key) {
        return Err("the head is signed with another key".to_owned());
    }
    let invalid = || "the signature of the head is invalid".to_owned();
    let position: Option<Position> =
        line.head.position.as_deref().map(str::parse).transpose().map_err(|_| invalid())?;
    let digest = line.head.chain.parse().map_err(|_| invalid())?;
    let chain = Chain { events: line.head.events, position, digest };
    let (key, signature) = (
        BASE64.decode(&line.public_key).map_err(|_| invalid())?,
        BASE64.decode(&line.signature).map_err(|_| invalid())?,
    );
    let text = signed_text(line.head.company_id, &chain, &line.head.time);
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).map_err(|_| invalid())
}
