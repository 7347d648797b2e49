//! Creates clients of NATS, PostgreSQL, Redis and the object store from settings.

use crate::CommandError;
use async_nats::ConnectErrorKind;
use std::sync::Arc;
use waybill_domain::media_type::TypePolicy;
use waybill_domain::scan::ScanRules;
use waybill_event_log::jetstream::{JetStreamLog, Layout, Login, Server};
use waybill_gateway::GatewaySecrets;
use waybill_http_kit::auth::IssuerConfig;
use waybill_http_kit::{Authenticator, Role};
use waybill_object_store::presign::Presigner;
use waybill_object_store::s3::{Encryption, S3Config, S3Store, StoreCredentials};
use waybill_object_store::{Cold, ObjectStore, Tiers};
use waybill_read_cache::{ReadCache, Redis};
use waybill_read_model::{Database, DatabaseConfig};
use waybill_schema::{Partitions, StorageTier};
use waybill_service_kit::Secrets;
use waybill_service_kit::sealing::SealingKeys;
use waybill_service_kit::settings::{
    AuthSettings, DatabaseSettings, EncryptionSetting, NatsSettings, RedisSettings, S3Settings, ScanSettings,
    TypeSettings,
};

/// Returns the partitions of the log.
pub(crate) fn partitions(settings: &NatsSettings) -> Result<Partitions, CommandError> {
    Partitions::new(settings.partitions).ok_or_else(|| "WAYBILL_PARTITIONS must be between 1 and 1024".into())
}

/// Returns the layout of the streams and buckets on the NATS server.
pub(crate) fn layout(settings: &NatsSettings) -> Result<Layout, CommandError> {
    Ok(Layout {
        partitions: partitions(settings)?,
        replicas: settings.nats_replicas,
        idempotency_bytes: settings.idempotency_bucket_bytes,
        record_bytes: settings.audit_record_bytes,
    })
}

fn nats_server(settings: &NatsSettings) -> Result<Server, CommandError> {
    let inbox_prefix = settings.inbox_prefix();
    if inbox_prefix.contains(['*', '>']) || inbox_prefix.contains(char::is_whitespace) {
        return Err("the prefix of the answers of NATS contains a character that a subject cannot have; set \
                    WAYBILL_NATS_INBOX_PREFIX to letters, digits and _"
            .into());
    }
    Ok(Server {
        url: settings.nats_url.clone(),
        name: "waybill",
        login: settings.login()?.map(|(user, password)| Login { user, password }),
        credentials_file: settings.nats_credentials_file.clone(),
        inbox_prefix,
    })
}

/// Connects to NATS.
pub(crate) async fn nats(settings: &NatsSettings) -> Result<async_nats::Client, CommandError> {
    nats_server(settings)?
        .connect()
        .await
        .map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => format!(
                "NATS at WAYBILL_NATS_URL refuses the login: {error}; check WAYBILL_NATS_USER and \
                 WAYBILL_NATS_PASSWORD, the user in the URL, or WAYBILL_NATS_CREDENTIALS_FILE"
            ),
            ConnectErrorKind::ServerParse => {
                format!("WAYBILL_NATS_URL is not a list of URLs such as nats://host:4222: {error}")
            }
            _ => format!("NATS at WAYBILL_NATS_URL does not answer: {error}; is nats-server running there?"),
        })
        .map_err(CommandError::from)
}

/// Opens the event log. It appends through `client`, and reads through another connection.
pub(crate) async fn log(
    settings: &NatsSettings,
    client: &async_nats::Client,
) -> Result<Arc<JetStreamLog>, CommandError> {
    let log = JetStreamLog::new(client.clone(), partitions(settings)?).on(nats_server(settings)?);
    Ok(Arc::new(log.reading_by(nats(settings).await?).checked().await?))
}

/// The buckets of the installation.
#[derive(Clone)]
pub(crate) struct Stores {
    /// The bucket to which uploads go.
    pub(crate) hot: Arc<S3Store>,
    /// The bucket for archived files, if there is one, and the tier of its objects.
    cold: Option<(Arc<S3Store>, StorageTier)>,
}

