//! Handles frames from the client and sends the answers.

use super::{Connection, Look, Step};
use crate::socket::{Frame, Incoming, Socket};
use crate::taken::Taken;
use crate::wish::Wish;
use std::time::Duration;
use tokio::time::Instant;
use waybill_api::frames::{ClientFrame, Close, Refusal, ServerFrame, Topic};
use waybill_audit::denials::Attempt;
use waybill_schema::ErrorCode;

/// Maximum number of frames that a client may send per second.
const COMMANDS_PER_S: u32 = 20;

impl<S: Socket> Connection<S> {
    /// Handles a message from the client, or the end of the stream.
    pub(super) fn heard(&mut self, message: Option<Incoming>, now: Instant) -> Result<Step, Close> {
        self.timing.heard();
        match message {
            Some(Incoming::Text(text)) => return self.command(&text, now),
            Some(Incoming::Ping(bytes)) => {
                self.count(now)?;
                self.unsent.push_back(Frame::Pong(bytes));
            }
            Some(Incoming::Pong) => self.count(now)?,
            Some(Incoming::Binary) => {
                self.count(now)?;
                self.refuse(None, Refusal::FrameInvalid);
            }
            Some(Incoming::TooBig) => return Err(Close::TooBig),
            None => return Err(Close::Gone),
        }
        Ok(Step::Done)
    }

    /// Counts a frame of the client, and returns an error if there were too many in this second.
    fn count(&mut self, now: Instant) -> Result<(), Close> {
        if now >= self.commands.0 + Duration::from_secs(1) {
            self.commands = (now, 0);
        }
        self.commands.1 += 1;
        if self.commands.1 > COMMANDS_PER_S {
            return Err(Close::TooMany);
        }
        Ok(())
    }

    fn command(&mut self, text: &[u8], now: Instant) -> Result<Step, Close> {
        self.count(now)?;
        match serde_json::from_slice::<ClientFrame>(text) {
            Ok(ClientFrame::Sub { id, topic, from }) => self.subscribe(id, &topic, from.is_some()),
            Ok(ClientFrame::Unsub { id }) => self.forget(id),
            Ok(ClientFrame::Auth { token }) => return Ok(Step::Look(Look::Token(token))),
            Ok(ClientFrame::Pong) => {}
            Err(_) => self.refuse(None, Refusal::FrameInvalid),
        }
        Ok(Step::Done)
    }

    fn subscribe(&mut self, id: u64, topic: &str, resumes: bool) {
        let Ok(parsed) = topic.parse::<Topic>() else {
            self.record_denial(topic);
            return self.refuse(Some(id), Refusal::NotFound);
        };
        let number = match self.subscriptions.ask(id, parsed) {
            Ok(number) => number,
            Err(refusal) => return self.refuse(Some(id), refusal),
        };
        if resumes {
            self.push([ServerFrame::Reset { id }]);
        }
        let (principal, outbox) = (self.client.principal.clone(), self.outbox.clone());
        Wish { id, number, topic: parsed, conn: self.number, principal, outbox }.begin(self.fanout.clone());
    }

    /// Begins a subscription with its snapshot, or refuses it.
    pub(super) fn begin(&mut self, Taken { id, wish, topic, outcome }: Taken) {
        if !self.subscriptions.waits(id, wish) {
            // The client has unsubscribed meanwhile.
            if !self.subscriptions.has(topic) {
                self.fanout.hub.unwatch(self.client.principal.company_id, topic, self.number);
            }
            return;
        }
        match outcome {
            Ok(snapshot) => {
                let frames = self.subscriptions.begin(id, snapshot);
                self.push(frames);
            }
            Err(refusal) => {
                if refusal == Refusal::NotFound {
                    self.record_denial(&topic.to_string());
                }
                self.forget(id);
                self.refuse(Some(id), refusal);
            }
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(topic) = self.subscriptions.remove(id) {
            self.fanout.hub.unwatch(self.client.principal.company_id, topic, self.number);
        }
    }

    /// Sends a refusal.
    pub(super) fn refuse(&mut self, id: Option<u64>, code: Refusal) {
        self.push([ServerFrame::Err { id, code: code.into() }]);
    }

    /// Records for the audit that the client asked for a topic that does not exist or that it may not watch.
    fn record_denial(&self, topic: &str) {
        let (caller, request) = (&self.client.principal, self.client.id);
        let attempt = Attempt {
            company_id: caller.company_id,
            user_id: caller.user_id,
            address: request.address,
            request_id: request.id,
            method: "SUB".to_owned(),
            path: topic.to_owned(),
        };
        self.fanout.denials.record(attempt, 404, ErrorCode::NotFound);
    }
}
