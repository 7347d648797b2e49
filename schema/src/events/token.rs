//! Events of a download token: `token.{id}`. What makes a token good is never stored, only its hash.

use crate::{ByteRange, FileId, Sha256Digest, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use uuid::Uuid;

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

/// A download began, and counted, as said before there were claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRedeemedV1 {
    /// From where.
    pub ip_address: IpAddr,
    /// With what, as it calls itself; 256 bytes at most.
    pub user_agent: Option<String>,
}

/// A claim on a download was opened. Appended before the first byte of its first answer; at most as many as the token is
/// good for. It counts when the file was delivered ([`DownloadTokenServedV1`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRedeemedV2 {
    /// From where.
    pub ip_address: IpAddr,
    /// With what, as it calls itself; 256 bytes at most.
    pub user_agent: Option<String>,
    /// The first request; nil where it counted at once, as in version 1.
    pub request: Uuid,
    /// The range of the file that the answer may send.
    pub range: ByteRange,
    /// Bytes of the file.
    pub size_bytes: u64,
}

impl From<DownloadTokenRedeemedV1> for DownloadTokenRedeemedV2 {
    fn from(old: DownloadTokenRedeemedV1) -> Self {
        Self {
            ip_address: old.ip_address,
            user_agent: old.user_agent,
            request: Uuid::nil(),
            range: ByteRange { from: 0, to: 0 },
            size_bytes: 0,
        }
    }
}

/// Another request continues a claim. Appended before the first byte of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenContinuedV1 {
    /// The number of the token's claim, from 0.
    pub claim: u32,
    /// From where.
    pub ip_address: IpAddr,
    /// With what, as it calls itself; 256 bytes at most.
    pub user_agent: Option<String>,
    /// The request.
    pub request: Uuid,
    /// The range of the file that the answer may send.
    pub range: ByteRange,
}

/// The answer to a request has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenServedV1 {
    /// The number of the token's claim, from 0.
    pub claim: u32,
    /// The request.
    pub request: Uuid,
    /// The range that was sent.
    pub sent: ByteRange,
    /// Whether this answer completed the delivery of the file. Then the claim counts.
    pub is_delivered: bool,
}

/// The token ended long ago, and its row goes; what was done with it stays in the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenExpiredV1 {}

/// The token is good for nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRevokedV1 {}
