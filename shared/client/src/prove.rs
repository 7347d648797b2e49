//! `waybill audit prove`: prints a proof that an event is one of those that a signed head covers. The proof needs no
//! other events, so it can be given to somebody who may not see them. `scripts/verify-audit-proof` checks it without
//! Waybill.

use crate::api::{Api, ApiArgs};
use crate::end::Ended;
use crate::export::{Line, lines, parsed, raw};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use waybill_api::audit::{SignedHead, StoredEvent};
use waybill_audit::leaf::leaf;
use waybill_audit::tree::{Leaf, inclusion_path, root_of_path};
use waybill_schema::{Position, Sha256Digest};

/// Print a proof that an event is in the audit, as JSON
///
/// The proof names the newest stored head; if the event is so new that no stored head covers it, the head of the export.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill audit prove 0:1203 > proof.json
  scripts/verify-audit-proof proof.json --key \"$KEY\"    # Python without packages; needs no Waybill")]
pub(crate) struct ProveArgs {
    /// Position of the event, as `waybill audit` prints it
    #[arg(value_name = "EVENT")]
    event: Position,
    /// File that `waybill audit export` wrote; without it, the command asks the server for an export
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

/// A proof, as it is printed.
#[derive(Serialize)]
struct Proof {
    format: &'static str,
    event: StoredEvent,
    /// Index of the event in the tree, from 0.
    index: usize,
    head: SignedHead,
    /// Hashes from the leaf to the root (RFC 9162, section 2.1.3.1).
    path: Vec<Sha256Digest>,
}

pub(crate) async fn prove(args: ProveArgs) -> Result<Ended, String> {
    let mut prover = Prover { position: args.event, leaves: Vec::new(), event: None, head: None };
    match args.file {
        Some(file) => lines(&file)?.try_for_each(|line| prover.add(line?.1))?,
        None => prover.ask(&Api::new(args.api)?).await?,
    }
    let proof = prover.proof()?;
    println!("{}", serde_json::to_string_pretty(&proof).map_err(|error| error.to_string())?);
    Ok(Ended::Done)
}

/// Hashes of an export, and what the proof needs of it.
struct Prover {
    position: Position,
    leaves: Vec<Sha256Digest>,
    /// The event and its index.
    event: Option<(StoredEvent, usize)>,
    /// The first head that covers the event: the newest stored one comes first, and the head of the export last.
    head: Option<SignedHead>,
}

impl Prover {
    /// Reads an export of the server, line by line.
    async fn ask(&mut self, api: &Api) -> Result<(), String> {
        let mut answer = api.send(api.get("/v1/audit/export")).await.map_err(|error| error.to_string())?;
        let (mut rest, mut number) = (Vec::new(), 0);
        while let Some(bytes) = answer.chunk().await.map_err(|error| error.to_string())? {
            rest.extend_from_slice(&bytes);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let left = rest.split_off(end + 1);
            for line in String::from_utf8_lossy(&rest).lines() {
                number += 1;
                self.add(parsed(number, line)?.1)?;
            }
            rest = left;
        }
        Ok(())
    }

    fn add(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Event(event) => {
                let malformed = || format!("event {} is malformed", event.stored.position);
                let message = raw(&event.stored).ok_or_else(malformed)?;
                if message.position == self.position {
                    self.event = Some((event.stored, self.leaves.len()));
                }
                self.leaves.push(leaf(&message));
            }
            Line::Head(mut signed) => {
                signed.resume = None;
                if self.head.is_none() && self.covers(&signed) {
                    self.head = Some(*signed);
                }
            }
        }
        Ok(())
    }

    /// Returns `true` if the head covers the event.
    fn covers(&self, signed: &SignedHead) -> bool {
        let end = signed.head.position.as_deref().and_then(|end| end.parse::<Position>().ok());
        end.is_some_and(|end| end.seq >= self.position.seq)
    }

    fn proof(self) -> Result<Proof, String> {
        let (event, index) = self.event.ok_or_else(|| format!("the company has no event {}", self.position))?;
        let head = self.head.ok_or("no head covers the event: the end of the export is missing")?;
        let size = usize::try_from(head.head.size).unwrap_or(usize::MAX);
        let wrong = || {
            format!(
                "the events of the export are not those of the head of {}: `waybill audit verify` shows the difference",
                head.head.time
            )
        };
        let leaves = self.leaves.get(..size).ok_or_else(wrong)?;
        let hash = *leaves.get(index).ok_or_else(wrong)?;
        let path = inclusion_path(leaves, index).ok_or_else(wrong)?;
        let leaf = Leaf { hash, index: index as u64 };
        if root_of_path(leaf, head.head.size, &path) != Some(head.head.root) {
            return Err(wrong());
        }
        Ok(Proof { format: "waybill audit proof 1", event, index, head, path })
    }
}
