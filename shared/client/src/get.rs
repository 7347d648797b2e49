//! `waybill get`: downloads files, resumes interrupted downloads and verifies the SHA-256.

use crate::api::{Api, ApiArgs, ApiError};
use crate::end::Ended;
use crate::interrupt::{CONTINUES, until_interrupted};
use crate::output::{self, Output, OutputArgs};
use crate::retry::{Patience, PatienceArgs};
use crate::views;
use clap::Args;
use futures_util::future::BoxFuture;
use indicatif::ProgressBar;
use reqwest::{StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waybill_api::ErrorCode;
use waybill_schema::Sha256Digest;

/// Time without a byte after which a download is interrupted and resumed.
const STALL: Duration = Duration::from_secs(30);

/// Download files and verify the SHA-256 of each
///
/// An incomplete file has the name .waybill-FILE_ID.part. Run the same command again to resume an
/// interrupted download.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill get 01a20a46-85e0-724b-9675-95b91ff3c10c
  waybill get 01a20a46-85e0-724b-9675-95b91ff3c10c --output film.mp4
  waybill ls --json | jq -r .id | xargs waybill get --dir downloads

Exit codes:
  0    every file was downloaded and has the SHA-256 that Waybill verified
  1    a file cannot be downloaded or written, or has another SHA-256
  75   not complete: Waybill does not answer, the token has expired, or another waybill downloads
       the file; run the same command again to continue
  130  interrupted by Ctrl-C (143 by SIGTERM); run the same command again to continue")]
pub struct GetArgs {
    /// Ids of the files
    #[arg(required = true, value_name = "FILE_ID")]
    files: Vec<String>,
    /// Path for a single file; by default, files get their names in Waybill
    #[arg(long, short, value_name = "PATH", conflicts_with = "dir")]
    output: Option<PathBuf>,
    /// Folder for the files
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// Replace existing files
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    patience: PatienceArgs,
    #[command(flatten)]
    print: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Reason why a download failed.
#[derive(Debug, thiserror::Error)]
enum GetError {
    /// A request to Waybill failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A local file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Path of the file.
        path: String,
        /// Cause.
        error: std::io::Error,
    },
    /// Another file with this path exists.
    #[error("{0} already exists; use --force to replace it")]
    Exists(String),
    /// Another process has locked the `.part` file.
    #[error("another waybill is downloading this file")]
    Busy,
    /// The downloaded bytes have another SHA-256 than the file.
    #[error("the downloaded bytes have another SHA-256 than the file and were deleted; run the same command again")]
    Differs,
}

impl GetError {
    /// Returns `true` if the same command can continue later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Api(error) => error.is_passing() || error.status() == Some(401),
            Self::Io { .. } | Self::Exists(_) | Self::Differs => false,
        }
    }
}

/// State that all downloads of one command share.
struct Get {
    api: Api,
    out: Output,
    args: GetArgs,
}

/// File to download, as Waybill describes it.
struct Remote {
    id: String,
    name: String,
    size_bytes: u64,
    sha256: String,
}

/// Runs `waybill get`.
///
/// # Errors
/// The reason, for users.
pub fn get(args: GetArgs) -> BoxFuture<'static, Result<Ended, String>> {
    Box::pin(async move {
        let out = Output::new(args.print);
        until_interrupted(&out, CONTINUES, get_all(args, out.clone())).await
    })
}

async fn get_all(args: GetArgs, out: Output) -> Result<Ended, String> {
    if args.output.is_some() && args.files.len() > 1 {
        return Err("--output works only with one file; use --dir for several files".to_owned());
    }
    let get = Get { api: Api::new(args.api.clone())?, out, args };
    if get.args.output.is_none() {
        std::fs::create_dir_all(&get.args.dir).map_err(|error| format!("{}: {error}", get.args.dir.display()))?;
    }
    let mut ended = Ended::Done;
    for id in &get.args.files {
        if let Err(error) = get.one(id).await {
            let passing = error.is_passing();
            get.out.event(
                || json!({ "event": "failed", "file_id": id, "error": error.to_string(), "resumable": passing }),
            );
            get.out.complain(&format!("✗ {id}: {error}"));
            ended = if passing && ended != Ended::Failed { Ended::GoOnLater } else { Ended::Failed };
        }
    }
    get.out.clear();
    Ok(ended)
}

