//! `waybill watch`: shows progress and changes of uploads over the WebSocket protocol `waybill.v1`.

use crate::api::{Api, ApiArgs, ApiError, Sent};
use crate::end::Ended;
use crate::interrupt::until_interrupted;
use crate::output::{self, Output, OutputArgs};
use crate::retry::{Patience, PatienceArgs};
use crate::views::{Change, SessionTopic, UploadProgress};
use clap::Args;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use waybill_api::frames::{ClientFrame, Close, ProgressFacts, Refusal, ServerFrame, Stage};
use waybill_api::uploads::Status;
use waybill_api::{Extensible, ProblemDetails};

/// Time without a message after which a connection is dead. The server sends a ping every 25 s.
const SILENCE: Duration = Duration::from_secs(60);

/// Time without a frame after which the state of a closed session is requested again.
const QUIET: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Show the progress of uploads, of a session or of the whole company
///
/// The command exits when the uploads or the session have ended. For a company, it continues until Ctrl-C.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill watch 01a20a46-85e0-724b-9675-95b91ff3c10c
  waybill watch --session 01a20a46-9d4f-7d42-8e11-4a8b2c35f27c
  waybill watch --company 5c0f3a64-54a1-4d33-8b1e-6e8f6b1a4c22 --json

Exit codes:
  0    all uploads are verified
  1    an upload has failed or was cancelled, or cannot be watched
  75   Waybill does not answer
  130  interrupted by Ctrl-C (143 by SIGTERM)")]
pub struct WatchArgs {
    /// Ids of the uploads; an upload and its file have the same id
    #[arg(value_name = "UPLOAD_ID", required_unless_present_any = ["session", "company"])]
    uploads: Vec<String>,
    /// Id of a session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Id of the company; only for its admins
    #[arg(long, value_name = "ID")]
    company: Option<String>,
    /// URL of the fan-out, if it differs from the URL of the gateway
    #[arg(long, env = "WAYBILL_PROGRESS_URL", value_name = "URL", help_heading = "Server")]
    progress_url: Option<String>,
    #[command(flatten)]
    patience: PatienceArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// State of the watched topics.
struct Watch {
    output: Output,
    /// Topics by the number of their subscription.
    topics: HashMap<u64, String>,
    /// Subscriptions whose uploads or sessions have not ended.
    open: HashSet<u64>,
    /// Subscriptions of closed sessions. Such a session ends when its running uploads have ended.
    closing: HashSet<u64>,
    bars: HashMap<String, ProgressBar>,
    names: HashMap<String, String>,
    failed: bool,
}

/// Reason why a connection ended.
enum Lost {
    /// A new connection can succeed.
    Passing(String),
    /// A new connection would fail, too.
    Final(String),
}

/// Runs `waybill watch`.
///
/// # Errors
/// The reason, for users.
pub fn watch(args: WatchArgs) -> BoxFuture<'static, Result<Ended, String>> {
    Box::pin(async move {
        let output = Output::new(args.output);
        until_interrupted(&output, "stopped", watch_all(args, output.clone())).await
    })
}

async fn watch_all(args: WatchArgs, output: Output) -> Result<Ended, String> {
    let api = Api::new(args.api)?;
    let uploads = args.uploads.iter().map(|id| format!("upload:{id}"));
    let others = [("session", args.session), ("company", args.company)];
    let others = others.into_iter().filter_map(|(kind, id)| id.map(|id| format!("{kind}:{id}")));
    let topics: HashMap<u64, String> = (1..).zip(uploads.chain(others)).collect();
    let mut watch = Watch {
        output,
        open: topics.keys().copied().collect(),
        closing: HashSet::new(),
        topics,
        bars: HashMap::new(),
        names: HashMap::new(),
        failed: false,
    };
    let patience = Patience::new(args.patience);
    let url = args.progress_url.unwrap_or_else(|| api.url().to_owned());
    loop {
        match watch.connection(&api, &url, &patience).await {
            Ok(()) => break,
            Err(Lost::Final(reason)) => return Err(reason),
            Err(Lost::Passing(reason)) => {
                let error = ApiError::Unreachable { url: url.clone(), reason };
                let waited = patience.wait(error, |error, _| watch.output.note(&format!("{error}; retrying"))).await;
                if let Err(error) = waited {
                    watch.output.complain(&error.to_string());
                    return Ok(Ended::GoOnLater);
                }
            }
        }
    }
    watch.output.clear();
    Ok(if watch.failed { Ended::Failed } else { Ended::Done })
}

