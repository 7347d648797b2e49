//! Runs `waybill render`, the process that decodes untrusted files.

use bytes::Bytes;
use clap::ValueEnum;
use futures_util::{Stream, StreamExt, future, stream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use waybill_domain::location::is_plausible;
use waybill_domain::preview::{Kind, Programs, SOURCE_MAX_BYTES};
use waybill_object_store::StoreError;
use waybill_render::limits::{ANSWER_MAX_BYTES, TIME_MAX};
use waybill_render::{Answer, NO_SANDBOX, Rendered};
use waybill_schema::{PreviewFailure, Stripped};

/// Time for which the store may send nothing, and in which the program must have the whole file.
const SOURCE_STALLED: Duration = Duration::from_secs(60);
const SEND_WITHIN: Duration = Duration::from_secs(300);
/// A transparent picture of one pixel.
const PICTURE: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\x0d\x49\x44\x41\x54\x78\x9c\x63\xf8\xff\xff\x7f\x03\x00\x09\x7c\x03\x7e\x4e\xbb\x1b\x5d\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";
/// Maximum number of bytes of the standard error of a program.
const COMPLAINT_MAX_BYTES: u64 = 64 << 10;
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

/// The programs that decode files.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    /// `waybill`.
    pub(crate) program: PathBuf,
    /// Program of the operator for HEIC pictures.
    pub(crate) heic: Option<PathBuf>,
    /// Program of the operator for videos.
    pub(crate) video: Option<PathBuf>,
    pub(crate) sandbox: RenderSandbox,
}

/// Work of `waybill render`.
#[derive(Clone, Copy)]
enum Job<'a> {
    Previews,
    Location,
    /// It runs this program of the operator.
    Program(&'a PathBuf),
}

/// Result of a process.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

/// Reason why it is unknown whether a file can have previews.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("cannot start the program that makes previews: {0}")]
    Start(#[source] std::io::Error),
    #[error("the program that makes previews cannot be restricted: {0:?}")]
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
    #[error("the program that makes previews took too long")]
    TooSlow,
    #[error("cannot run the program of the operator: {0:?}")]
    Program(String),
    /// Somebody else ended the program, for example the system because there was not enough memory.
    #[error("the program that makes previews was ended with signal {0}")]
    Killed(i32),
}

/// Possible reason of an error that happens again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The program, which may be of no use for any file.
    Program,
    /// The file. It then cannot have previews for this reason.
    File(PreviewFailure),
    /// A server, or the machine.
    Nobody,
}

impl RenderError {
    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::Start(_) | Self::NoSandbox(_) | Self::Unfit => Blame::Program,
            Self::TooSlow | Self::Killed(_) => Blame::File(PreviewFailure::LimitsExceeded),
            Self::Program(_) => Blame::File(PreviewFailure::Failed),
            Self::Pipe(_) | Self::Source(_) | Self::Stalled => Blame::Nobody,
        }
    }
}

/// Reason why a file cannot have previews, and how the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: PreviewFailure,
    pub(crate) cause: Cause,
}

/// End of a program that made no previews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It gave the reason.
    Answer,
    /// It ended with this exit code.
    Code(i32),
    /// It was ended by this signal. SIGSYS means that it tried to do what it may not.
    Signal(i32),
    /// It gave an answer that it never gives, so that the file may have taken it over.
    Implausible,
}

impl Cause {
    /// Returns `true` if the file may have attacked the program.
    pub(crate) fn is_suspicious(self) -> bool {
        match self {
            Self::Implausible => true,
            Self::Signal(signal) => !matches!(signal, libc::SIGABRT | libc::SIGXCPU),
            Self::Answer | Self::Code(_) => false,
        }
    }
}

impl Renderer {
    /// Returns the kinds of files for which the operator has set programs.
    pub(crate) fn programs(&self) -> Programs {
        Programs { heic: self.heic.is_some(), video: self.video.is_some() }
    }

    /// Checks whether the program can be started and restricted, and then decodes a picture and finds that it has no metadata.
    pub(crate) async fn check(&self) -> Result<(), RenderError> {
        let picture = || stream::once(future::ready(Ok(Bytes::from_static(PICTURE))));
        let rendered = self.render(Kind::Own, picture()).await?;
        let stripped = self.strip(PICTURE.len() as u64, picture()).await?;
        let is_fit = rendered.is_ok() && stripped == Ok(Stripped::Absent);
        if is_fit { Ok(()) } else { Err(RenderError::Unfit) }
    }

    /// Has the previews of a file made.
    pub(crate) async fn render<S>(&self, kind: Kind, source: S) -> Result<Result<Rendered, Refused>, RenderError>
    where
        S: Stream<Item = Result<Bytes, StoreError>> + Send,
    {
        let program = match kind {
            Kind::Own => None,
            Kind::Heic => self.heic.as_ref(),
            Kind::Video => self.video.as_ref(),
        };
        let Some(program) = program else { return self.decode(source).await };
        let ended = self.run(Job::Program(program), source, SOURCE_MAX_BYTES).await?;
        if let Some(refused) = refused(ended.status, Some(PreviewFailure::Damaged))? {
            return Ok(Err(refused));
        }
        // The picture is as untrusted as the file.
        let picture = stream::once(future::ready(Ok(Bytes::from(ended.output))));
        let answer = self.decode(picture).await?;
        Ok(answer.map(|mut rendered| {
            rendered.facts.duration_ms = duration_ms(&String::from_utf8_lossy(&ended.complaint));
            rendered
        }))
    }

