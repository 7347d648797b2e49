//! `waybill media-keys`: prints the keys of media URLs for the edges of a content delivery network.

use crate::CommandError;
use clap::Args;
use std::path::PathBuf;
use waybill_gateway::{MediaKey, MediaKeys};
use waybill_service_kit::Secrets;

#[derive(Args)]
#[command(after_long_help = "\
Prints one key per line: its id (parameter k of the URLs) and the key of HMAC-SHA256, which is used as it is printed. The first one
signs new URLs. Whoever has a key can make media URLs, so keep it secret. It does not reveal the secret from which it is derived.

Example:
  waybill media-keys --token-secret-file /run/secrets/token")]
pub(crate) struct MediaKeysArgs {
    /// Comma-separated secrets, as the gateways have them
    #[arg(long, env = "WAYBILL_TOKEN_SECRET", default_value = "", hide_env_values = true)]
    token_secret: String,
    /// File with these secrets, one per line
    #[arg(long, env = "WAYBILL_TOKEN_SECRET_FILE")]
    token_secret_file: Option<PathBuf>,
}

pub(crate) fn media_keys(args: &MediaKeysArgs) -> Result<(), CommandError> {
    let secrets = Secrets::read("WAYBILL_TOKEN_SECRET", &args.token_secret, args.token_secret_file.as_deref())?;
    for MediaKey { id, text } in MediaKeys::derive(&secrets).all() {
        println!("{id} {text}");
    }
    Ok(())
}
