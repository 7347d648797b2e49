//! Ids in the paths of routes. A handler receives them parsed: an invalid id in `{id}` gets the same 404 as an unknown
//! one.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use std::future::{Ready, ready};
use std::str::FromStr;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;
use waybill_schema::{FileId, LinkId, SessionId, ShareId, TokenId, UploadId, Variant};

/// Returns the value of a segment of the path; an empty text if the route has no such segment.
fn segment<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.match_info().get(name).unwrap_or_default()
}

macro_rules! existing_ids {
    ($($(#[doc = $doc:literal])* $name:ident($id:ty) => $what:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(crate) $id);

        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                let id = segment(request, "id").parse().map(Self);
                ready(id.map_err(|_| Problem::not_found($what)))
            }
        }
    )*};
}

existing_ids! {
    /// Id of an upload in `{id}`.
    UploadPath(UploadId) => "upload";
    /// Id of a file in `{id}`.
    FilePath(FileId) => "file";
    /// Id of an upload link in `{id}`.
    LinkPath(LinkId) => "upload link";
    /// Id of a session in `{id}`.
    SessionPath(SessionId) => "session";
    /// Id of an association in `{id}`.
    AssociationPath(ShareId) => "association";
    /// Id of a download token in `{id}`.
    TokenPath(TokenId) => "token";
}

/// File in `{id}` and kind of preview in `{variant}`.
#[derive(Clone, Copy)]
pub(crate) struct VariantPath {
    pub(crate) file: FileId,
    /// `None` if there is no such kind.
    pub(crate) variant: Option<Variant>,
}

impl FromRequest for VariantPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let variant = segment(request, "variant").parse().ok();
        let file = segment(request, "id").parse().map(|file| Self { file, variant });
        ready(file.map_err(|_| Problem::not_found("file")))
    }
}

/// Upload in `{id}` and chunk in `{index}`.
#[derive(Clone, Copy)]
pub(crate) struct ChunkPath {
    pub(crate) upload: UploadId,
    /// Index of the chunk, from 0; `None` if the segment is not a number.
    pub(crate) index: Option<u32>,
}

impl FromRequest for ChunkPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let index = segment(request, "index").parse().ok();
        ready(parse_upload(segment(request, "id")).map(|upload| Self { upload, index }))
    }
}

/// Parses the id of an upload in a URL.
///
/// # Errors
/// 404 `not_found`.
pub(crate) fn parse_upload(text: &str) -> Result<UploadId, Problem> {
    text.parse().map_err(|_| Problem::not_found("upload"))
}

/// Id in `{id}` that the caller registers. An invalid one is an error of the caller, not a missing object.
pub(crate) struct NewId<T>(pub(crate) T);

/// Id of a user in `{user}` who becomes or was a member. An invalid one is an error of the caller.
pub(crate) struct NewMember<T>(pub(crate) T);

impl<T: FromStr> FromRequest for NewId<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse_new(segment(request, "id")).map(Self))
    }
}

impl<T: FromStr> FromRequest for NewMember<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse_new(segment(request, "user")).map(Self))
    }
}

fn parse_new<T: FromStr>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|_| Problem::new(422, ErrorCode::IdInvalid, "the ids of users, chatrooms and threads are UUIDs"))
}
