//! Decides which web pages may use Waybill from a browser: pages of its own origin and of configured origins (CORS,
//! Fetch standard §3.3; RFC 6455 §10.2 for WebSockets).

use crate::Proxies;
use actix_cors::Cors;
use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HOST;

/// Time in seconds for which a browser caches a preflight: the maximum that browsers accept.
const MAX_AGE_S: usize = 7_200;

/// Headers of answers that web pages may read.
const ANSWER_HEADERS: [&str; 29] = [
    "Location",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Expires",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Complete",
    "Upload-Incomplete",
    "Upload-Draft-Interop-Version",
    "Tus-Version",
    "Tus-Resumable",
    "Tus-Max-Size",
    "Tus-Extension",
    "Tus-Checksum-Algorithm",
    "Repr-Digest",
    "ETag",
    "Retry-After",
    "Waybill-Position",
    "X-Request-ID",
    "Accept-Patch",
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "WWW-Authenticate",
];

/// The origins whose web pages may use Waybill.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    allowed: Vec<String>,
    proxies: Proxies,
}

impl Origins {
    /// Allows these origins and the origin to which a request was sent. Headers of trusted proxies determine the
    /// latter.
    pub fn new(allowed: Vec<String>, proxies: Proxies) -> Self {
        Self { allowed, proxies }
    }

    /// Returns the CORS middleware. It allows no cookies, because tokens are sent in a header. It allows any request
    /// header, because monitoring tools add their own headers to the requests of a page.
    pub fn cors(&self) -> Cors {
        let cors = Cors::default()
            .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_any_header()
            .expose_headers(ANSWER_HEADERS)
            .block_on_origin_mismatch(false)
            .max_age(MAX_AGE_S);
        self.allowed.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
    }

    /// Returns `true` if a page of `origin` may open a WebSocket with this request. Browsers send no preflight for
    /// WebSockets.
    pub fn allow(&self, request: &HttpRequest, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == origin) || self.is_own(request, origin)
    }

    /// Returns `true` if the page has the origin to which the request was sent. The scheme is only compared if a proxy
    /// reports it.
    fn is_own(&self, request: &HttpRequest, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let (said_host, said_scheme) = self.proxies.origin(request);
        let sent_to = || request.headers().get(HOST)?.to_str().ok().map(str::to_owned);
        let host = said_host.or_else(sent_to);
        let scheme_fits = said_scheme.is_none_or(|said| said.eq_ignore_ascii_case(scheme));
        scheme_fits && host.is_some_and(|host| without_port(scheme, &host) == without_port(scheme, authority))
    }
}

/// Returns the host and port in lower case, without the default port of the scheme.
fn without_port(scheme: &str, authority: &str) -> String {
    let default = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.to_ascii_lowercase();
    authority.strip_suffix(default).map(str::to_owned).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxies::ProxyHeader;
    use actix_web::test::TestRequest;

    fn allows(headers: &[(&str, &str)], origin: &str) -> bool {
        let origins = Origins::new(
            vec!["https://app.example".to_owned()],
            Proxies::new(vec!["10.0.0.0/8".parse().unwrap()], ProxyHeader::XForwardedFor),
        );
        let peer = "10.0.0.1:4000".parse().unwrap();
        let request = TestRequest::default().peer_addr(peer);
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        origins.allow(&request.to_http_request(), origin)
    }

    #[test]
    fn pages_of_the_own_origin_and_of_the_list_are_let_in() {
        for (headers, origin) in [
            (&[("Host", "files.example")][..], "https://files.example"),
            (&[("Host", "files.example:443")], "https://Files.example"),
            (&[("Host", "127.0.0.1:8080")], "http://127.0.0.1:8080"),
            (&[("Host", "backend:8080"), ("X-Forwarded-Host", "files.example:8443")], "https://files.example:8443"),
            (&[("Host", "files.example"), ("X-Forwarded-Proto", "https")], "https://files.example"),
            (&[("Host", "files.example")], "https://app.example"),
        ] {
            assert!(allows(headers, origin), "{headers:?} {origin}");
        }
        for (headers, origin) in [
            (&[("Host", "files.example")][..], "https://evil.example"),
            (&[("Host", "files.example")], "https://files.example.evil.example"),
            (&[("Host", "files.example:8443")], "https://files.example"),
            (&[("Host", "files.example"), ("X-Forwarded-Proto", "https")], "http://files.example"),
            (&[("Host", "files.example"), ("X-Forwarded-Host", "other.example")], "https://files.example"),
            (&[("Host", "null")], "null"),
            (&[], "https://files.example"),
        ] {
            assert!(!allows(headers, origin), "{headers:?} {origin}");
        }
    }

    #[test]
    fn what_others_than_trusted_proxies_say_is_not_believed() {
        let origins =
            Origins::new(Vec::new(), Proxies::new(vec!["10.0.0.0/8".parse().unwrap()], ProxyHeader::XForwardedFor));
        let request = TestRequest::default()
            .peer_addr("203.0.113.7:4000".parse().unwrap())
            .insert_header(("Host", "files.example"))
            .insert_header(("X-Forwarded-Host", "evil.example"));
        assert!(!origins.allow(&request.to_http_request(), "https://evil.example"));
    }
}