impl Get {
    async fn one(&self, id: &str) -> Result<(), GetError> {
        let patience = Patience::new(self.args.patience);
        let began = Instant::now();
        let show = || self.api.json(self.api.get(&format!("/v1/files/{id}")));
        let file = patience.persist(show, |error, pause| self.waits(error, pause)).await?;
        let remote = self.remote(id, file)?;
        let target = match &self.args.output {
            Some(path) => path.clone(),
            None => self.args.dir.join(safe(&remote.name)),
        };
        if target.exists() && !self.args.force {
            // An earlier command has downloaded the file.
            let bar = self.out.file_bar(&remote.name, remote.size_bytes);
            if size(&target) == Some(remote.size_bytes) && hash(&target, &bar).await?.1 == remote.sha256 {
                self.done(&remote, &target, "already downloaded");
                return Ok(());
            }
            return Err(GetError::Exists(target.display().to_string()));
        }
        self.fetch(&remote, &target, &patience).await?;
        self.done(&remote, &target, &output::duration(began.elapsed()));
        Ok(())
    }

    fn remote(&self, id: &str, file: views::File) -> Result<Remote, GetError> {
        if !file.is_processed {
            return Err(ApiError::Refused {
                status: StatusCode::CONFLICT,
                code: ErrorCode::FileNotReady.to_string(),
                detail: "the file is not verified and cannot be read yet".to_owned(),
                retry_after: None,
            }
            .into());
        }
        Ok(Remote {
            id: id.to_owned(),
            name: file.display_name.unwrap_or(file.original_name),
            size_bytes: file.size_bytes,
            sha256: file.hash.ok_or_else(|| self.api.strange("no hash"))?,
        })
    }

    /// Downloads the missing bytes into the `.part` file, verifies it and renames it to `target`.
    async fn fetch(&self, remote: &Remote, target: &Path, patience: &Patience) -> Result<(), GetError> {
        // The name contains the id of the file, so that no other file can have it.
        let part = target.with_file_name(format!(".waybill-{}.part", safe(&remote.id)));
        let io = |error| GetError::Io { path: part.display().to_string(), error };
        let bar = self.out.file_bar(&remote.name, remote.size_bytes);
        let mut file = locked(&part).map_err(|error| match error {
            TryLockError::WouldBlock => GetError::Busy,
            TryLockError::Error(error) => io(error),
        })?;
        if file.metadata().await.map_err(io)?.len() > remote.size_bytes {
            file.set_len(0).await.map_err(io)?;
        }
        let ((mut sha256, mut offset), _) = hash(&part, &bar).await?;
        bar.set_position(offset);
        output::estimate_from_here(&bar);
        if offset > 0 {
            self.out.event(|| json!({ "event": "resumed", "file_id": remote.id, "offset_bytes": offset }));
        }
        while offset < remote.size_bytes {
            let before = offset;
            let ended = self.stream(remote, &mut file, &mut sha256, &mut offset, &bar).await;
            if offset > before {
                patience.progress();
            }
            match ended {
                Ok(()) if offset > before => {}
                Ok(()) => {
                    let error = self.api.unreachable_because("the answer has no bytes");
                    patience.wait(error, |error, pause| self.waits(error, pause)).await?;
                }
                Err(GetError::Api(error)) => patience.wait(error, |error, pause| self.waits(error, pause)).await?,
                Err(error) => return Err(error),
            }
        }
        file.sync_all().await.map_err(io)?;
        bar.finish_and_clear();
        let digest: [u8; 32] = sha256.finalize().into();
        if Sha256Digest(digest).to_string() != remote.sha256 {
            tokio::fs::remove_file(&part).await.map_err(io)?;
            return Err(GetError::Differs);
        }
        tokio::fs::rename(&part, target).await.map_err(io)?;
        drop(file);
        Ok(())
    }

