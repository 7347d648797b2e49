//! `waybill upload`: one file, in parallel chunks, with a progress bar.

use super::api::{Api, ApiArgs, json};
use crate::CommandError;
use clap::Args;
use futures_util::stream::{FuturesUnordered, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json as object};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// How many chunks are sent at once.
const PARALLEL: usize = 4;

#[derive(Args)]
pub(crate) struct UploadArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The file
    file: PathBuf,
    /// Its MIME type; without it, by its name
    #[arg(long)]
    mime_type: Option<String>,
    /// Upload into this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

pub(crate) async fn upload(args: UploadArgs) -> Result<(), CommandError> {
    let api = Api::new(args.api.clone())?;
    let mut file = File::open(&args.file).await.map_err(|error| format!("{}: {error}", args.file.display()))?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Err(format!("{} is no file", args.file.display()).into());
    }
    let name = name_of(&args.file)?;
    let mime_type = args
        .mime_type
        .clone()
        .unwrap_or_else(|| mime_guess::from_path(&args.file).first_or_octet_stream().essence_str().to_owned());
    let start = object!({
        "name": name,
        "size_bytes": metadata.len(),
        "mime_type": mime_type,
        "session_id": args.session,
    });
    let started = json(api.post("/v1/uploads").json(&start).send().await?).await?;
    let id = started["upload_id"].as_str().ok_or("the answer has no upload_id")?.to_owned();
    let bar = progress_bar(metadata.len(), &name);
    let sha256 = match send_chunks(&api, &id, &started, &mut file, &bar).await {
        Ok(sha256) => sha256,
        Err(error) => {
            bar.abandon();
            return Err(format!("{error}\nupload {id} is not complete").into());
        }
    };
    bar.set_message("verifying");
    let complete = api.post(&format!("/v1/uploads/{id}/complete")).header("Prefer", "wait=120");
    let done = json(complete.json(&object!({ "sha256": sha256 })).send().await?).await?;
    bar.finish_and_clear();
    report(&name, metadata.len(), &done)
}

fn name_of(path: &Path) -> Result<String, CommandError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| format!("{} has no name that can be sent", path.display()).into())
}

fn progress_bar(size_bytes: u64, name: &str) -> ProgressBar {
    let template = "{prefix:.bold} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(size_bytes).with_style(style).with_prefix(name.to_owned())
}

/// Reads the file once, in order, hashing it; sends its chunks in parallel. Answers with the SHA-256.
async fn send_chunks(
    api: &Api,
    id: &str,
    started: &Value,
    file: &mut File,
    bar: &ProgressBar,
) -> Result<String, CommandError> {
    let part_size_bytes = started["part_size_bytes"].as_u64().ok_or("the answer has no part_size_bytes")?;
    let total_chunks = started["total_chunks"].as_u64().ok_or("the answer has no total_chunks")?;
    let mut sha256 = Sha256::new();
    let mut sending = FuturesUnordered::new();
    for index in 0..total_chunks {
        if sending.len() >= PARALLEL
            && let Some(sent) = sending.next().await
        {
            bar.inc(sent?);
        }
        let mut chunk = Vec::with_capacity(usize::try_from(part_size_bytes)?);
        file.take(part_size_bytes).read_to_end(&mut chunk).await?;
        sha256.update(&chunk);
        sending.push(send_chunk(api, id, index, chunk));
    }
    while let Some(sent) = sending.next().await {
        bar.inc(sent?);
    }
    let digest: [u8; 32] = sha256.finalize().into();
    Ok(waybill_schema::Sha256Digest(digest).to_string())
}

async fn send_chunk(api: &Api, id: &str, index: u64, chunk: Vec<u8>) -> Result<u64, CommandError> {
    let length = chunk.len() as u64;
    let response = api.put(&format!("/v1/uploads/{id}/chunks/{index}")).body(chunk).send().await?;
    json(response).await?;
    Ok(length)
}

fn report(name: &str, size_bytes: u64, done: &Value) -> Result<(), CommandError> {
    let id = done["file_id"].as_str().unwrap_or_default();
    match done["status"].as_str() {
        Some("COMPLETED") => {
            println!(
                "{name}: {size_bytes} bytes, verified\n  file    {id}\n  sha256  {}",
                done["sha256"].as_str().unwrap_or_default()
            );
            Ok(())
        }
        _ => Err(format!("{name}: stored, not verified yet; ask for upload {id} later").into()),
    }
}
