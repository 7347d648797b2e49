//! Virus scans: the policies of a company, and the verdict about a file.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Policy for virus scans of the files of a company. A later policy is stricter than an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanPolicy {
    /// Files are not scanned, and earlier verdicts do not restrict them.
    #[default]
    Off,
    /// Files are scanned after they can be read. An infected file cannot be read any more.
    Inform,
    /// No file can be read before it was scanned.
    Require,
}

/// Policy for files that could not be scanned completely, if a scan is required. A later policy is stricter than an earlier
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnscannedPolicy {
    /// The file can be read. Its description says that it was not scanned completely.
    Label,
    /// The file cannot be read until an administrator releases it.
    #[default]
    Block,
}

/// The text is not the name of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct UnknownPolicy(&'static str);

impl FromStr for ScanPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let of = [Self::Off, Self::Inform, Self::Require].into_iter().find(|policy| policy.as_str() == text);
        of.ok_or(UnknownPolicy("off, inform or require"))
    }
}

impl FromStr for UnscannedPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let of = [Self::Label, Self::Block].into_iter().find(|policy| policy.as_str() == text);
        of.ok_or(UnknownPolicy("label or block"))
    }
}

impl ScanPolicy {
    /// Returns the name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Inform => "inform",
            Self::Require => "require",
        }
    }
}

impl UnscannedPolicy {
    /// Returns the name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Block => "block",
        }
    }
}

/// Result of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanResult {
    /// The scanner read all bytes and found nothing.
    Clean,
    /// The scanner found something.
    Infected {
        /// Name that the scanner gives to it.
        signature: String,
    },
    /// The scanner could not look at everything. This is never as good as [`ScanResult::Clean`].
    Unscanned {
        /// Reason.
        reason: UnscannedReason,
    },
}

impl ScanResult {
    /// Returns the name of the finding in an infected file.
    pub fn signature(&self) -> Option<&str> {
        match self {
            Self::Infected { signature } => Some(signature),
            Self::Clean | Self::Unscanned { .. } => None,
        }
    }

    /// Returns the reason of an incomplete scan.
    pub fn reason(&self) -> Option<UnscannedReason> {
        match self {
            Self::Unscanned { reason } => Some(*reason),
            Self::Clean | Self::Infected { .. } => None,
        }
    }
}

/// Reason why a scan is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnscannedReason {
    /// The file is larger than the scanner accepts. It was scanned in pieces, in which signatures of whole files and archives
    /// are not found.
    TooLarge,
    /// The file, or a file in it, is encrypted.
    Encrypted,
    /// The file exceeds another limit of the scanner, such as the depth of an archive.
    LimitsExceeded,
    /// The scanner failed again and again with this file.
    Failed,
}

impl UnscannedReason {
    /// Returns the name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Encrypted => "encrypted",
            Self::LimitsExceeded => "limits_exceeded",
            Self::Failed => "failed",
        }
    }
}
