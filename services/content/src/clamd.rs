//! Client of clamd (clamd(8), "COMMANDS"): commands end with a zero byte (`z` prefix), and each has a connection of its own.
//!
//! clamd writes all bytes of a stream to a temporary file and scans that file at the end. It closes the connection
//! without reading on if a stream is longer than `StreamMaxLength`.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use waybill_object_store::StoreError;
use waybill_schema::{ScanResult, UnscannedReason};

/// Longest time for a connection to clamd, and for the answers to short commands.
const SHORT: Duration = Duration::from_secs(5);
/// Longest time for one stream, as a multiple of the time for one step.
const STEPS: u32 = 10;
/// Size of the file that tells whether clamd can scan: so large that clamd needs space on its disk.
const PROBE_BYTES: usize = 1 << 20;
/// Maximum length of an answer in bytes.
const ANSWER_MAX: u64 = 4_096;
/// Maximum length of the name of a finding, which is stored in an event, in characters.
const SIGNATURE_MAX: usize = 200;
/// Findings that mean that clamd did not look at everything.
const LIMITS: &str = "Heuristics.Limits.Exceeded";
const ENCRYPTED: &str = "Heuristics.Encrypted";

/// Address of clamd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp(String),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("tcp", address)) if address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                Ok(Self::Tcp(address.to_owned()))
            }
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            _ => Err("expected tcp:HOST:PORT or unix:PATH with an absolute path".to_owned()),
        }
    }
}

/// Reason why a scan has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClamdError {
    /// clamd cannot be reached.
    #[error("clamd cannot be reached: {0}")]
    Unreachable(String),
    /// clamd closed the connection or did not answer in time. The reason can be clamd or the bytes that it scans.
    #[error("clamd does not answer: {0}")]
    Broken(String),
    /// clamd answered that it failed.
    #[error("clamd failed: {0}")]
    Failed(String),
    /// The bytes to scan cannot be read.
    #[error("cannot read the file: {0}")]
    Source(#[from] waybill_object_store::StoreError),
}

impl From<std::io::Error> for ClamdError {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<Elapsed> for ClamdError {
    fn from(_: Elapsed) -> Self {
        Self::Broken("the time is over".to_owned())
    }
}

/// Versions of the scanner and of its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Name and version of the scanner.
    pub engine: String,
    /// Version of the signatures. Empty if clamd has only signatures without a version.
    pub database: String,
}

impl Version {
    /// Parses the answer to `VERSION`: `ClamAV 1.4.6/27805/Mon Nov  3 08:23:45 2026`.
    fn parse(answer: &str) -> Self {
        let mut parts = answer.split('/');
        let short = |part: Option<&str>| part.unwrap_or_default().trim().chars().take(100).collect();
        Self { engine: short(parts.next()), database: short(parts.next()) }
    }
}

