//! The OpenAPI document of the gateway, and what the middleware reads from it.

use crate::http::download::includes_etag;
use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, get, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use utoipa::openapi::OpenApi;
use waybill_http_kit::{Problem, health};
use waybill_schema::ErrorCode;

/// Extension of a description: the path contains the `text` of a download token, or its `id`, or a `header` has the path.
const TOKEN_IN_PATH: &str = "x-waybill-token-in-path";

/// Extension of a description: the points of a request.
const POINTS: &str = "x-waybill-points";

/// Points of a request whose description does not declare them.
const POINTS_OF_READS: u32 = 1;
const POINTS_OF_COMMANDS: u32 = 5;

/// Tags of the operations that describe uploads.
const TAGS_OF_UPLOADS: [&str; 4] = ["uploads", "parts", "uppy", "resumable uploads"];
/// Caching of the document, which is the same for everybody until Waybill is updated.
const API_CACHED: &str = "public, max-age=300";

/// The OpenAPI document, and what the middleware reads from it.
pub(crate) struct Api {
    pub(crate) text: Bytes,
    /// Entity tag of the text: a digest of it, in quotes.
    etag: String,
    paths: Vec<(ResourceDef, Vec<Method>)>,
    properties: HashMap<String, RouteProperties>,
    /// Beginnings of the paths that contain the text of a token.
    secret_prefixes: Vec<String>,
}

/// Properties of a route that the middleware needs. The description of the route declares them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteProperties {
    /// `true` if an operation of the path needs an access token: its description does not have `security(())`.
    pub(crate) needs_token: bool,
    /// `true` if the body of a request contains the bytes of a file, not JSON: the description has a body with the
    /// media type `application/octet-stream` or `application/offset+octet-stream`.
    pub(crate) takes_bytes: bool,
    /// Download token in the path, which guesses can target.
    pub(crate) token_in_path: TokenInPath,
    /// `true` if the requests describe uploads: the description has the tag of a kind of uploads.
    pub(crate) is_upload: bool,
    /// `true` if the clients are those of Uppy: the description has the tag `uppy`.
    pub(crate) is_for_uppy: bool,
    /// Points of `GET` and `HEAD`, if the description declares them (`x-waybill-points`).
    pub(crate) points_of_reads: Option<u32>,
    /// Points of the other methods, if the description declares them.
    pub(crate) points_of_commands: Option<u32>,
}

/// Download token in the path of a route (`x-waybill-token-in-path`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TokenInPath {
    #[default]
    None,
    /// The id of a token, which is not secret.
    Id,
    /// The text of a token, which is a secret and needs no further credentials.
    Text,
    /// Not in this path but in a header, which has the path of another request.
    InHeader,
}

impl RouteProperties {
    /// Returns the points that a request with this method costs.
    pub(crate) fn points(self, method: &Method) -> u32 {
        match *method {
            Method::GET | Method::HEAD => self.points_of_reads.unwrap_or(POINTS_OF_READS),
            Method::OPTIONS => POINTS_OF_READS,
            _ => self.points_of_commands.unwrap_or(POINTS_OF_COMMANDS),
        }
    }

    /// Adds what the description of one operation of the path declares, and removes the extensions from it.
    fn read(&mut self, method: &str, operation: &mut Value) {
        self.needs_token |= operation["security"] != json!([{}]);
        let bodies = operation["requestBody"]["content"].as_object();
        self.takes_bytes |= bodies.is_some_and(|bodies| bodies.keys().any(|kind| kind.ends_with("octet-stream")));
        for tag in operation["tags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.is_for_uppy |= tag == "uppy";
            self.is_upload |= TAGS_OF_UPLOADS.contains(&tag);
        }
        let mut extension = |name| operation.as_object_mut().and_then(|operation| operation.remove(name));
        match extension(TOKEN_IN_PATH).as_ref().and_then(Value::as_str) {
            Some("text") => self.token_in_path = TokenInPath::Text,
            Some("id") => self.token_in_path = TokenInPath::Id,
            Some("header") => self.token_in_path = TokenInPath::InHeader,
            _ => {}
        }
        if let Some(points) = extension(POINTS).and_then(|points| u32::try_from(points.as_u64()?).ok()) {
            let is_read = matches!(method, "get" | "head");
            *if is_read { &mut self.points_of_reads } else { &mut self.points_of_commands } = Some(points);
        }
    }
}

