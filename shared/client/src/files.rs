//! `waybill ls` and `waybill quota`.

use crate::api::{Api, ApiArgs, ApiError, Sent};
use crate::end::Ended;
use crate::output::{self, Output, OutputArgs};
use crate::views::File;
use clap::{Args, ValueEnum};
use futures_util::future::BoxFuture;
use std::num::NonZeroUsize;
use waybill_api::files::ProcessingStatus;
use waybill_api::quota::QuotaBody;

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
}

/// List files, newest first
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill ls
  waybill ls --limit 1000 --json | jq -r .original_name
  waybill ls --status failed")]
pub struct LsArgs {
    /// Id of a chatroom; lists only its files
    #[arg(long, value_name = "ID")]
    chatroom: Option<String>,
    /// Id of a thread; lists only its files
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// State of the files
    #[arg(long, value_enum, default_value = "completed")]
    status: Status,
    /// Maximum number of files
    #[arg(long, short = 'n', default_value = "50")]
    limit: NonZeroUsize,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs `waybill ls`.
///
/// # Errors
/// The reason, for users.
pub fn ls(args: LsArgs) -> BoxFuture<'static, Result<Ended, String>> {
    Box::pin(async move {
        let api = Api::new(args.api)?;
        let output = Output::new(args.output);
        let status = match args.status {
            Status::Pending => ProcessingStatus::Pending,
            Status::Processing => ProcessingStatus::Processing,
            Status::Completed => ProcessingStatus::Completed,
            Status::Failed => ProcessingStatus::Failed,
        };
        let status = status.as_str();
        let mut query = vec![("status", status.to_owned()), ("limit", args.limit.get().min(200).to_string())];
        query.extend(args.chatroom.map(|id| ("chatroom_id", id)));
        query.extend(args.thread.map(|id| ("thread_id", id)));
        let (mut shown, limit) = (0, args.limit.get());
        let listed = api.pages("/v1/files", &query, |file: Sent<File>| {
            if shown == limit {
                return false;
            }
            shown += 1;
            output.result(|| line(&file.body), || file.json);
            true
        });
        listed.await.map_err(|error: ApiError| error.to_string())?;
        if shown == 0 {
            output.note(&format!("no {} files", status.to_lowercase()));
        } else if shown == limit {
            output.note(&format!("listed the newest {limit} files; use --limit to list more"));
        }
        Ok(Ended::Done)
    })
}

fn line(file: &File) -> String {
    let name = file.display_name.as_ref().unwrap_or(&file.original_name);
    let size = output::bytes(file.size_bytes);
    let created = file.created_at.get(..16).unwrap_or_default().replace('T', " ");
    format!("{}  {created}  {size:>10}  {}", file.id, output::printable(name))
}

/// Show the quota of the company and its use
#[derive(Args)]
pub struct QuotaArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs `waybill quota`.
///
/// # Errors
/// The reason, for users.
pub fn quota(args: QuotaArgs) -> BoxFuture<'static, Result<Ended, String>> {
    Box::pin(async move {
        let api = Api::new(args.api)?;
        let quota: Sent<QuotaBody> = api.json(api.get("/v1/quota")).await.map_err(|error| error.to_string())?;
        let QuotaBody { storage_limit_bytes: limit, storage_used_bytes: used, .. } = quota.body;
        let reserved = quota.body.storage_reserved_bytes;
        let free = limit.saturating_sub(used).saturating_sub(reserved);
        Output::new(args.output).result(
        || {
            format!(
                "used      {:>12}  in {} files\nreserved  {:>12}  for open uploads\nfree      {:>12}\nlimit     {:>12}",
                output::bytes(used),
                quota.body.file_count,
                output::bytes(reserved),
                output::bytes(free),
                output::bytes(limit)
            )
        },
        || quota.json.clone(),
    );
        Ok(Ended::Done)
    })
}
