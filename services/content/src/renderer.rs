//! Runs `waybill render`, the process that decodes untrusted files.

use bytes::Bytes;
use clap::ValueEnum;
use futures_util::{Stream, StreamExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use waybill_object_store::StoreError;
use waybill_render::limits::{ANSWER_MAX_BYTES, TIME_MAX};
use waybill_render::{Answer, NO_SANDBOX};
use waybill_schema::PreviewFailure;

/// Time for which the store may send nothing.
const SOURCE_STALLED: Duration = Duration::from_secs(60);
/// Exit code of a program that panicked.
const PANICKED: i32 = 101;

/// Restriction of the program that makes previews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RenderSandbox {
    /// The program does not run without Landlock.
    Required,
    /// The program runs without Landlock if the system does not have it.
    BestEffort,
}

/// The program that decodes files.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    pub(crate) program: PathBuf,
    pub(crate) sandbox: RenderSandbox,
}

/// Reason why it is unknown whether a file can have previews.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("cannot start the program that makes previews: {0}")]
    Start(#[source] std::io::Error),
    #[error("the program that makes previews cannot be restricted: {0}")]
    NoSandbox(String),
    #[error("the program is not a `waybill` of this version, or cannot run with restricted rights")]
    Unfit,
    #[error("cannot exchange bytes with the program that makes previews: {0}")]
    Pipe(#[source] std::io::Error),
    #[error(transparent)]
    Source(#[from] StoreError),
    #[error("the store sent nothing for {} s", SOURCE_STALLED.as_secs())]
    Stalled,
    /// The program took too long. This can be because of other work on the machine.
    #[error("the program that makes previews took longer than {} s", TIME_MAX.as_secs())]
    TooSlow,
}

impl Renderer {
    /// Checks whether the program can be started and restricted.
    pub(crate) async fn check(&self) -> Result<(), RenderError> {
        // An empty file is no picture.
        match self.render(futures_util::stream::empty()).await? {
            Err(PreviewFailure::Unsupported) => Ok(()),
            Ok(_) | Err(_) => Err(RenderError::Unfit),
        }
    }

    /// Has the previews of a file made.
    pub(crate) async fn render<S>(&self, source: S) -> Result<Answer, RenderError>
    where
        S: Stream<Item = Result<Bytes, StoreError>> + Send,
    {
        let mut child = self.start().map_err(RenderError::Start)?;
        send(&mut child, source).await?;
        let (Some(answer), Some(problem)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(RenderError::Pipe(std::io::ErrorKind::BrokenPipe.into()));
        };
        let ended = async {
            let (answer, problem) = tokio::try_join!(limited(answer, ANSWER_MAX_BYTES), limited(problem, 1_000))?;
            Ok::<_, std::io::Error>((answer, problem, child.wait().await?))
        };
        // The process is killed when it is dropped.
        let ended = tokio::time::timeout(TIME_MAX, ended).await.map_err(|_| RenderError::TooSlow)?;
        let (answer, problem, status) = ended.map_err(RenderError::Pipe)?;
        if status.code() == Some(NO_SANDBOX.into()) {
            return Err(RenderError::NoSandbox(String::from_utf8_lossy(&problem).trim().to_owned()));
        }
        match status.success() {
            true => Ok(postcard::from_bytes(&answer).unwrap_or(Err(PreviewFailure::Failed))),
            false => Ok(Err(failure(status))),
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("render").env_clear().current_dir("/").kill_on_drop(true);
        if self.sandbox == RenderSandbox::BestEffort {
            command.arg("--best-effort");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }
}

/// Sends a file to the process and ends its standard input. A process that ends early has its reasons.
async fn send<S>(child: &mut Child, source: S) -> Result<(), RenderError>
where
    S: Stream<Item = Result<Bytes, StoreError>> + Send,
{
    let Some(mut input) = child.stdin.take() else { return Ok(()) };
    let mut source = std::pin::pin!(source);
    loop {
        let next = tokio::time::timeout(SOURCE_STALLED, source.next()).await.map_err(|_| RenderError::Stalled)?;
        let Some(bytes) = next else { break };
        match tokio::time::timeout(TIME_MAX, input.write_all(&bytes?)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Ok(Err(error)) => return Err(RenderError::Pipe(error)),
            Err(_) => return Err(RenderError::TooSlow),
        }
    }
    match input.shutdown().await {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(RenderError::Pipe(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads up to `most` bytes. The process ends with an error if it writes more.
async fn limited(from: impl AsyncRead + Unpin, most: u64) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    from.take(most).read_to_end(&mut read).await?;
    Ok(read)
}

/// Returns the reason why a process ended without an answer.
fn failure(status: ExitStatus) -> PreviewFailure {
    if status.code() == Some(PANICKED) {
        return PreviewFailure::Damaged;
    }
    match status.signal() {
        // An allocation failed, or the CPU time was over.
        Some(libc::SIGABRT | libc::SIGKILL | libc::SIGXCPU) => PreviewFailure::LimitsExceeded,
        Some(libc::SIGSYS) => {
            tracing::error!("the program that makes previews was ended because it tried to do what it may not");
            PreviewFailure::Failed
        }
        signal => {
            tracing::warn!(?signal, code = status.code(), "the program that makes previews ended unexpectedly");
            PreviewFailure::Failed
        }
    }
}