    /// Sends one request for the bytes from `offset` on, and writes the bytes of its answer.
    async fn stream(
        &self,
        remote: &Remote,
        file: &mut File,
        sha256: &mut Sha256,
        offset: &mut u64,
        bar: &ProgressBar,
    ) -> Result<(), GetError> {
        let mut request = self.api.get(&format!("/v1/files/{}/content", remote.id));
        if *offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        let answer = tokio::time::timeout(STALL, self.api.send(request)).await;
        let mut response = answer.unwrap_or_else(|_| Err(self.silent()))?;
        if *offset > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(self.api.strange("the whole file instead of the requested range").into());
        }
        while *offset < remote.size_bytes {
            let next = tokio::time::timeout(STALL, response.chunk()).await;
            let bytes = match next {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(self.api.unreachable(&error).into()),
                Err(_) => return Err(self.silent().into()),
            };
            file.write_all(&bytes).await.map_err(|error| GetError::Io { path: remote.name.clone(), error })?;
            sha256.update(&bytes);
            *offset += bytes.len() as u64;
            bar.set_position(*offset);
        }
        file.flush().await.map_err(|error| GetError::Io { path: remote.name.clone(), error })
    }

    fn silent(&self) -> ApiError {
        self.api.unreachable_because(format!("no byte arrived for {} s", STALL.as_secs()))
    }

    fn done(&self, remote: &Remote, target: &Path, how: &str) {
        self.out.result(
            || {
                format!(
                    "✓ {}  {}  {how}",
                    output::printable(&target.display().to_string()),
                    output::bytes(remote.size_bytes)
                )
            },
            || {
                json!({
                    "event": "downloaded", "file_id": remote.id, "path": target, "sha256": remote.sha256,
                    "size_bytes": remote.size_bytes,
                })
            },
        );
    }

    fn waits(&self, error: &ApiError, pause: Duration) {
        if !self.out.has_bars() {
            self.out.note(&format!("{error}; retrying in {:.1} s", pause.as_secs_f64()));
        }
    }
}

fn size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// Reads a file. Returns the state of its SHA-256 and its length, and the digest.
async fn hash(path: &Path, bar: &ProgressBar) -> Result<((Sha256, u64), String), GetError> {
    let io = |error| GetError::Io { path: path.display().to_string(), error };
    let mut file = File::open(path).await.map_err(io)?;
    let mut sha256 = Sha256::new();
    let mut length = 0;
    let mut buffer = vec![0; 1_024 * 1_024];
    bar.set_message("hashing");
    loop {
        let read = file.read(&mut buffer).await.map_err(io)?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        length += read as u64;
        bar.set_position(length);
    }
    bar.set_message("");
    let digest: [u8; 32] = sha256.clone().finalize().into();
    Ok(((sha256, length), Sha256Digest(digest).to_string()))
}

/// Opens or creates a file for appending, and locks it for this process.
fn locked(path: &Path) -> Result<File, TryLockError> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(File::from_std(file))
}

/// Returns a name without path separators and control characters, so that a file cannot leave its folder.
fn safe(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() || c == '/' || c == '\\' { '_' } else { c }).collect();
    if matches!(name.as_str(), "" | "." | "..") { "file".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_folder() {
        let names = ["../../etc/passwd", "..", "", "a\0b", "a\\b", "plain.txt"].map(safe);
        assert_eq!(names, [".._.._etc_passwd", "file", "file", "a_b", "a_b", "plain.txt"]);
    }
}
