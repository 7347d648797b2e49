//! `waybill doctor`: checks whether NATS, PostgreSQL, Redis, the object store and some settings meet the requirements of
//! Waybill.

mod check;
mod store;

use crate::{CommandError, backing};
use check::{Check, Found};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use store::Probe;
use waybill_content::PreviewSettings;
use waybill_content::clamd::{Address, Clamd, ClamdError};
use waybill_event_log::jetstream;
use waybill_read_model::Database;
use waybill_schema::ScanResult;
use waybill_service_kit::settings::{
    AuthSettings, DatabaseSettings, NatsSettings, RedisSettings, S3Settings, UploadSettings, WorkerSecrets,
};
use waybill_service_kit::{SecretError, Secrets};

/// Time within which clamd must answer.
const CLAMD_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Oldest major version of PostgreSQL that has all features that Waybill uses.
const OLDEST_POSTGRES: u32 = 15;

#[derive(Args)]
#[command(after_long_help = "\
The command writes a few objects under doctor/ in the bucket and deletes them again. It changes nothing else.

✓ the check passed   ! Waybill works, but with a restriction   ✗ the check failed

Exit codes: 0 no check failed; 1 a check failed.")]
pub(crate) struct DoctorArgs {
    /// Output as one JSON object per line, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    redis: RedisSettings,
    #[command(flatten)]
    s3: S3Settings,
    #[command(flatten)]
    uploads: UploadSettings,
    #[command(flatten)]
    auth: AuthSettings,
    #[command(flatten)]
    worker_secrets: WorkerSecrets,
    #[command(flatten)]
    gateway_secrets: waybill_gateway::GatewaySecrets,
    /// Address of clamd: `tcp:HOST:PORT` or `unix:PATH`
    #[arg(long, env = "WAYBILL_CLAMD", help_heading = "Content")]
    clamd: Option<Address>,
    #[command(flatten)]
    previews: PreviewSettings,
}

