//! `waybill audit verify`: checks that an exported file is complete and unchanged, and fits the heads that were stored
//! before.

use crate::end::Ended;
use crate::export::{Line, lines, raw};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use waybill_api::audit::{Head, SignedHead};
use waybill_audit::leaf::leaf;
use waybill_audit::tree::Frontier;
use waybill_schema::{Position, Sha256Digest};

/// Verify that an exported file is complete and unchanged, or print the first difference
///
/// The command needs no server. It compares the events with every signed head: those in the file, and those in the files of
/// --head. Exit codes: 0 the file is complete and unchanged; 1 it is not.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill audit verify events.ndjson --key 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  waybill audit verify events.ndjson --key \"$KEY\" --head events-2026-10.ndjson --head heads-of-the-bucket.ndjson

Get the key once, from /v1/audit/key, and keep it in another place. After a rotation of the secret, name the previous key \
also.")]
pub(crate) struct VerifyArgs {
    /// File that `waybill audit export` wrote
    file: PathBuf,
    /// Public key in base64 that you trust; repeat the option for several keys. Keys in files are not trusted
    #[arg(long, required = true)]
    key: Vec<String>,
    /// File with heads that were kept elsewhere, one a line: an earlier export or its last line, or copies of objects
    /// under audit-heads/; can be repeated
    #[arg(long)]
    head: Vec<PathBuf>,
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
    let own = read_heads(&args.file)?;
    let said = own.last().ok_or("the file has no head: its end was cut off")?.head.clone();
    let mut heads = Heads { keys: &args.key, ends: BTreeMap::new(), number: 0 };
    for signed in own {
        heads.add(&said, signed)?;
    }
    for path in &args.head {
        let kept = read_heads(path)?;
        if kept.is_empty() {
            return Err(format!("{} contains no head", path.display()));
        }
        for signed in kept {
            heads.add(&said, signed).map_err(|fault| format!("{}: {fault}", path.display()))?;
        }
    }
    let mut tree = Frontier::default();
    let (mut last, mut sealed, mut events_ended): (Option<Position>, u64, bool) = (None, 0, false);
    heads.compare(&tree, last, &mut sealed)?;
    for line in lines(&args.file)? {
        let (number, line) = line?;
        let Line::Event(event) = line else {
            events_ended = true;
            continue;
        };
        if events_ended {
            return Err(format!("line {number}: an event comes after a head"));
        }
        let place = || format!("line {number}, event {}", event.stored.position);
        let message = raw(&event.stored).ok_or_else(|| format!("{}: the event is malformed", place()))?;
        if last.is_some_and(|last| message.position.seq <= last.seq) {
            return Err(format!("{}: the event is not in the order of the log", place()));
        }
        tree.push(leaf(&message));
        last = Some(message.position);
        if tree.root() != event.root {
            return Err(format!("{}: the event was changed, or earlier events were removed or moved", place()));
        }
        let readable = message.decode().ok().and_then(|recorded| serde_json::to_value(recorded.event).ok());
        if readable.is_some() && readable != event.event {
            return Err(format!("{}: the readable form of the event differs from its bytes", place()));
        }
        heads.compare(&tree, last, &mut sealed)?;
    }
    heads.all_compared(&tree)?;
    let Head { company_id, size, time, .. } = said;
    if tree.size() != size {
        return Err(format!("the file has {} events, but its head was signed for {size}", tree.size()));
    }
    Ok(format!(
        "{size} events of company {company_id}, complete and unchanged as of {time}, as in all {} signed heads",
        heads.number
    ))
}

/// Returns the heads of a file. Ignores its events.
fn read_heads(path: &Path) -> Result<Vec<SignedHead>, String> {
    let mut heads = Vec::new();
    for line in lines(path)? {
        if let (_, Line::Head(head)) = line? {
            heads.push(*head);
        }
    }
    Ok(heads)
}

/// Signed heads by the number of events that they cover.
struct Heads<'a> {
    keys: &'a [String],
    ends: BTreeMap<u64, Vec<Head>>,
    number: usize,
}

impl Heads<'_> {
    /// Adds a head of the same company as `said`, after its signature was checked.
    fn add(&mut self, said: &Head, signed: SignedHead) -> Result<(), String> {
        check_signature(&signed, self.keys)?;
        if signed.head.company_id != said.company_id {
            return Err("a head belongs to another company".to_owned());
        }
        self.number += 1;
        self.ends.entry(signed.head.size).or_default().push(signed.head);
        Ok(())
    }

    /// Compares the events so far with the heads that cover as many. `sealed` is the number of events that the previous
    /// heads have confirmed.
    fn compare(&self, tree: &Frontier, last: Option<Position>, sealed: &mut u64) -> Result<(), String> {
        let Some(heads) = self.ends.get(&tree.size()) else { return Ok(()) };
        let root: Sha256Digest = tree.root();
        let position = last.map(|last| last.to_string());
        for head in heads {
            if head.root != root || head.position != position {
                return Err(format!(
                    "events {} to {} are not those of the head of {} (epoch {}): events were edited, removed, added or \
                     moved after that time",
                    *sealed + 1,
                    head.size,
                    head.time,
                    head.epoch
                ));
            }
        }
        *sealed = tree.size();
        Ok(())
    }

    /// Checks that no head covers more events than there are.
    fn all_compared(&self, tree: &Frontier) -> Result<(), String> {
        let Some(head) = self.ends.range(tree.size() + 1..).next_back().and_then(|(_, heads)| heads.first()) else {
            return Ok(());
        };
        Err(format!(
            "the file has {} events, but the head of {} (epoch {}) covers {}, up to event {}: the end was cut off",
            tree.size(),
            head.time,
            head.epoch,
            head.size,
            head.position.as_deref().unwrap_or("none")
        ))
    }
}

/// Checks that one of the trusted keys has signed the head.
fn check_signature(signed: &SignedHead, keys: &[String]) -> Result<(), String> {
    let time = &signed.head.time;
    if !keys.contains(&signed.public_key) {
        return Err(format!("the head of {time} is signed with another key: {}", signed.public_key));
    }
    let invalid = || format!("the signature of the head of {time} is invalid");
    let text = signed.head.signed_text().ok_or_else(invalid)?;
    let (key, signature) = (
        BASE64.decode(&signed.public_key).map_err(|_| invalid())?,
        BASE64.decode(&signed.signature).map_err(|_| invalid())?,
    );
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).map_err(|_| invalid())
}
