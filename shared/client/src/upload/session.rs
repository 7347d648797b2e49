//! Session into which a command uploads its files.

use super::error::UploadError;
use super::shared::Shared;
use crate::api::ApiError;
use crate::retry::Patience;
use crate::state::{Remembered, SessionRecord};
use crate::views;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;
use waybill_api::ErrorCode;
use waybill_api::sessions::{OpenBody, SessionOpened};

/// Open session.
pub(super) struct Session {
    pub(super) id: String,
    held: Remembered,
}

impl Session {
    /// Opens a session. Returns the session of an earlier run with the same name if that is still open.
    pub(super) async fn open(shared: &Shared, name: &str) -> Result<Self, UploadError> {
        let held = shared.state.hold("sessions", [shared.api.url(), &shared.api.whose(), name])?;
        let earlier: Option<SessionRecord> = held.load().filter(|_| shared.resume);
        if let Some(SessionRecord { session_id: Some(id), .. }) = &earlier
            && Self::is_open(shared, id).await?
        {
            return Ok(Self { id: id.clone(), held });
        }
        // If the answer to an earlier request was lost, the same idempotency key returns the same session.
        let mut record = earlier.filter(|record| record.session_id.is_none()).unwrap_or_else(|| SessionRecord {
            name: name.to_owned(),
            idempotency_key: Uuid::now_v7(),
            session_id: None,
        });
        held.keep(&record)?;
        let patience = Patience::new(shared.patience);
        let body = OpenBody { name: Some(name.to_owned()) };
        let open = || {
            let request = shared.api.request(Method::POST, "/v1/sessions");
            let request = request.header("Idempotency-Key", record.idempotency_key.to_string());
            shared.api.json(request.json(&body))
        };
        let opened: SessionOpened = patience.persist(open, |error, pause| waits(shared, error, pause)).await?;
        let id = opened.session_id.to_string();
        record.session_id = Some(id.clone());
        held.keep(&record)?;
        shared.output.event(|| json!({ "event": "session", "session_id": id, "name": name }));
        Ok(Self { id, held })
    }

    async fn is_open(shared: &Shared, id: &str) -> Result<bool, UploadError> {
        let patience = Patience::new(shared.patience);
        let show = || shared.api.json(shared.api.get(&format!("/v1/sessions/{id}")));
        let shown: Result<views::Session, ApiError> =
            patience.persist(show, |error, pause| waits(shared, error, pause)).await;
        match shown {
            Ok(session) => Ok(session.is_active() && !session.is_closed),
            Err(error) if error.has_code(ErrorCode::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the session: it accepts no more files.
    pub(super) async fn close(self, shared: &Shared) -> Result<(), UploadError> {
        let patience = Patience::new(shared.patience);
        let close =
            || shared.api.send_soon(shared.api.request(Method::POST, &format!("/v1/sessions/{}/close", self.id)));
        patience.persist(close, |error, pause| waits(shared, error, pause)).await?;
        self.held.forget();
        Ok(())
    }
}

fn waits(shared: &Shared, error: &ApiError, pause: Duration) {
    shared.output.note(&format!("session: {error}; retrying in {:.1} s", pause.as_secs_f64()));
}
