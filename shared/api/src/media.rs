//! Bodies of `POST /v1/media-urls`.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::ProblemDetails;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::Variant;

/// Bytes that a media URL gives access to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum MediaVariant {
    /// The file.
    #[default]
    #[serde(rename = "original")]
    Original,
    /// A picture of at most 256 pixels.
    #[serde(rename = "preview-256")]
    Preview256,
    /// A picture of at most 1,024 pixels.
    #[serde(rename = "preview-1024")]
    Preview1024,
}

impl MediaVariant {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::Original, Self::Preview256, Self::Preview1024];

    /// Returns the name in requests and URLs.
    pub const fn as_str(self) -> &'static str {
        match self.preview() {
            None => "original",
            Some(preview) => preview.as_str(),
        }
    }

    /// Returns the preview; `None` for the file itself.
    pub const fn preview(self) -> Option<Variant> {
        match self {
            Self::Original => None,
            Self::Preview256 => Some(Variant::Preview256),
            Self::Preview1024 => Some(Variant::Preview1024),
        }
    }
}

/// How a browser treats the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// It shows them.
    #[default]
    Inline,
    /// It saves them.
    Attachment,
}

/// Media URLs to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaUrlsBody {
    /// 1 to 200 items.
    pub items: Vec<MediaItem>,
    /// Minimum lifetime in seconds: 60 to 3,600, 300 by default. The lifetime is up to half longer, so that repeated requests get the
    /// same URLs.
    pub ttl_s: Option<u32>,
}

/// Bytes for which a media URL is made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaItem {
    pub file_id: Uuid,
    #[serde(default)]
    pub variant: MediaVariant,
    /// `inline` applies only to pictures, videos and sound that browsers show safely; other files are attachments.
    #[serde(default)]
    pub disposition: Disposition,
}

/// Media URLs, in the order of the items.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MediaUrls {
    pub items: Vec<MadeMediaUrl>,
}

/// Media URL, or the reason why it was not made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MadeMediaUrl {
    pub file_id: Uuid,
    pub variant: MediaVariant,
    #[serde(flatten)]
    pub outcome: MediaOutcome,
}

/// A URL or a problem.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum MediaOutcome {
    Made(MediaUrl),
    Refused {
        /// The problem that a request for the file itself would get.
        problem: ProblemDetails,
    },
}

/// A media URL.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MediaUrl {
    /// URL for `<img>`, `<video>` and `<audio>`. Relative to the address of Waybill, if the operator has set no other one.
    pub url: String,
    /// Effect of the URL. It is `attachment` although `inline` was asked for, if browsers cannot show the file safely.
    pub disposition: Disposition,
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Time from which on a request gets a URL that is valid for longer. Ask for it at a random time between this one and `expires_at`.
    #[schema(format = DateTime)]
    pub refresh_at: String,
}