/// clamd.
#[derive(Clone, Debug)]
pub struct Clamd {
    /// Address.
    pub address: Address,
    /// Time for which a scan waits for clamd to accept bytes, and to answer after the last byte.
    pub timeout: Duration,
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Clamd {
    async fn connect(&self) -> Result<Box<dyn Socket>, ClamdError> {
        let connected = timeout(SHORT, self.open()).await;
        let late = |_| ClamdError::Unreachable("the time is over".to_owned());
        connected.map_err(late)?.map_err(|error| ClamdError::Unreachable(error.to_string()))
    }

    async fn open(&self) -> std::io::Result<Box<dyn Socket>> {
        Ok(match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }

    /// Returns the versions of the scanner and of its signatures.
    ///
    /// # Errors
    /// [`ClamdError::Unreachable`], [`ClamdError::Broken`].
    pub async fn version(&self) -> Result<Version, ClamdError> {
        let mut socket = self.connect().await?;
        timeout(SHORT, socket.write_all(b"zVERSION\0")).await??;
        Ok(Version::parse(&timeout(SHORT, answer(&mut socket)).await??))
    }

    /// Scans the bytes of one stream.
    ///
    /// # Errors
    /// [`ClamdError`].
    pub async fn scan<E: Into<ClamdError>>(
        &self,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<ScanResult, ClamdError> {
        timeout(self.timeout.saturating_mul(STEPS), self.scan_in_steps(bytes)).await?
    }

    async fn scan_in_steps<E: Into<ClamdError>>(
        &self,
        mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<ScanResult, ClamdError> {
        let mut socket = self.connect().await?;
        let mut sent = timeout(self.timeout, socket.write_all(b"zINSTREAM\0")).await?;
        while sent.is_ok() {
            let next = timeout(self.timeout, bytes.next()).await.map_err(|_| stalled())?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(Into::into)?;
            sent = timeout(self.timeout, send_chunk(&mut socket, &chunk)).await?;
        }
        if sent.is_ok() {
            sent = timeout(self.timeout, end_stream(&mut socket)).await?;
        }
        // clamd closes a stream that it does not want after it has answered. The answer says why.
        let answered = timeout(self.timeout, answer(&mut socket)).await?;
        match (sent, answered) {
            (_, Ok(answered)) if !answered.is_empty() => result_of(&answered),
            (Err(error), _) | (Ok(()), Err(error)) => Err(error.into()),
            (Ok(()), Ok(_)) => Err(ClamdError::Broken("it closed the connection without an answer".to_owned())),
        }
    }

    /// Returns whether clamd can scan at all at the moment.
    pub async fn can_scan(&self) -> bool {
        let probe = futures_util::stream::iter([Ok::<_, ClamdError>(Bytes::from_static(&[0; PROBE_BYTES]))]);
        let short = Self { timeout: SHORT, ..self.clone() };
        matches!(short.scan(probe).await, Ok(ScanResult::Clean))
    }
}

fn stalled() -> StoreError {
    let reason = "no bytes arrive any more".to_owned();
    StoreError::Unavailable { operation: "reading a file to scan", reason }
}

async fn send_chunk(socket: &mut Box<dyn Socket>, chunk: &Bytes) -> std::io::Result<()> {
    // The length of a chunk has 32 bits. An empty chunk would end the stream.
    for piece in chunk.chunks(1 << 20) {
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        socket.write_all(&length.to_be_bytes()).await?;
        socket.write_all(piece).await?;
    }
    Ok(())
}

async fn end_stream(socket: &mut Box<dyn Socket>) -> std::io::Result<()> {
    socket.write_all(&0_u32.to_be_bytes()).await?;
    socket.flush().await
}

/// Reads an answer, which ends with a zero byte or with the connection.
async fn answer(socket: &mut Box<dyn Socket>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut limited = socket.take(ANSWER_MAX);
    loop {
        if limited.read_buf(&mut bytes).await? == 0 || bytes.contains(&0) {
            break;
        }
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Ok(String::from_utf8_lossy(&bytes[..end]).trim().to_owned())
}

/// Parses an answer: `stream: OK`, `stream: NAME FOUND` or `TEXT ERROR`.
fn result_of(answer: &str) -> Result<ScanResult, ClamdError> {
    let of_stream = answer.strip_prefix("stream: ").unwrap_or(answer);
    if of_stream == "OK" {
        return Ok(ScanResult::Clean);
    }
    let unscanned = |reason| Ok(ScanResult::Unscanned { reason });
    if of_stream.contains("size limit exceeded") {
        return unscanned(UnscannedReason::TooLarge);
    }
    match of_stream.strip_suffix(" FOUND") {
        Some(name) if name.starts_with(LIMITS) => unscanned(UnscannedReason::LimitsExceeded),
        Some(name) if name.starts_with(ENCRYPTED) => unscanned(UnscannedReason::Encrypted),
        Some(name) => Ok(ScanResult::Infected { signature: name.chars().take(SIGNATURE_MAX).collect() }),
        None => Err(ClamdError::Failed(answer.chars().take(SIGNATURE_MAX).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use tokio::net::TcpListener;

    /// Starts a server that reads `read` bytes, writes the pieces of an answer, and closes the connection or keeps it open.
    /// Returns a client of it.
    async fn answering(read: usize, pieces: &'static [&'static [u8]], closes: bool) -> Clamd {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.read_exact(&mut vec![0; read]).await.unwrap();
            for piece in pieces {
                socket.write_all(piece).await.unwrap();
                socket.flush().await.unwrap();
            }
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        Clamd { address, timeout: Duration::from_millis(500) }
    }

    fn bytes(pieces: usize) -> impl Stream<Item = Result<Bytes, ClamdError>> + Unpin {
        stream::iter((0..pieces).map(|_| Ok(Bytes::from_static(&[7; 1 << 16]))))
    }

    const ONE: usize = 10 + 4 + (1 << 16) + 4;

    #[tokio::test]
    async fn an_answer_in_pieces_is_read_to_its_end() {
        let clamd = answering(ONE, &[b"stream: O", b"K", b"\0"], false).await;
        assert_eq!(clamd.scan(bytes(1)).await.unwrap(), ScanResult::Clean);
        let clamd = answering(ONE, &[b"stream: OK"], true).await;
        assert_eq!(clamd.scan(bytes(1)).await.unwrap(), ScanResult::Clean);
    }

    #[tokio::test]
    async fn an_answer_before_the_last_byte_is_never_clean() {
        let clamd = answering(ONE, &[b"INSTREAM size limit exceeded. ERROR\0"], true).await;
        let scanned = clamd.scan(bytes(1_000)).await;
        let too_large = ScanResult::Unscanned { reason: UnscannedReason::TooLarge };
        assert!(scanned.as_ref().is_ok_and(|result| *result == too_large) || scanned.is_err(), "{scanned:?}");
    }

    #[tokio::test]
    async fn a_server_that_hangs_or_closes_the_connection_gives_no_result() {
        const HALF: &[&[u8]] = &[b"stream: "];
        for (pieces, closes) in [(&[][..], false), (&[], true), (HALF, false)] {
            let clamd = answering(ONE, pieces, closes).await;
            assert!(matches!(clamd.scan(bytes(1)).await, Err(ClamdError::Broken(_))));
        }
        // It does not read the bytes.
        let clamd = answering(10, &[], false).await;
        assert!(matches!(clamd.scan(bytes(1_000)).await, Err(ClamdError::Broken(_))));
        let nobody = Clamd { address: Address::Unix("/nowhere/clamd".into()), timeout: Duration::from_secs(1) };
        assert!(matches!(nobody.scan(bytes(1)).await, Err(ClamdError::Unreachable(_))));
    }

    #[tokio::test]
    async fn bytes_that_stop_are_no_fault_of_clamd() {
        let clamd = answering(10, &[], false).await;
        let stops = bytes(1).chain(stream::pending());
        assert!(matches!(clamd.scan(stops).await, Err(ClamdError::Source(_))));
    }

    #[test]
    fn only_ok_is_clean() {
        let unscanned = |reason| ScanResult::Unscanned { reason };
        for (answer, expected) in [
            ("stream: OK", ScanResult::Clean),
            ("stream: Eicar-Test FOUND", ScanResult::Infected { signature: "Eicar-Test".to_owned() }),
            ("stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND", unscanned(UnscannedReason::LimitsExceeded)),
            ("stream: Heuristics.Encrypted.Zip FOUND", unscanned(UnscannedReason::Encrypted)),
            ("INSTREAM size limit exceeded. ERROR", unscanned(UnscannedReason::TooLarge)),
        ] {
            assert_eq!(result_of(answer).unwrap(), expected, "{answer}");
        }
        for answer in ["", "stream: Can't allocate memory ERROR", "PONG", "stream: ", "stream: OK OK", "OKAY"] {
            assert!(result_of(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn an_address_names_its_kind() {
        assert_eq!("tcp:localhost:3310".parse(), Ok(Address::Tcp("localhost:3310".to_owned())));
        assert_eq!("tcp:[::1]:3310".parse(), Ok(Address::Tcp("[::1]:3310".to_owned())));
        assert_eq!("unix:/run/clamd.ctl".parse(), Ok(Address::Unix("/run/clamd.ctl".into())));
        for wrong in ["localhost:3310", "tcp:localhost", "unix:clamd.ctl", "http://localhost:3310", ""] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_version_is_parsed_with_and_without_signatures_that_have_one() {
        let version =
            |engine: &str, database: &str| Version { engine: engine.to_owned(), database: database.to_owned() };
        assert_eq!(Version::parse("ClamAV 1.4.6/27805/Mon Nov  3 08:23:45 2026"), version("ClamAV 1.4.6", "27805"));
        assert_eq!(Version::parse("ClamAV 1.4.6"), version("ClamAV 1.4.6", ""));
    }
}