impl Stores {
    /// Returns the buckets as one store.
    pub(crate) fn all(&self) -> Arc<dyn ObjectStore> {
        Arc::new(Tiers::new(self.hot.clone(), self.cold()))
    }

    /// Returns the bucket for archived files.
    pub(crate) fn cold(&self) -> Option<Cold> {
        self.cold.clone().map(|(store, tier)| Cold { store, tier })
    }

    /// Returns each bucket.
    pub(crate) fn each(&self) -> impl Iterator<Item = &S3Store> {
        [&self.hot].into_iter().chain(self.cold.as_ref().map(|(store, _)| store)).map(AsRef::as_ref)
    }
}

/// Returns clients of the buckets.
pub(crate) fn stores(settings: &S3Settings) -> Result<Stores, CommandError> {
    let hot = s3_config(settings)?;
    let cold = cold_config(settings, &hot)?.map(|config| (Arc::new(S3Store::new(&config)), config.tier()));
    Ok(Stores { hot: Arc::new(S3Store::new(&hot)), cold })
}

fn cold_config(settings: &S3Settings, hot: &S3Config) -> Result<Option<S3Config>, CommandError> {
    let Some(bucket) = settings.s3_cold_bucket.as_ref().filter(|bucket| !bucket.is_empty()) else { return Ok(None) };
    let config = S3Config {
        endpoint: settings.s3_cold_endpoint.clone().or_else(|| hot.endpoint.clone()),
        region: settings.s3_cold_region.clone().unwrap_or_else(|| hot.region.clone()),
        bucket: bucket.clone(),
        credentials: match (&settings.s3_cold_access_key_id, &settings.s3_cold_secret_access_key) {
            (Some(id), Some(secret)) => StoreCredentials::Keys { id: id.clone(), secret: secret.clone() },
            _ => hot.credentials.clone(),
        },
        encryption: hot.encryption.clone(),
        storage_class: settings.s3_cold_storage_class.clone(),
    };
    if config.endpoint == hot.endpoint && config.bucket == hot.bucket {
        return Err("WAYBILL_S3_COLD_BUCKET must be another bucket than WAYBILL_S3_BUCKET".into());
    }
    Ok(Some(config))
}

/// Returns the signer of requests that clients send to the object store.
pub(crate) fn presigner(settings: &S3Settings) -> Result<Presigner, CommandError> {
    Ok(Presigner::new(&s3_config(settings)?, settings.s3_public_endpoint.as_deref()))
}

fn s3_config(settings: &S3Settings) -> Result<S3Config, CommandError> {
    let (id, secret) = (settings.s3_access_key_id.as_str(), settings.s3_secret_access_key.as_str());
    let credentials = match (id.is_empty(), secret.is_empty()) {
        (true, true) => StoreCredentials::Environment,
        (false, false) => StoreCredentials::Keys { id: id.to_owned(), secret: secret.to_owned() },
        _ => {
            return Err(
                "set both WAYBILL_S3_ACCESS_KEY_ID and WAYBILL_S3_SECRET_ACCESS_KEY, or neither of them to use \
                        the credentials of the environment"
                    .into(),
            );
        }
    };
    Ok(S3Config {
        endpoint: settings.s3_endpoint.clone(),
        region: settings.s3_region.clone(),
        bucket: settings.s3_bucket.clone(),
        credentials,
        encryption: match settings.s3_encryption {
            EncryptionSetting::None => Encryption::AsTheBucket,
            EncryptionSetting::S3 => Encryption::Managed,
            EncryptionSetting::Kms => Encryption::Kms(settings.s3_kms_key_id.clone()),
        },
        storage_class: None,
    })
}

/// Returns the database of the read model.
pub(crate) fn database(settings: &DatabaseSettings) -> Result<Database, CommandError> {
    database_at(settings, &settings.database_url)
}

/// Returns the read replica of the read model, if one is set.
pub(crate) fn replica(settings: &DatabaseSettings) -> Result<Option<Database>, CommandError> {
    let url = settings.database_replica_url.as_deref().filter(|url| !url.is_empty());
    url.map(|url| database_at(settings, url)).transpose()
}