impl Api {
    /// Joins the descriptions of the gateway's own operations, of the health checks, and of `others`.
    pub(crate) fn new(own: OpenApi, others: impl IntoIterator<Item = OpenApi>) -> Self {
        let whole = others.into_iter().chain([health::api()]).fold(own, OpenApi::merge_from);
        let mut document = serde_json::to_value(&whole).unwrap_or_default();
        let (mut paths, mut names, mut properties) = (Vec::new(), BTreeSet::new(), HashMap::new());
        for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
            let mut methods = Vec::new();
            let of_path: &mut RouteProperties = properties.entry(key(path).to_owned()).or_default();
            for (method, operation) in operations.as_object_mut().into_iter().flatten() {
                of_path.read(method, operation);
                complete(path, method, operation);
                // One handler may serve several methods, which must not have the same operation id.
                let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
                if !names.insert(name.clone()) {
                    operation["operationId"] = format!("{name}_by_{method}").into();
                }
                methods.extend(Method::from_str(&method.to_ascii_uppercase()));
            }
            paths.push((ResourceDef::new(path.as_str()), methods));
        }
        let scheme = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
        document["components"]["securitySchemes"] = json!({ "token": scheme });
        let secret = properties.iter().filter(|(_, route)| route.token_in_path == TokenInPath::Text);
        let prefix = |(path, _): (&String, _)| path.split('{').next().unwrap_or_default().to_owned();
        let secret_prefixes = secret.map(prefix).collect();
        let text = Bytes::from(document.to_string());
        let etag = format!("\"{}\"", BASE64URL.encode(Sha256::digest(&text)));
        Self { text, etag, paths, properties, secret_prefixes }
    }

    /// Returns the methods of a path; `None` if no route has this path.
    pub(crate) fn methods_of(&self, path: &str) -> Option<&[Method]> {
        self.paths.iter().find(|(resource, _)| resource.is_match(path)).map(|(_, methods)| methods.as_slice())
    }

    /// Returns the beginning of `path` after which it contains a secret; `None` if it contains none. A path that no route
    /// matches can contain one too, for example a link with a slash at its end.
    pub(crate) fn secret_prefix_of(&self, path: &str) -> Option<&str> {
        self.secret_prefixes.iter().map(String::as_str).find(|prefix| path.starts_with(prefix))
    }

    /// Returns the properties of the route with this pattern. A request without a route has no properties.
    pub(crate) fn properties_of(&self, pattern: Option<&str>) -> RouteProperties {
        pattern.and_then(|pattern| self.properties.get(key(pattern))).copied().unwrap_or_default()
    }
}

/// Returns the pattern of a path without a slash at its end, because `/tus` and `/tus/` are the same route.
fn key(pattern: &str) -> &str {
    pattern.trim_end_matches('/')
}

/// Completes the description of an operation with the parts that all operations of its kind have: security, common
/// error responses and headers.
fn complete(path: &str, method: &str, operation: &mut Value) {
    // A description that needs no access token declares `security(())`.
    let needs_token = operation.get("security").is_none();
    if needs_token {
        operation["security"] = json!([{ "token": [] }]);
    } else if let Some(operation) = operation.as_object_mut() {
        operation.remove("security");
    }
    let has = |what: &str| operation.get(what).is_some_and(|value| !value.is_null());
    let (has_body, has_path) = (has("requestBody"), path.contains('{'));
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        // An optional parameter can be missing, but it is never null.
        if let Some(kind) = parameter["schema"]["type"].as_array().and_then(|kinds| kinds.first()).cloned() {
            parameter["schema"]["type"] = kind;
        }
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let common = [
        (400, true, "A header, the query string, the path or the body cannot be read; `code` names it"),
        (401, needs_token, "`token_missing`, `token_invalid`"),
        (403, needs_token, "`not_registered`, `user_required`, `role_required`, `not_permitted`"),
        (404, has_path, "`not_found`: the object does not exist, or it belongs to somebody else"),
        (408, has_body, "`body_too_slow`"),
        (413, has_body, "`json_too_large`"),
        (415, has_body, "`content_type_refused`"),
        (429, true, "`too_many_requests`: try again after `Retry-After`"),
        (503, true, "`unavailable`, `projection_behind`: try again after `Retry-After`"),
    ];
    for (status, applies, description) in common {
        if applies {
            responses.entry(status.to_string()).or_insert_with(|| json!({ "description": description }));
        }
    }
    for (status, response) in responses.iter_mut() {
        if method == "head" {
            // RFC 9110 §9.3.2.
            response.as_object_mut().map(|response| response.remove("content"));
        } else if status.as_str() >= "400" {
            let schema = json!({ "$ref": "#/components/schemas/ProblemDetails" });
            response["content"] = json!({ "application/problem+json": { "schema": schema } });
        }
        let mut headers = Map::new();
        if status.starts_with('2') && !matches!(method, "get" | "head" | "options") && needs_token {
            let description = "Position of the change in the log: an opaque value for `Waybill-Min-Position`";
            let header = json!({ "description": description, "schema": { "type": "string" } });
            headers.insert("Waybill-Position".to_owned(), header);
        }
        if matches!(status.as_str(), "429" | "503") {
            let header =
                json!({ "description": "Number of seconds after which to try again", "schema": { "type": "integer" } });
            headers.insert("Retry-After".to_owned(), header);
        }
        if !headers.is_empty() {
            response["headers"] = headers.into();
        }
    }
}

/// Returns this OpenAPI document
#[utoipa::path(
    tag = "service",
    operation_id = "show_api",
    security(()),
    responses(
        (status = 200, description = "The document, in OpenAPI 3.1", body = Value),
        (status = 304, description = "The copy of the client is current"),
    ),
)]
#[get("/openapi.json")]
pub(crate) async fn show_api(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_current = known.is_some_and(|known| includes_etag(known, &api.etag));
    let mut answer = if is_current { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((ETAG, api.etag.as_str())).insert_header((CACHE_CONTROL, API_CACHED));
    if is_current { answer.finish() } else { answer.content_type("application/json").body(api.text.clone()) }
}

/// Answers requests for which there is no route: 405 with the supported methods (RFC 9110 §15.5.6) if the path has a
/// route for other methods, and 404 otherwise.
pub(crate) async fn unmatched(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    let Some(methods) = api.methods_of(request.path()) else {
        return HttpResponse::from_error(Problem::not_found("route"));
    };
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allowed = allowed.join(", ");
    let problem = Problem::new(405, ErrorCode::MethodNotAllowed, format!("this URL supports only {allowed}"));
    let mut answer = HttpResponse::from_error(problem);
    if let Ok(value) = allowed.parse() {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}