impl Watch {
    /// Opens a connection and handles its frames, until all topics have ended or the connection is lost.
    async fn connection(&mut self, api: &Api, url: &str, patience: &Patience) -> Result<(), Lost> {
        let mut socket = connect(api, url).await?;
        let passing = |error: Error| Lost::Passing(error.to_string());
        for id in self.open.clone() {
            socket.send(message(&self.subscription(id))?).await.map_err(passing)?;
        }
        while !self.open.is_empty() {
            let quiet = if self.closing.is_empty() { SILENCE } else { QUIET };
            let next = tokio::time::timeout(quiet, socket.next()).await;
            let message = match next {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(passing(error)),
                Ok(None) => return Err(Lost::Passing("the connection was closed".to_owned())),
                // No frame announces the end of a session. A new subscription returns its state.
                Err(_) if !self.closing.is_empty() => {
                    for id in self.closing.clone() {
                        for frame in [ClientFrame::Unsub { id }, self.subscription(id)] {
                            socket.send(message(&frame)?).await.map_err(passing)?;
                        }
                    }
                    continue;
                }
                Err(_) => {
                    let reason = format!("no message arrived for {} s", SILENCE.as_secs());
                    return Err(Lost::Passing(reason));
                }
            };
            patience.progress();
            match message {
                Message::Text(text) => {
                    if let Ok(frame) = serde_json::from_str(&text) {
                        self.frame(frame)?;
                    }
                }
                Message::Close(Some(frame)) if u16::from(frame.code) == Close::TokenExpired.code() => {
                    return Err(Lost::Final("the token has expired".to_owned()));
                }
                _ => {}
            }
        }
        drop(socket.close(None).await);
        Ok(())
    }

    fn subscription(&self, id: u64) -> ClientFrame {
        ClientFrame::Sub { id, topic: self.topic(id), from: None }
    }

    /// Returns the topic of a subscription.
    fn topic(&self, id: u64) -> String {
        self.topics.get(&id).cloned().unwrap_or_default()
    }

    fn frame(&mut self, frame: Sent<ServerFrame>) -> Result<(), Lost> {
        use ServerFrame::{Bye, Err as Refused, Ev, Hello, Prog, Reset, Snap, Unknown};
        let Sent { json, body: frame } = frame;
        if matches!(frame, Snap { .. } | Ev { .. } | Prog { .. } | Refused { .. }) {
            self.output.event(|| json);
        }
        match frame {
            Snap { id, state, .. } => self.snapshot(id, &state),
            Prog { progress, .. } => self.progress(&progress),
            Ev { id, kind, facts, .. } => self.transition(id, &kind, facts),
            Refused { id, code } => return Err(self.refused(id.unwrap_or(0), &code)),
            Hello { .. } | Reset { .. } | Bye { .. } | Unknown => {}
        }
        Ok(())
    }

    fn refused(&self, id: u64, code: &Extensible<Refusal>) -> Lost {
        match code {
            Extensible::Known(Refusal::NotFound) => {
                Lost::Final(format!("{}: does not exist, or you are not allowed to watch it", self.topic(id)))
            }
            Extensible::Known(Refusal::Lagging | Refusal::Unavailable) => Lost::Passing(code.to_string()),
            code => Lost::Final(format!("{}: {code}", self.topic(id))),
        }
    }

    fn snapshot(&mut self, id: u64, state: &Value) {
        let topic = self.topic(id);
        match topic.split_once(':') {
            // The state of an upload that the read model does not have yet is `null`.
            Some(("upload", upload)) => {
                if let Ok(UploadProgress { status, error_code }) = UploadProgress::deserialize(state) {
                    self.ended(id, upload, &status, error_code);
                }
            }
            Some(("session", _)) => {
                let Ok(SessionTopic { session }) = SessionTopic::deserialize(state) else { return };
                if !session.is_active() {
                    self.failed |= session.status != "COMPLETED" || session.failed_files != 0;
                    self.say(&topic, &session.status);
                    self.open.remove(&id);
                    self.closing.remove(&id);
                } else if session.is_closed {
                    self.closing.insert(id);
                }
            }
            _ => {}
        }
    }