/// Returns the rules for virus scans that apply to every company.
pub(crate) fn scan_rules(settings: &ScanSettings) -> ScanRules {
    ScanRules { policy: settings.scan, unscanned: settings.unscanned }
}

/// Returns a client of Redis, if one is set. It does not connect yet.
pub(crate) fn redis(settings: &RedisSettings) -> Result<Option<Arc<Redis>>, CommandError> {
    let url = settings.redis_url.as_deref().filter(|url| !url.is_empty());
    Ok(url.map(Redis::new).transpose()?)
}

/// Returns the cache of rows of a gateway, of up to `mib` in the process; `None` if it would keep nothing. All gateways share what is
/// in Redis.
pub(crate) fn read_cache(
    mib: u64,
    redis: Option<Arc<Redis>>,
    secrets: &GatewaySecrets,
) -> Result<Option<Arc<ReadCache>>, CommandError> {
    if mib == 0 && redis.is_none() {
        return Ok(None);
    }
    let with_keys = |redis| -> Result<_, CommandError> {
        let keys = SealingKeys::derive(&secrets.cursors()?, "waybill read cache");
        Ok((redis, keys.ok_or("no key can be derived from WAYBILL_CURSOR_SECRET")?))
    };
    Ok(Some(ReadCache::new(mib << 20, redis.map(with_keys).transpose()?)))
}

fn database_at(settings: &DatabaseSettings, url: &str) -> Result<Database, CommandError> {
    let metadata_keys = settings.metadata_keys.as_deref().unwrap_or_default().parse();
    let metadata_keys = metadata_keys.map_err(|error| format!("WAYBILL_METADATA_KEYS: {error}"))?;
    Ok(Database::new(DatabaseConfig {
        url: url.to_owned(),
        schema: settings.database_schema.parse().map_err(|error| format!("WAYBILL_DATABASE_SCHEMA: {error}"))?,
        pool_size: settings.database_pool_size,
        metadata_keys,
    })?)
}

/// Returns the authenticator of requests.
pub(crate) fn authenticator(settings: &AuthSettings) -> Result<Authenticator, CommandError> {
    let jwks_url = settings.published_keys();
    let secret = settings.jwt_hs256_secret.as_str();
    if let Some(file) = &settings.issuers_file {
        if jwks_url.is_some() || !secret.is_empty() {
            return Err(
                "WAYBILL_ISSUERS_FILE replaces WAYBILL_JWKS_URL and WAYBILL_JWT_HS256_SECRET; unset them".into()
            );
        }
        return Ok(Authenticator::new(IssuerConfig::read_all(file)?)?);
    }
    // If both were accepted, the weaker one would decide the security.
    if jwks_url.is_some() && !secret.is_empty() {
        return Err("set WAYBILL_JWKS_URL or WAYBILL_JWT_HS256_SECRET, not both".into());
    }
    let mut issuer = IssuerConfig {
        jwks_url: jwks_url.map(str::to_owned),
        types: settings.jwt_types.clone(),
        clients: settings.jwt_clients.clone(),
        max_age_s: settings.jwt_max_age_s,
        ..IssuerConfig::of(&settings.jwt_issuer, &settings.jwt_audience)
    };
    match &settings.jwt_roles {
        Some(roles) => issuer.roles.retain(|_, name| roles.contains(name)),
        None if jwks_url.is_some() => issuer.roles.retain(|role, _| *role != Role::Service),
        None => {}
    }
    if jwks_url.is_some() {
        return Ok(Authenticator::published(issuer)?);
    }
    Ok(Authenticator::hs256(&Secrets::read("WAYBILL_JWT_HS256_SECRET", secret, None)?, issuer))
}

/// Returns the media types that uploads may have.
pub(crate) fn types(settings: &TypeSettings) -> TypePolicy {
    settings.allowed_types.as_ref().map_or_else(TypePolicy::default, TypePolicy::new)
}
