//! All routes of the gateway. Each file registers and describes its routes in one list, `routes!`, and this file lists
//! the files. The description of a route also declares what the middleware must know about a route
//! ([`RouteProperties`](crate::http::openapi::RouteProperties)).

/// Registers and describes the routes of a topic: each route is in one list, so that every route has a description and
/// every description has a route.
macro_rules! routes {
    ($($handler:ident),+ $(,)?) => {
        /// Registers the routes of this file.
        pub(in crate::routes) fn register(config: &mut actix_web::web::ServiceConfig) {
            $(config.service($handler);)+
        }

        /// Descriptions of the routes of this file.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($handler),+))]
        pub(in crate::routes) struct Operations;
    };
}

mod administration;
pub(crate) mod archives;
pub(crate) mod associations;
pub(crate) mod audit;
pub(crate) mod audit_export;
pub(crate) mod content;
pub(crate) mod direct;
pub(crate) mod directory;
pub(crate) mod files;
pub(crate) mod links;
pub(crate) mod media;
pub(crate) mod quota;
pub(crate) mod resumable;
pub(crate) mod sessions;
pub(crate) mod tokens;
pub(crate) mod uploads;
pub(crate) mod variants;

use crate::http::json;
use crate::http::openapi::{self, Api};
use actix_web::web;
use resumable::documented as tus;
use utoipa::OpenApi;
use waybill_api::ProblemDetails;

/// The description of the whole API, and of the routes that no topic has.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Waybill",
        description = "Resumable uploads of files, and access to them. Errors are `application/problem+json` \
                       (RFC 9457) with a stable `code`.",
    ),
    paths(tus::create, tus::look, tus::append, tus::terminate, tus::capabilities, openapi::show_api),
    components(schemas(ProblemDetails))
)]
struct Operations;

macro_rules! topics {
    ($($($topic:ident)::+),+ $(,)?) => {
        fn register(config: &mut web::ServiceConfig) {
            config.service(openapi::show_api);
            $($($topic)::+::register(config);)+
        }

        fn operations() -> utoipa::openapi::OpenApi {
            [$($($topic)::+::Operations::openapi()),+]
                .into_iter()
                .fold(Operations::openapi(), utoipa::openapi::OpenApi::merge_from)
        }
    };
}

topics!(
    sessions,
    uploads::start,
    uploads::status,
    uploads::end,
    uploads::chunk,
    uploads::whole,
    direct::native,
    files::list,
    files::show,
    files::change,
    content,
    variants,
    media,
    archives,
    links,
    associations,
    tokens,
    tokens::company,
    tokens::download,
    quota,
    audit,
    audit_export,
    directory,
    directory::bulk,
    directory::sign_out,
    directory::uploads,
    direct::uppy::multipart,
    direct::uppy::single,
    direct::uppy::sign,
);

/// Registers all routes of the gateway.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    json::configure(config);
    resumable::configure(config);
    register(config);
}

/// Describes the gateway's own operations and `others`, which other services serve on the same address.
pub(crate) fn api(others: impl IntoIterator<Item = utoipa::openapi::OpenApi>) -> Api {
    Api::new(operations(), others)
}

/// Returns the answer to `GET /openapi.json` of a gateway that serves `others` on the same address.
pub fn openapi(others: impl IntoIterator<Item = utoipa::openapi::OpenApi>) -> String {
    String::from_utf8_lossy(&api(others).text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi::TokenInPath;
    use actix_web::http::Method;
    use serde_json::Value;
    use std::collections::BTreeSet;
    use waybill_schema::ErrorCode;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_how_it_refuses() {
        let api = api([]);
        let document: Value = serde_json::from_slice(&api.text).unwrap();
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

    #[test]
    fn only_these_operations_need_no_access_token() {
        let document: Value = serde_json::from_slice(&api([]).text).unwrap();
        let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, operations)| {
            let operations = operations.as_object().unwrap().iter();
            operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        let open = operations.filter(|(_, operation)| operation.get("security").is_none()).map(|(name, _)| name);
        let expected = [
            "get /d/{token}",
            "get /healthz",
            "get /m/{company}/{file}/{digest}/{variant}",
            "get /metrics",
            "get /openapi.json",
            "get /readyz",
            "get /v1/media/check",
            "get /u/{token}",
            "get /z/{token}",
            "head /d/{token}",
            "head /m/{company}/{file}/{digest}/{variant}",
            "head /z/{token}",
            "options /tus/",
        ];
        assert_eq!(open.collect::<BTreeSet<_>>(), expected.map(str::to_owned).into());
    }

    /// Error codes have statuses, and descriptions of routes name codes by status. Both must agree.
    #[test]
    fn descriptions_name_existing_codes_with_their_statuses() {
        let document: Value = serde_json::from_slice(&api([]).text).unwrap();
        let operations = document["paths"].as_object().unwrap().values();
        for operation in operations.flat_map(|operations| operations.as_object().unwrap().values()) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let words = response["description"].as_str().unwrap().split('`').skip(1).step_by(2);
                let snake =
                    |word: &&str| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                for word in words.filter(snake).filter(|_| status.as_str() >= "400") {
                    let name = &operation["operationId"];
                    if word == "upload_status" {
                        continue;
                    }
                    let code: ErrorCode = word.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
                    let of_tus = name.as_str().unwrap().starts_with("tus_") && matches!(status.as_str(), "423" | "460");
                    let is_documented = code.statuses().iter().any(|known| known.to_string() == *status);
                    assert!(is_documented || of_tus, "{name}: {code} with {status}");
                }
            }
        }
    }

    #[test]
    fn descriptions_declare_which_paths_take_bytes_and_name_tokens() {
        let api = api([]);
        for path in ["/v1/files", "/v1/uploads/{id}/chunks/{index}", "/tus", "/tus/{id}"] {
            assert!(api.properties_of(Some(path)).takes_bytes, "{path}");
        }
        for path in ["/v1/uploads", "/v1/files/{id}", "/uppy/s3/multipart/{upload_id}/complete", "/d/{token}"] {
            assert!(!api.properties_of(Some(path)).takes_bytes, "{path}");
        }
        assert_eq!(api.properties_of(Some("/d/{token}")).token_in_path, TokenInPath::Text);
        assert_eq!(api.properties_of(Some("/v1/tokens/{id}")).token_in_path, TokenInPath::Id);
        assert_eq!(api.properties_of(Some("/v1/files/{id}/tokens")).token_in_path, TokenInPath::None);
        assert!(api.properties_of(Some("/uppy/s3/sign")).is_for_uppy);
        for (path, needs_token) in
            [("/openapi.json", false), ("/d/{token}", false), ("/tus", true), ("/v1/files", true)]
        {
            assert_eq!(api.properties_of(Some(path)).needs_token, needs_token, "{path}");
        }
        assert_eq!(api.secret_prefix_of("/d/a-token/"), Some("/d/"));
        assert_eq!(api.secret_prefix_of("/v1/tokens/an-id"), None);
    }
}
