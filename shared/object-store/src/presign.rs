//! Presigned URLs, with which a client sends one request directly to the store: AWS Signature Version 4 in the query
//! (S3 API reference, "Authenticating Requests: Using Query Parameters").

use crate::StoreError;
use crate::s3::{S3Config, causes, http_client, time_left};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::{Duration, UNIX_EPOCH};
use waybill_service_kit::now;

/// Percent-encodes everything except the unreserved characters of RFC 3986 §2.3.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presign<'a> {
    /// Uploads a part, with exactly these headers and this length.
    UploadPart {
        /// The store's id of the multipart upload.
        upload_id: &'a str,
        /// Part number, from 1.
        part_number: u32,
        /// The required length in bytes, if only that is known.
        size_bytes: Option<u64>,
        /// The required length and checksum; `None` allows any bytes.
        pinned: Option<Pinned>,
    },
    /// Reads an object. The answer has these headers.
    GetObject {
        /// `Content-Type`.
        content_type: &'a str,
        /// `Content-Disposition`.
        content_disposition: &'a str,
    },
    /// Writes a whole object.
    PutObject {
        /// Size in bytes, if known.
        size_bytes: Option<u64>,
    },
    /// Creates a multipart upload.
    CreateMultipart,
    /// Lists the parts of a multipart upload.
    ListParts {
        /// The store's id of the multipart upload.
        upload_id: &'a str,
    },
    /// Completes a multipart upload.
    CompleteMultipart {
        /// The store's id of the multipart upload.
        upload_id: &'a str,
    },
    /// Aborts a multipart upload.
    AbortMultipart {
        /// The store's id of the multipart upload.
        upload_id: &'a str,
    },
}

/// Length and checksum that a part must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Length in bytes.
    pub size_bytes: u64,
    /// The header that carries the checksum, such as `x-amz-checksum-sha256`.
    pub checksum_header: &'static str,
    /// The checksum in base64.
    pub checksum: String,
}

/// A signed request for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presigned {
    /// The method.
    pub method: &'static str,
    /// The URL. It is a secret, because anyone who has it can send the request. It must not be logged.
    pub url: String,
    /// Headers that the request must have, in addition to `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// Time for which the URL is valid.
    pub lifetime: Duration,
}

/// Signs requests for clients, with the address at which clients reach the store.
#[derive(Clone)]
pub struct Presigner {
    base: String,
    is_reachable: bool,
    region: String,
    credentials: SharedCredentialsProvider,
}

impl Presigner {
    /// Creates a signer for the bucket of `config`. Clients reach the store at `public_endpoint`, or at the endpoint of
    /// `config` if it is `None`.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub fn new(config: &S3Config, public_endpoint: Option<&str>) -> Self {
        let S3Config { bucket, region, .. } = config;
        let base = match public_endpoint.or(config.endpoint.as_deref()) {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        };
        let host =
            config.endpoint.as_deref().and_then(|endpoint| endpoint.split(['/', ':']).nth(3)).unwrap_or_default();
        let is_name_of_our_network = !host.is_empty() && !host.contains(['.', '[']) && host != "localhost";
        let is_reachable = public_endpoint.is_some() || !is_name_of_our_network;
        let credentials = config.credentials.provider(region, http_client());
        Self { base, is_reachable, region: region.clone(), credentials }
    }

    /// Returns `false` if clients probably cannot reach the store: its host is a name without a dot, such as `store`,
    /// which only resolves in a container network.
    pub fn is_reachable(&self) -> bool {
        self.is_reachable
    }

    /// Signs one request for `key`. The URL is valid for `lifetime`, but not longer than temporary credentials.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there are no credentials or the request cannot be signed.
    pub async fn presign(&self, key: &str, request: &Presign<'_>, lifetime: Duration) -> Result<Presigned, StoreError> {
        let failed = |reason: String| StoreError::Unavailable { operation: "signing a request", reason };
        let (method, query) = line(request);
        let (length, headers) = headers(request);
        let query: Vec<String> =
            query.into_iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, QUERY))).collect();
        let url = format!("{}/{key}?{}", self.base, query.join("&"));
        let credentials = self.credentials.provide_credentials().await;
        let credentials = credentials.map_err(|error| failed(causes(&error)))?;
        let lifetime = lifetime.min(time_left(&credentials));
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(lifetime);
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(UNIX_EPOCH + Duration::from_millis(u64::try_from(now().0).unwrap_or_default()))
            .settings(settings)
            .build()
            .map_err(|error| failed(error.to_string()))?
            .into();
        let signed_headers = length.iter().chain(&headers).map(|(name, value)| (*name, value.as_str()));
        let signable = SignableRequest::new(method, &url, signed_headers, SignableBody::UnsignedPayload)
            .map_err(|error| failed(error.to_string()))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| failed(error.to_string()))?.into_parts();
        let signature: Vec<String> = instructions
            .params()
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)))
            .collect();
        let joint = if query.is_empty() { "" } else { "&" };
        Ok(Presigned { method, url: format!("{url}{joint}{}", signature.join("&")), headers, lifetime })
    }
}

