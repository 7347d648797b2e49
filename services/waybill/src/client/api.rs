//! Waybill over HTTP.

use crate::CommandError;
use clap::Args;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use std::time::Duration;

/// Where Waybill is, and who asks.
#[derive(Args, Clone)]
pub(crate) struct ApiArgs {
    /// Where Waybill is
    #[arg(long, env = "WAYBILL_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The token
    #[arg(long, env = "WAYBILL_TOKEN", hide_env_values = true)]
    token: String,
}

/// A client of one Waybill.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    args: ApiArgs,
}

impl Api {
    pub(crate) fn new(args: ApiArgs) -> Result<Self, CommandError> {
        let client = Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
        Ok(Self { client, args })
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.authorized(self.client.get(self.at(path)))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.authorized(self.client.post(self.at(path)))
    }

    pub(crate) fn put(&self, path: &str) -> RequestBuilder {
        self.authorized(self.client.put(self.at(path)))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.args.url.trim_end_matches('/'))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(self.args.token.trim())
    }
}

/// The JSON of a successful answer; what a problem says otherwise.
pub(crate) async fn json(response: Response) -> Result<Value, CommandError> {
    let status = response.status();
    let body = response.bytes().await?;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(value);
    }
    let detail = value["detail"].as_str().unwrap_or("the answer has no explanation");
    let code = value["code"].as_str().unwrap_or("unknown");
    Err(format!("{detail} ({code}, status {})", status.as_u16()).into())
}
