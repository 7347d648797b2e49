//! All routes of the gateway, and the OpenAPI document that is generated from them. Both use one list, so that every
//! route has a description and every description has a route.

use crate::direct::{native, uppy};
use crate::resumable::documented as tus;
use crate::{
    associations, audit, audit_export, content, directory, files, json, quota, resumable, sessions, tokens, uploads,
};
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::str::FromStr;
use utoipa::{IntoParams, OpenApi, ToSchema};
use uuid::Uuid;
use waybill_service_kit::problem::ProblemDetails;
use waybill_service_kit::{Problem, health};

macro_rules! operations {
    ($($($part:ident)::+),+ $(,)?) => {
        fn register(config: &mut web::ServiceConfig) {
            $(config.service($($part)::+);)+
        }

        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "Waybill",
                description = "Resumable uploads of files, and access to them. Errors are `application/problem+json` \
                               (RFC 9457) with a stable `code`.",
            ),
            paths($($($part)::+),+, tus::create, tus::look, tus::append, tus::terminate, tus::capabilities),
            components(schemas(ProblemDetails)),
        )]
        struct Operations;
    };
}

operations!(
    sessions::open,
    sessions::show,
    sessions::close,
    sessions::cancel,
    uploads::start::start,
    uploads::status::show,
    uploads::end::cancel,
    uploads::end::complete,
    uploads::chunk::put_chunk,
    uploads::whole::post_file,
    native::sign,
    native::report,
    files::list,
    files::show,
    files::patch,
    files::delete,
    files::restore,
    content::get,
    content::head,
    associations::create,
    associations::list,
    associations::patch,
    associations::revoke,
    tokens::issue,
    tokens::list,
    tokens::revoke,
    tokens::download,
    quota::show,
    audit::list,
    audit_export::export,
    audit_export::key,
    directory::put_company,
    directory::show_company,
    directory::close_company,
    quota::set,
    directory::bulk,
    directory::register_user,
    directory::remove_user,
    directory::open_chatroom,
    directory::delete_chatroom,
    directory::add_chatroom_member,
    directory::remove_chatroom_member,
    directory::open_thread,
    directory::delete_thread,
    directory::add_thread_member,
    directory::remove_thread_member,
    files::delete_by_host,
    directory::revoke_association,
    uppy::create,
    uppy::list,
    uppy::abort,
    uppy::complete,
    uppy::sign_part,
    uppy::params,
    uppy::sign,
    show_api,
);

/// Paths that need no access token.
const OPEN: [&str; 6] = ["/d/{token}", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/progress"];

/// Registers all routes of the gateway.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    json::configure(config);
    resumable::configure(config);
    register(config);
}

/// The OpenAPI document, and the methods that each path supports.
pub(crate) struct Api {
    text: String,
    paths: Vec<(actix_web::dev::ResourceDef, Vec<Method>)>,
}

impl Api {
    /// Describes the gateway's own operations and `others`, which other services serve on the same address.
    pub(crate) fn new(others: impl IntoIterator<Item = utoipa::openapi::OpenApi>) -> Self {
        let whole =
            others.into_iter().chain([health::api()]).fold(Operations::openapi(), utoipa::openapi::OpenApi::merge_from);
        let mut document = serde_json::to_value(&whole).unwrap_or_default();
        let (mut paths, mut names) = (Vec::new(), BTreeSet::new());
        for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
            let mut methods = Vec::new();
            for (method, operation) in operations.as_object_mut().into_iter().flatten() {
                complete(path, method, operation);
                // One handler may serve several methods, which must not have the same operation id.
                let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
                if !names.insert(name.clone()) {
                    operation["operationId"] = format!("{name}_by_{method}").into();
                }
                methods.extend(Method::from_str(&method.to_ascii_uppercase()));
            }
            paths.push((actix_web::dev::ResourceDef::new(path.as_str()), methods));
        }
        let scheme = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
        document["components"]["securitySchemes"] = json!({ "token": scheme });
        Self { text: document.to_string(), paths }
    }

    fn methods_of(&self, path: &str) -> Option<&[Method]> {
        self.paths.iter().find(|(resource, _)| resource.is_match(path)).map(|(_, methods)| methods.as_slice())
    }
}

/// Returns the answer to `GET /openapi.json` of a gateway that serves `others` on the same address.
pub fn openapi(others: impl IntoIterator<Item = utoipa::openapi::OpenApi>) -> String {
    Api::new(others).text
}

/// Completes the description of an operation with the parts that all operations of its kind have: security, common
/// error responses and headers.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let needs_token = !OPEN.contains(&path) && method != "options";
    if needs_token {
        operation["security"] = json!([{ "token": [] }]);
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
        (403, needs_token, "`not_registered`, `role_required`, `not_permitted`"),
        (404, has_path, "`not_found`: the object does not exist, or it belongs to somebody else"),
        (408, has_body, "`body_too_slow`, `body_incomplete`"),
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
    responses((status = 200, description = "The document, in OpenAPI 3.1", body = Value)),
)]
#[get("/openapi.json")]
pub(crate) async fn show_api(api: web::Data<Api>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(api.text.clone())
}

/// Answers requests for which there is no route: 405 with the supported methods (RFC 9110 §15.5.6) if the path has a
/// route for other methods, and 404 otherwise.
pub(crate) async fn unmatched(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    let Some(methods) = api.methods_of(request.path()) else {
        return HttpResponse::from_error(Problem::not_found("route"));
    };
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allowed = allowed.join(", ");
    let problem = Problem::new(405, "method_not_allowed", format!("this URL supports only {allowed}"));
    let mut answer = HttpResponse::from_error(problem);
    if let Ok(value) = allowed.parse() {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct Bytes(Vec<u8>);

/// Visibility of an association: `PUBLIC` for all users of the company, `PRIVATE` for the members of the chatroom or
/// thread, `RESTRICTED` only for the members that `permissions.users` names.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) enum AccessType {
    Public,
    Private,
    Restricted,
}

/// A permission: `view` the file's description, `download` its bytes and issue download tokens, `share` it with other
/// places, or `manage` the association.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) enum Grant {
    View,
    Download,
    Share,
    Manage,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct CompanyPath {
    company: Uuid,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct IdempotencyKey {
    /// 1 to 255 bytes. A repeated request with the same key takes effect only once within 24 hours.
    #[param(rename = "Idempotency-Key", max_length = 255)]
    idempotency_key: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct MinPosition {
    /// Value of a `Waybill-Position` header from an earlier response. This response includes the change at that
    /// position.
    #[param(rename = "Waybill-Min-Position")]
    min_position: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct RangeHeaders {
    /// A single range of bytes (RFC 9110 §14.2). Several ranges are ignored.
    #[param(rename = "Range")]
    range: Option<String>,
    /// An `ETag`. If it is not the current one, `Range` is ignored and all bytes are sent.
    #[param(rename = "If-Range")]
    if_range: Option<String>,
    /// `ETag`s that the client has. If one of them is current, the answer is 304.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_how_it_refuses() {
        let api = Api::new([]);
        let document: Value = serde_json::from_str(&api.text).unwrap();
        let mut names = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                assert!(names.insert(name.clone()), "{name} is not unique");
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.contains_key("429") && responses.contains_key("503"), "{method} {path}");
                assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            }
        }
        assert!(names.len() > 55, "{}", names.len());
        assert_eq!(api.methods_of("/v1/quota").unwrap(), [Method::GET]);
        assert!(api.methods_of("/v1/nothing").is_none());
    }
}