pub(crate) async fn doctor(args: DoctorArgs) -> Result<ExitCode, CommandError> {
    let mut findings = nats(&args.nats).await;
    findings.push(postgres("PostgreSQL", backing::database(&args.database)).await);
    if let Some(replica) = backing::replica(&args.database).transpose() {
        findings.push(postgres("PostgreSQL, the replica", replica).await);
    }
    if let Some(redis) = backing::redis(&args.redis)? {
        let found = match redis.version().await {
            Ok(version) => Found::Good(format!("version {version}")),
            Err(error) => Found::Limit(format!("{error}; PostgreSQL answers instead until Redis does")),
        };
        findings.push(Check::new("Redis", found));
    }
    let stores = backing::stores(&args.s3)?;
    let probe = Probe {
        store: stores.hot.clone(),
        presigner: backing::presigner(&args.s3)?,
        upload_lifetime: Duration::from_secs(args.uploads.upload_lifetime_s),
    };
    findings.extend(probe.findings().await);
    if let Some(cold) = stores.cold() {
        findings.push(store::cold(&cold).await);
    }
    findings.push(tokens(&args.auth).await);
    findings.push(match args.worker_secrets.read() {
        Err(SecretError::Missing(_)) => Check {
            what: "secrets between gateways and workers".to_owned(),
            found: Found::Limit("not set; gateways and workers in different processes need them".to_owned()),
        },
        read => secrets("secrets between gateways and workers", read),
    });
    if let Some(address) = args.clamd {
        findings.push(Check::new("clamd", clamd(address).await));
    }
    if args.previews.previews {
        findings.push(Check { what: "previews".to_owned(), found: previews(&args.previews).await });
    }
    findings.push(secrets("secrets of audit exports", args.gateway_secrets.audit()));
    findings.push(secrets("secrets of cursors", args.gateway_secrets.cursors()));
    findings.push(secrets("secrets of download tokens", args.gateway_secrets.tokens()));
    for Check { what, found } in &findings {
        let (mark, level, text) = match found {
            Found::Good(text) => ("✓", "ok", text),
            Found::Limit(text) => ("!", "limit", text),
            Found::Wrong(text) => ("✗", "error", text),
        };
        if args.json {
            println!("{}", json!({ "check": what, "ok": level != "error", "level": level, "detail": text }));
        } else {
            println!("{mark} {what}: {text}");
        }
    }
    let is_wrong = findings.iter().any(|check| matches!(check.found, Found::Wrong(_)));
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn nats(settings: &NatsSettings) -> Vec<Check> {
    let layout = match backing::layout(settings) {
        Ok(layout) => layout,
        Err(error) => return vec![Check::new("partitions", Found::Wrong(error.to_string()))],
    };
    match backing::nats(settings).await {
        Ok(client) => {
            let found = jetstream::inspect(&client, layout).await;
            let mut checks: Vec<Check> = found.into_iter().map(|(what, found)| Check::new(what, found)).collect();
            checks.push(Check { what: "users of NATS".to_owned(), found: users(&client) });
            checks
        }
        Err(error) => vec![Check::new("NATS server", Found::Wrong(error.to_string()))],
    }
}

fn users(client: &async_nats::Client) -> Found {
    if client.server_info().auth_required {
        Found::Good("NATS requires a login".to_owned())
    } else {
        let risk = "every process that reaches NATS can append events; give each role a user, see nats/users.conf";
        Found::Limit(risk.to_owned())
    }
}

/// Checks that clamd finds the EICAR test file, so that it has signatures.
async fn clamd(address: Address) -> Result<String, String> {
    let clamd = Clamd { address, timeout: CLAMD_ANSWERS_WITHIN };
    let version = clamd.version().await.map_err(|error| error.to_string())?;
    // No scanner finds the two halves in this program.
    let halves = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];
    let file = futures_util::stream::iter([Ok::<_, ClamdError>(halves.concat().into())]);
    match clamd.scan(file).await.map_err(|error| error.to_string())? {
        ScanResult::Infected { .. } => Ok(format!("{}, signatures {}", version.engine, version.database)),
        ScanResult::Clean | ScanResult::Unscanned { .. } => {
            Err("it does not find the EICAR test file; load the signatures with freshclam".to_owned())
        }
    }
}

async fn previews(settings: &PreviewSettings) -> Found {
    match settings.check().await {
        Ok(()) => Found::Good("the program that makes them runs with restricted rights".to_owned()),
        Err(reason) => Found::Limit(format!("{reason}; files get no previews, see WAYBILL_RENDER_SANDBOX")),
    }
}

async fn tokens(settings: &AuthSettings) -> Check {
    let what = "tokens of users";
    match backing::authenticator(settings) {
        Ok(authenticator) => Check::new(what, authenticator.check().await),
        Err(error) => {
            let hint = "set WAYBILL_JWKS_URL, or set WAYBILL_JWT_HS256_SECRET to the output of `openssl rand -hex 32`";
            Check::new(what, Found::Wrong(format!("{error}; {hint}")))
        }
    }
}

async fn postgres(what: &str, database: Result<Database, CommandError>) -> Check {
    let inspect = async {
        let found = database?.inspect().await?;
        let major: u32 = found.version.split(['.', ' ']).next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major < OLDEST_POSTGRES {
            return Err(
                format!("version {} is too old; version {OLDEST_POSTGRES} or later is needed", found.version).into()
            );
        }
        match found.pending_migrations {
            0 => Ok(format!("version {}; the tables are up to date", found.version)),
            n => Err(CommandError::from(format!("{n} migrations are missing; run `waybill provision`"))),
        }
    };
    Check::new(what, inspect.await)
}

fn secrets(what: &str, read: Result<Secrets, SecretError>) -> Check {
    Check::new(what, read.map(|secrets| format!("{} set", secrets.all().count())).map_err(|error| error.to_string()))
}
