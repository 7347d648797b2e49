//! `waybill audit`: the company's events, or the history of one file.

use super::api::{Api, ApiArgs, json};
use crate::CommandError;
use clap::Args;
use std::io::Write;

#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Only what is about this file
    #[arg(long, value_name = "FILE_ID")]
    file: Option<String>,
}

pub(crate) async fn audit(args: AuditArgs) -> Result<(), CommandError> {
    let api = Api::new(args.api)?;
    let mut cursor: Option<String> = None;
    loop {
        let mut request = api.get("/v1/audit").query(&[("limit", "1000")]);
        if let Some(file) = &args.file {
            request = request.query(&[("file_id", file)]);
        }
        if let Some(cursor) = &cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let page = json(request.send().await?).await?;
        let mut out = std::io::stdout().lock();
        for event in page["items"].as_array().into_iter().flatten() {
            writeln!(out, "{event}")?;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(()),
        }
    }
}
