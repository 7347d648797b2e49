//! Commands for operators: `waybill provision` and `waybill token`.

use crate::{CommandError, backing};
use clap::{Args, ValueEnum};
use waybill_event_log::jetstream;
use waybill_http_kit::{Principal, Role};
use waybill_object_store::{ObjectStore, StoreError};
use waybill_read_model::{DatabaseUser, Rights, SchemaNameError};
use waybill_schema::{CompanyId, UserId};
use waybill_service_kit::now;
use waybill_service_kit::settings::{
    AuthSettings, BrowserSettings, DatabaseSettings, DatabaseUserSettings, NatsSettings, S3Settings,
};

#[derive(Args)]
pub(crate) struct ProvisionArgs {
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    s3: S3Settings,
    #[command(flatten)]
    browsers: BrowserSettings,
    #[command(flatten)]
    users: DatabaseUserSettings,
    /// Let this version write events that older versions cannot read. Use it after all processes were upgraded
    #[arg(long)]
    accept_new_events: bool,
    /// Create the bucket with Object Lock, so that nobody can change or delete heads of the audit. An existing bucket
    /// must have Object Lock
    #[arg(long)]
    object_lock: bool,
}

/// Returns the users that have a name. Docker Compose sets a variable without a value to an empty text.
fn named(users: DatabaseUserSettings) -> Result<Vec<DatabaseUser>, SchemaNameError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let reader = (users.database_reader, users.database_reader_password, Rights::Read);
    let writer = (users.database_writer, users.database_writer_password, Rights::Write);
    let mut named = Vec::new();
    for (name, password, rights) in [reader, writer] {
        let Some(name) = given(name) else { continue };
        named.push(DatabaseUser { name: name.parse()?, password: given(password), rights });
    }
    Ok(named)
}

pub(crate) async fn provision(args: ProvisionArgs) -> Result<(), CommandError> {
    let nats = backing::nats(&args.nats).await?;
    let layout = backing::layout(&args.nats)?;
    let partitions = layout.partitions;
    jetstream::provision(&nats, layout).await?;
    jetstream::check_vocabulary(&nats, partitions).await?;
    let refused = jetstream::accept_events(&nats, partitions, args.accept_new_events).await?;
    if !refused.is_empty() {
        eprintln!(
            "waybill: the log does not yet accept these events of this version: {}; run \
             `waybill provision --accept-new-events` after all processes were upgraded",
            refused.join(", ")
        );
    }
    let database = backing::database(&args.database)?;
    database.migrate().await?;
    for user in named(args.users)? {
        database.admit(&user).await?;
    }
    let stores = backing::stores(&args.s3)?;
    let store = stores.hot.clone();
    if args.object_lock {
        store.ensure_bucket_with_lock().await?;
    } else {
        store.ensure_bucket().await?;
    }
    if let Some(cold) = stores.cold() {
        cold.store.ensure_bucket().await?;
    }
    if !args.browsers.allowed_origins.is_empty() {
        match store.allow_origins(&args.browsers.allowed_origins).await {
            Err(error @ StoreError::Refused { .. }) => {
                eprintln!(
                    "waybill: {error}; allow the origins in WAYBILL_ALLOWED_ORIGINS in the CORS settings of the store"
                );
            }
            done => done?,
        }
    }
    println!("tables, streams, key-value buckets and the S3 bucket exist");
    Ok(())
}

#[derive(Clone, Copy, ValueEnum)]
enum TokenRole {
    Auditor,
    Admin,
    Service,
}

#[derive(Args)]
pub(crate) struct TokenArgs {
    /// UUID of the company
    #[arg(long)]
    company: CompanyId,
    /// UUID of the user
    #[arg(long)]
    user: UserId,
    /// Role of the user; repeat the option for several roles
    #[arg(long)]
    role: Vec<TokenRole>,
    /// Lifetime of the token in seconds
    #[arg(long, default_value_t = 30 * 24 * 3_600, value_parser = clap::value_parser!(i64).range(1..=315_360_000))]
    expires_in_s: i64,
    #[command(flatten)]
    auth: AuthSettings,
}

pub(crate) fn token(args: &TokenArgs) -> Result<(), CommandError> {
    let role = |role: &TokenRole| match role {
        TokenRole::Auditor => Role::Auditor,
        TokenRole::Admin => Role::Admin,
        TokenRole::Service => Role::Service,
    };
    let principal = Principal {
        link: None,
        user_id: args.user,
        company_id: args.company,
        roles: args.role.iter().map(role).collect(),
        issued_at: Some(now()),
        expires_at: now().plus_ms(args.expires_in_s * 1_000),
    };
    println!("{}", backing::authenticator(&args.auth)?.mint(&principal)?);
    Ok(())
}