    async fn decode<S>(&self, source: S) -> Result<Result<Rendered, Refused>, RenderError>
    where
        S: Stream<Item = Result<Bytes, StoreError>> + Send,
    {
        let ended = self.run(Job::Previews, source, ANSWER_MAX_BYTES).await?;
        if let Some(refused) = refused(ended.status, None)? {
            return Ok(Err(refused));
        }
        Ok(match postcard::take_from_bytes::<Answer>(&ended.output) {
            Ok((Ok(rendered), [])) if rendered.is_plausible() => Ok(rendered),
            Ok((Err(reason), [])) => Err(Refused { reason, cause: Cause::Answer }),
            Ok(_) | Err(_) => Err(Refused { reason: PreviewFailure::Failed, cause: Cause::Implausible }),
        })
    }

    /// Has the metadata of a picture of `size_bytes` found.
    pub(crate) async fn strip<S>(&self, size_bytes: u64, source: S) -> Result<Result<Stripped, Refused>, RenderError>
    where
        S: Stream<Item = Result<Bytes, StoreError>> + Send,
    {
        let ended = self.run(Job::Location, source, ANSWER_MAX_BYTES).await?;
        if let Some(refused) = refused(ended.status, None)? {
            return Ok(Err(refused));
        }
        Ok(match postcard::take_from_bytes::<Stripped>(&ended.output) {
            Ok((Stripped::Removed(form), [])) if is_plausible(&form, size_bytes) => Ok(Stripped::Removed(form)),
            Ok((stripped @ (Stripped::Absent | Stripped::Unsupported), [])) => Ok(stripped),
            Ok(_) | Err(_) => Err(Refused { reason: PreviewFailure::Failed, cause: Cause::Implausible }),
        })
    }

    /// Runs `waybill render` for a file.
    async fn run<S>(&self, job: Job<'_>, source: S, most: u64) -> Result<Ended, RenderError>
    where
        S: Stream<Item = Result<Bytes, StoreError>> + Send,
    {
        let mut child = self.start(job).map_err(RenderError::Start)?;
        // The process is killed when it is dropped.
        tokio::time::timeout(SEND_WITHIN, send(&mut child, source)).await.map_err(|_| RenderError::TooSlow)??;
        let (Some(output), Some(complaint)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(RenderError::Pipe(std::io::ErrorKind::BrokenPipe.into()));
        };
        let ended = async {
            let (output, complaint) = tokio::try_join!(limited(output, most), limited(complaint, COMPLAINT_MAX_BYTES))?;
            Ok::<_, std::io::Error>(Ended { status: child.wait().await?, output, complaint })
        };
        let ended = tokio::time::timeout(TIME_MAX, ended).await.map_err(|_| RenderError::TooSlow)?;
        let ended = ended.map_err(RenderError::Pipe)?;
        if ended.status.code() == Some(NO_SANDBOX.into()) {
            let complaint = String::from_utf8_lossy(&ended.complaint).trim().chars().take(300).collect();
            return Err(match job {
                Job::Program(_) => RenderError::Program(complaint),
                Job::Previews | Job::Location => RenderError::NoSandbox(complaint),
            });
        }
        Ok(ended)
    }

    fn start(&self, job: Job<'_>) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        // Signals to the group of this process are not for the other one, whose work is then left to another process.
        command.arg("render").env_clear().current_dir("/").kill_on_drop(true).process_group(0);
        if self.sandbox == RenderSandbox::BestEffort {
            command.arg("--best-effort");
        }
        match job {
            Job::Previews => {}
            Job::Location => {
                command.arg("--location");
            }
            Job::Program(program) => {
                command.arg("--program").arg(program);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }
}

/// Returns the duration that FFmpeg reports: `Duration: 00:01:02.50`.
fn duration_ms(complaint: &str) -> Option<u64> {
    let time = complaint.split("Duration: ").nth(1)?.split(',').next()?;
    let mut parts = time.trim().split(':');
    let (hours, minutes): (u64, u64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (seconds, hundredths) = parts.next()?.split_once('.')?;
    let (seconds, hundredths): (u64, u64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
    let in_range = hours < 10_000 && minutes < 60 && seconds < 60 && hundredths < 100;
    in_range.then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + hundredths * 10)
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
        match input.write_all(&bytes?).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(RenderError::Pipe(error)),
        }
    }
    match input.shutdown().await {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(RenderError::Pipe(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads to the end, and keeps the first `most` bytes.
async fn limited(mut from: impl AsyncRead + Unpin, most: u64) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    (&mut from).take(most).read_to_end(&mut read).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(read)
}

/// Returns the reason why a process ended without an answer; `None` if it ended with success. `otherwise` is the reason of an exit
/// code that says nothing; without it, the program is not `waybill`.
fn refused(status: ExitStatus, otherwise: Option<PreviewFailure>) -> Result<Option<Refused>, RenderError> {
    let of = |reason, cause| Ok(Some(Refused { reason, cause }));
    match (status.signal(), status.code()) {
        // An allocation failed, or the CPU time was over.
        (Some(signal @ (libc::SIGABRT | libc::SIGXCPU)), _) => {
            of(PreviewFailure::LimitsExceeded, Cause::Signal(signal))
        }
        (Some(signal @ (libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGKILL)), _) => {
            Err(RenderError::Killed(signal))
        }
        (Some(signal), _) => of(PreviewFailure::Failed, Cause::Signal(signal)),
        (None, Some(0)) => Ok(None),
        (None, Some(code @ PANICKED)) => of(PreviewFailure::Damaged, Cause::Code(code)),
        (None, code) => of(otherwise.ok_or(RenderError::Unfit)?, Cause::Code(code.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duration_is_that_of_ffmpeg() {
        let text = "  Duration: 00:01:02.50, start: 0.000000, bitrate: 12 kb/s";
        assert_eq!(duration_ms(text), Some(62_500));
        for text in ["", "Duration: N/A, x", "Duration: 1:2", "Duration: 99999999999999999999:00:00.00,"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }
}