    fn progress(&mut self, progress: &ProgressFacts) {
        let upload = progress.upload_id.to_string();
        let name = self.name(&upload);
        let bar = self.bars.entry(upload).or_insert_with(|| self.output.file_bar(&name, progress.total_bytes));
        bar.set_position(progress.bytes_uploaded);
        bar.set_message(if progress.stage == Stage::Verifying { "verifying" } else { "" });
    }

    fn transition(&mut self, id: u64, kind: &str, facts: Map<String, Value>) {
        let change = Change::deserialize(Value::Object(facts)).unwrap_or_default();
        let what = change.upload_id.or(change.session_id).unwrap_or_default();
        if let Some(name) = change.original_name {
            self.names.insert(what.clone(), name);
        }
        let name = self.name(&what);
        self.say(&name, kind);
        let status = change.status;
        match (self.topic(id).split_once(':'), &status) {
            (Some(("upload", _)), Some(status)) => self.ended(id, &what, status, change.error_code),
            (Some(("session", _)), _) => {
                self.failed |= matches!(status, Some(Extensible::Known(Status::Failed | Status::Cancelled)));
                match kind {
                    "SessionCancelled" => drop(self.open.remove(&id)),
                    "SessionClosed" => drop(self.closing.insert(id)),
                    _ => {}
                }
            }
            _ => {}
        }
        if status.as_ref().is_some_and(is_final)
            && let Some(bar) = self.bars.remove(&what)
        {
            bar.finish_and_clear();
        }
    }

    /// Stops watching an upload if its status is final.
    fn ended(&mut self, id: u64, upload: &str, status: &Extensible<Status>, error_code: Option<String>) {
        if !is_final(status) {
            return;
        }
        self.open.remove(&id);
        if let Some(bar) = self.bars.remove(upload) {
            bar.finish_and_clear();
        }
        if *status == Status::Completed {
            self.output.note(&format!("✓ {}: verified", self.name(upload)));
        } else {
            self.failed = true;
            let code = error_code.unwrap_or_else(|| status.to_string());
            self.output.complain(&format!("✗ {}: {code}", self.name(upload)));
        }
    }

    fn name(&self, id: &str) -> String {
        self.names.get(id).map_or_else(|| id.to_owned(), |name| output::printable(name))
    }

    fn say(&self, what: &str, kind: &str) {
        if !self.output.is_json() {
            self.output.result(|| format!("{what}  {kind}"), || Value::Null);
        }
    }
}

/// Returns `true` if an upload with this status has ended.
fn is_final(status: &Extensible<Status>) -> bool {
    matches!(status, Extensible::Known(Status::Completed | Status::Failed | Status::Cancelled))
}

/// Returns the message with a frame.
fn message(frame: &ClientFrame) -> Result<Message, Lost> {
    let text = serde_json::to_string(frame).map_err(|error| Lost::Final(error.to_string()))?;
    Ok(Message::text(text))
}

async fn connect(api: &Api, url: &str) -> Result<Socket, Lost> {
    let refused = |reason: String| Lost::Final(reason);
    let url = match url.strip_prefix("http") {
        Some(rest) => format!("ws{}/v1/progress", rest.trim_end_matches('/')),
        None => return Err(refused(format!("{url} is not a URL that begins with http:// or https://"))),
    };
    let mut request = url.into_client_request().map_err(|error| refused(error.to_string()))?;
    let token = api.token().map_err(refused)?;
    let token = HeaderValue::from_str(&format!("Bearer {token}"));
    request.headers_mut().insert(
        "Authorization",
        token
            .map_err(|_| refused("the token contains characters that are not allowed in an HTTP header".to_owned()))?,
    );
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) if response.status().is_client_error() && response.status() != 429 => {
            let body = response.body().as_deref();
            let problem: Option<ProblemDetails> = body.and_then(|body| serde_json::from_slice(body).ok());
            Err(Lost::Final(problem.map_or_else(|| response.status().to_string(), |problem| problem.detail)))
        }
        Err(error) => Err(Lost::Passing(error.to_string())),
    }
}
