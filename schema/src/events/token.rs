//! Events of a download token: `token.{id}`. What makes a token good is never stored, only its hash.

use crate::{FileId, Sha256Digest, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A token was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenIssuedV1 {
    /// For which file.
    pub file_id: FileId,
    /// By whom. It is good for as long as they may read the file.
    pub user_id: UserId,
    /// Whether they did so as an admin of their company, who may read all of its files.
    pub as_admin: bool,
    /// SHA-256 of the token's text.
    pub token_sha256: Sha256Digest,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// For how many downloads; any number where it is left out.
    pub max_downloads: Option<u32>,
}

/// A download began. Appended before its first byte is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRedeemedV1 {
    /// From where.
    pub ip_address: IpAddr,
    /// With what, as it calls itself; 256 bytes at most.
    pub user_agent: Option<String>,
}

/// The token ended long ago, and its row goes; what was done with it stays in the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenExpiredV1 {}

/// The token is good for nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRevokedV1 {}