/// Returns the method and the query of a request.
fn line(request: &Presign<'_>) -> (&'static str, Vec<(&'static str, String)>) {
    let of = |upload_id: &str| ("uploadId", upload_id.to_owned());
    match request {
        Presign::UploadPart { upload_id, part_number, .. } => {
            ("PUT", vec![("partNumber", part_number.to_string()), of(upload_id)])
        }
        Presign::GetObject { content_type, content_disposition } => (
            "GET",
            vec![
                ("response-content-type", (*content_type).to_owned()),
                ("response-content-disposition", (*content_disposition).to_owned()),
                ("response-cache-control", "private, no-store".to_owned()),
            ],
        ),
        Presign::PutObject { .. } => ("PUT", Vec::new()),
        Presign::CreateMultipart => ("POST", vec![("uploads", String::new())]),
        Presign::ListParts { upload_id } => ("GET", vec![of(upload_id)]),
        Presign::CompleteMultipart { upload_id } => ("POST", vec![of(upload_id)]),
        Presign::AbortMultipart { upload_id } => ("DELETE", vec![of(upload_id)]),
    }
}

type Headers = Vec<(&'static str, String)>;

/// Returns the signed headers: `content-length`, which every HTTP client sends anyway, and those that the client must
/// set.
fn headers(request: &Presign<'_>) -> (Headers, Headers) {
    let length = |bytes: u64| vec![("content-length", bytes.to_string())];
    match request {
        Presign::UploadPart { pinned: Some(pinned), .. } => {
            (length(pinned.size_bytes), vec![(pinned.checksum_header, pinned.checksum.clone())])
        }
        Presign::UploadPart { size_bytes: Some(size_bytes), .. }
        | Presign::PutObject { size_bytes: Some(size_bytes) } => (length(*size_bytes), Vec::new()),
        _ => (Vec::new(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::Presigner;
    use crate::s3::{Encryption, S3Config, StoreCredentials};

    #[tokio::test]
    async fn compose_16_a_name_without_a_dot_is_not_for_clients() {
        let is_reachable = |endpoint: Option<&str>, public: Option<&str>| {
            let config = S3Config {
                endpoint: endpoint.map(str::to_owned),
                region: "us-east-1".to_owned(),
                bucket: "waybill".to_owned(),
                credentials: StoreCredentials::Environment,
                encryption: Encryption::AsTheBucket,
                storage_class: None,
            };
            Presigner::new(&config, public).is_reachable()
        };
        assert!(!is_reachable(Some("http://store:8333"), None));
        assert!(is_reachable(Some("http://store:8333"), Some("https://files.example")));
        for endpoint in ["http://127.0.0.1:8333", "http://localhost:8333", "https://s3.example/", "http://[::1]:9000"] {
            assert!(is_reachable(Some(endpoint), None), "{endpoint}");
        }
        assert!(is_reachable(None, None), "the endpoint of Amazon");
    }
}
