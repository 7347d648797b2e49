//! Events of a download token. Subject: `token.{id}`. The secret text of a token is never stored, only its hash.

use crate::{ByteRange, FileId, Sha256Digest, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use uuid::Uuid;

/// A token was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenIssuedV1 {
    /// The file that the token allows to download.
    pub file_id: FileId,
    /// The user that issued the token. The token is valid as long as this user may read the file.
    pub user_id: UserId,
    /// `true` if the user issued the token as an admin of the company. Admins may read all files of their company. This right
    /// ends if the tokens of the user are invalidated later.
    pub as_admin: bool,
    /// SHA-256 of the text of the token.
    pub token_sha256: Sha256Digest,
    /// Time at which the token expires.
    pub expires_at: Timestamp,
    /// Maximum number of downloads. `None` means no limit.
    pub max_downloads: Option<u32>,
}

/// A download began and was counted. Version 1 is older than claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRedeemedV1 {
    /// Address of the client.
    pub ip_address: IpAddr,
    /// `User-Agent` of the client, at most 256 bytes.
    pub user_agent: Option<String>,
}

/// A claim on a download was opened. The event is appended before the first byte of the first response. A token has at
/// most as many claims as it allows downloads. The claim counts after the file was delivered
/// ([`DownloadTokenServedV1`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRedeemedV2 {
    /// Address of the client.
    pub ip_address: IpAddr,
    /// `User-Agent` of the client, at most 256 bytes.
    pub user_agent: Option<String>,
    /// Id of the first request. It is nil if the download counted immediately, as in version 1.
    pub request: Uuid,
    /// Range of the file that the response may send.
    pub range: ByteRange,
    /// Size of the file in bytes.
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

/// Another request continues a claim. The event is appended before the first byte of the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenContinuedV1 {
    /// Number of the claim within the token. The first is 0.
    pub claim: u32,
    /// Address of the client.
    pub ip_address: IpAddr,
    /// `User-Agent` of the client, at most 256 bytes.
    pub user_agent: Option<String>,
    /// Id of the request.
    pub request: Uuid,
    /// Range of the file that the response may send.
    pub range: ByteRange,
}

/// The response to a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenServedV1 {
    /// Number of the claim within the token. The first is 0.
    pub claim: u32,
    /// Id of the request.
    pub request: Uuid,
    /// The range that was sent.
    pub sent: ByteRange,
    /// `true` if this response completed the delivery of the file. The claim counts then.
    pub is_delivered: bool,
}

/// The token ended long ago, and its row is removed from the read model. Its events remain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenExpiredV1 {}

/// The token was revoked and is no longer valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadTokenRevokedV1 {}

aggregate_events! {
    /// Events of a download token.
    TokenEvent of Token {
        DownloadTokenIssued, 1 => DownloadTokenIssuedV1;
        DownloadTokenRedeemed, 2 => DownloadTokenRedeemedV2, before: 1 => DownloadTokenRedeemedV1;
        DownloadTokenContinued, 1 => DownloadTokenContinuedV1;
        DownloadTokenServed, 1 => DownloadTokenServedV1;
        DownloadTokenRevoked, 1 => DownloadTokenRevokedV1;
        DownloadTokenExpired, 1 => DownloadTokenExpiredV1;
    }
}
