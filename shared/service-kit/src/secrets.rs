//! Secrets that several processes share. Each setting is a list: the first secret makes new signatures and keys, and all
//! are accepted. A secret is therefore replaced without downtime: append the new one everywhere, then move it to the
//! front everywhere, then remove the old one everywhere.

use std::path::{Path, PathBuf};

/// Minimum length of a secret in bytes.
pub const SECRET_MIN_BYTES: usize = 32;

/// The secrets of one setting. There is at least one, and each has at least [`SECRET_MIN_BYTES`] bytes.
#[derive(Clone)]
pub struct Secrets(Vec<String>);

/// Error if secrets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no secret.
    #[error("{0} or {0}_FILE must be set; `openssl rand -hex 32` generates a secret")]
    Missing(&'static str),
    /// There is a user but no password.
    #[error("{0} or {0}_FILE must be set for the user")]
    NoPassword(&'static str),
    /// A secret is too short.
    #[error("a secret in {name} has {bytes} bytes; at least {SECRET_MIN_BYTES} are needed")]
    TooShort {
        /// Name of the setting.
        name: &'static str,
        /// Length of the secret in bytes.
        bytes: usize,
    },
    /// Both settings have a value.
    #[error("{0} and {0}_FILE are both set; set only one of them")]
    Both(&'static str),
    /// The file cannot be read.
    #[error("{name}_FILE: cannot read {}: {source}", .file.display())]
    File {
        /// Name of the setting.
        name: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
}

impl Secrets {
    /// Reads the secrets of the setting `name`: from `text`, separated by commas, or from `file`, one per line.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(name: &'static str, text: &str, file: Option<&Path>) -> Result<Self, SecretError> {
        let text = read_text(name, text, file)?;
        let secrets: Vec<String> =
            text.split([',', '\n']).map(str::trim).filter(|secret| !secret.is_empty()).map(str::to_owned).collect();
        if let Some(short) = secrets.iter().find(|secret| secret.len() < SECRET_MIN_BYTES) {
            return Err(SecretError::TooShort { name, bytes: short.len() });
        }
        if secrets.is_empty() { Err(SecretError::Missing(name)) } else { Ok(Self(secrets)) }
    }

    /// Returns all secrets. The first one makes new signatures and keys.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(String::as_bytes)
    }
}

/// Returns `text`, or the content of `file`.
pub(crate) fn read_text(name: &'static str, text: &str, file: Option<&Path>) -> Result<String, SecretError> {
    let of_file = file.map(|file| {
        std::fs::read_to_string(file).map_err(|source| SecretError::File { name, file: file.to_owned(), source })
    });
    match of_file.transpose()? {
        Some(_) if !text.is_empty() => Err(SecretError::Both(name)),
        Some(text) => Ok(text),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "WAYBILL_EXAMPLE_SECRET";

    #[test]
    fn a_list_of_secrets_comes_from_the_environment_or_from_a_file() {
        let (first, second) = ("a".repeat(32), "b".repeat(40));
        let both = [first.as_bytes(), second.as_bytes()];
        let read = Secrets::read(NAME, &format!("{first}, {second}"), None).unwrap();
        assert!(read.all().eq(both));

        let file = std::env::temp_dir().join(format!("waybill-secrets-{}", std::process::id()));
        std::fs::write(&file, format!("{first}\n{second}\n")).unwrap();
        let read = Secrets::read(NAME, "", Some(&file));
        let too_much = Secrets::read(NAME, &first, Some(&file));
        std::fs::remove_file(&file).unwrap();
        assert!(read.unwrap().all().eq(both));
        assert!(matches!(too_much, Err(SecretError::Both(NAME))));
        assert!(matches!(Secrets::read(NAME, "", Some(&file)), Err(SecretError::File { .. })));
    }

    #[test]
    fn missing_and_short_secrets_are_refused() {
        assert!(matches!(Secrets::read(NAME, " ,", None), Err(SecretError::Missing(NAME))));
        let short = format!("{},short", "a".repeat(32));
        assert!(matches!(Secrets::read(NAME, &short, None), Err(SecretError::TooShort { bytes: 5, .. })));
    }
}
