//! The bytes of a media URL, and whether they may still be sent.

use crate::application::gateway::Gateway;
use crate::application::media::url::MediaUrl;
use crate::application::plain::{form_for, form_of};
use crate::application::rows::find_file;
use crate::application::shown::{Original, Plain, Shown};
use crate::application::variants::variant_of;
use crate::http::download::{check_readable, check_restored};
use crate::http::problems::OrProblem;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use waybill_access::{Credential, Transfer};
use waybill_api::media::MediaVariant;
use waybill_domain::access::{FileFacts, Viewer};
use waybill_http_kit::Problem;
use waybill_read_model::queries::File;
use waybill_schema::{ErrorCode, Sha256Digest, Timestamp};

/// Returns the problem of a URL whose time or access has ended.
pub(crate) fn ended() -> Problem {
    let text = "the media URL has expired, or its access has ended; ask for a new one with POST /v1/media-urls";
    Problem::new(410, ErrorCode::MediaUrlEnded, text)
}

/// Checks the signature and the time of a path with a query.
///
/// # Errors
/// 403 `media_url_invalid`, 410 `media_url_ended`.
pub(crate) fn check(gateway: &Gateway, url: &str, now: Timestamp) -> Result<MediaUrl, Problem> {
    let url = gateway.media.keys.check(url).and_then(MediaUrl::parse).ok_or_else(|| {
        let text = "the media URL was changed, or its key is no longer valid; use URLs as they were issued";
        Problem::new(403, ErrorCode::MediaUrlInvalid, text)
    })?;
    if url.left_s(now).is_none() { Err(ended()) } else { Ok(url) }
}

/// Returns a permission to send the bytes of a URL.
///
/// # Errors
/// 410 `media_url_ended` if the access has ended, or 503 if that cannot be decided.
pub(crate) async fn permit(gateway: &Gateway, url: &MediaUrl, now: Timestamp) -> Result<Transfer, Problem> {
    let viewer = viewer_of(url);
    let (since, until) = (url.since(), url.until());
    let credential = Credential::SignedUrl { since, until, tokens_valid_from: url.tokens_valid_from };
    let key = (url.company, rights_key(url));
    let known = gateway.media.rights.get(&key);
    let known = known.map(|rights| (*rights).clone());
    let access = gateway.access.clone();
    let mut transfer = Transfer::of_signed_url(access, url.company, viewer, url.file, credential, known);
    if !transfer.check(now).await.or_problem("checking access")? {
        return Err(ended());
    }
    if let Some(rights) = transfer.rights().filter(|_| transfer.has_looked()) {
        gateway.media.rights.insert(&key, rights.clone());
    }
    Ok(transfer)
}

fn viewer_of(url: &MediaUrl) -> Viewer {
    Viewer { user_id: url.user, is_admin: url.as_admin }
}

fn rights_key(url: &MediaUrl) -> Sha256Digest {
    Sha256Digest(Sha256::new().chain_update(url.user.0).chain_update(url.file.0).finalize().into())
}

/// Finds the bytes of a URL. `facts` are those on which the permission rests; `None` if it rests on the signature.
///
/// # Errors
/// 410 `media_url_ended` if these bytes are not those of the file, and the errors of reading a file.
pub(crate) async fn find(gateway: &Gateway, url: &MediaUrl, facts: Option<&FileFacts>) -> Result<Arc<Shown>, Problem> {
    let key = (url.company, Sha256Digest(Sha256::digest(url.path()).into()));
    // After the company has begun to remove locations, a URL of the original may show one.
    let needs_plain = facts.is_some_and(|facts| !facts.gives_original(Some(viewer_of(url))));
    if let Some(shown) = gateway.media.shown.get(&key).filter(|shown| !needs_plain || shown.is_for_others()) {
        return Ok(shown);
    }
    let file = find_file(gateway, &mut gateway.positions.reading_primary(), url.company, url.file).await?;
    let form = facts.map_or(Form::WithDigest(&url.digest), |facts| Form::For(facts, viewer_of(url)));
    let shown = shown(gateway, file.ok_or_else(ended)?, url.variant, form).await?;
    if shown.name() != url.digest {
        return Err(ended());
    }
    let shown = Arc::new(shown);
    gateway.media.shown.insert(&key, shown.clone());
    Ok(shown)
}

/// Form of a picture that is shown: with its metadata or without.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// The one for this viewer.
    For(&'a FileFacts, Viewer),
    /// The one whose SHA-256 begins with these digits.
    WithDigest(&'a str),
}

/// Returns what is shown of a file.
///
/// # Errors
/// The problem of reading the file.
pub(super) async fn shown(
    gateway: &Gateway,
    file: File,
    variant: MediaVariant,
    form: Form<'_>,
) -> Result<Shown, Problem> {
    check_readable(&file)?;
    if let Some(preview) = variant.preview() {
        return variant_of(&file, Some(preview)).map(Shown::Preview);
    }
    check_restored(&file)?;
    let plain = match form {
        Form::For(facts, viewer) => form_for(gateway, &file, facts, Some(viewer)).await?,
        Form::WithDigest(digest) => form_of(&file)?.filter(|plain| begins_with(&plain.described, digest)),
    };
    let plain = plain.map(Plain::without_details);
    let is_for_others = match form {
        Form::For(facts, viewer) => !facts.gives_original(Some(viewer)),
        Form::WithDigest(_) => plain.is_some(),
    };
    Ok(Shown::Original(Box::new(Original { file: file.without_details(), plain, is_for_others })))
}

fn begins_with(file: &File, digest: &str) -> bool {
    file.hash.as_deref().is_some_and(|hash| hash.starts_with(digest))
}
