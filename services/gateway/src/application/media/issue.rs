//! Issue of media URLs for many files at once.

use crate::application::access::viewer;
use crate::application::files::permitted::{Downloads, Permitted};
use crate::application::gateway::Gateway;
use crate::application::media::find::{Form, shown};
use crate::application::media::url::{MediaUrl, at, end};
use crate::application::reads::{record_download, record_preview};
use crate::application::shown::Shown;
use crate::http::problems::details;
use crate::http::time::rfc3339;
use actix_web::HttpRequest;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use waybill_api::media::{self as api, Disposition, MadeMediaUrl, MediaItem, MediaOutcome, MediaUrlsBody};
use waybill_domain::access::Standing;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_schema::{ErrorCode, FileId, Timestamp, UploadId};
use waybill_service_kit::now;

/// Maximum number of items of a request.
const ITEMS_MAX: usize = 200;

/// Lifetimes that a client can ask for, in seconds.
const TTL_DEFAULT_S: u32 = 300;
const TTL_MIN_S: u32 = 60;
const TTL_MAX_S: u32 = 3_600;

/// Number of records that are written at the same time.
const AT_ONCE: usize = 8;

/// Types that browsers show without running anything in them. SVG and PDF are not among them, because they can contain programs.
const SHOWN_INLINE: [&str; 17] = [
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/vnd.wave",
    "audio/wav",
    "audio/webm",
    "audio/x-wav",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "video/mp4",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// Request for media URLs of one user.
struct Asked<'a> {
    request: &'a HttpRequest,
    principal: &'a Principal,
    gateway: &'a Gateway,
    ttl_s: u32,
    now: Timestamp,
}

/// Makes a URL for each item that the principal may download.
///
/// # Errors
/// 422 `media_urls_invalid`, and the errors that concern all items. The problem of one item is in its place of the answer.
pub(crate) async fn issue(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    body: MediaUrlsBody,
) -> Result<Vec<MadeMediaUrl>, Problem> {
    let MediaUrlsBody { items, ttl_s } = body;
    let ttl_s = ttl_s.unwrap_or(TTL_DEFAULT_S);
    if items.is_empty() || items.len() > ITEMS_MAX || !(TTL_MIN_S..=TTL_MAX_S).contains(&ttl_s) {
        let text = format!("send 1 to {ITEMS_MAX} items, and a `ttl_s` of {TTL_MIN_S} to {TTL_MAX_S}");
        return Err(Problem::new(422, ErrorCode::MediaUrlsInvalid, text));
    }
    let asked = Asked { request, principal, gateway, ttl_s, now: now() };
    let ids: BTreeSet<FileId> = items.iter().map(|item| UploadId(item.file_id)).collect();
    let ids = ids.into_iter().collect();
    let downloads = Downloads::find(request, principal, gateway, ids, asked.now).await?;
    let mut made = Vec::with_capacity(items.len());
    let mut views = HashMap::new();
    for item in items {
        let url = match downloads.get(UploadId(item.file_id)) {
            Ok(permitted) => {
                let of = (item.file_id, item.variant);
                let view = match views.entry(of) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(asked.view(item, permitted).await),
                };
                match view {
                    Ok(view) => asked.url(item, permitted, view, downloads.standing),
                    Err(problem) => Err(problem.clone()),
                }
            }
            Err(problem) => Err(problem),
        };
        let outcome = match url {
            Ok(url) => MediaOutcome::Made(url),
            // The answer as a whole would have this status if the item were alone.
            Err(problem) => MediaOutcome::Refused { problem: details(&problem)? },
        };
        made.push(MadeMediaUrl { file_id: item.file_id, variant: item.variant, outcome });
    }
    asked.record(&made).await?;
    Ok(made)
}

impl Asked<'_> {
    async fn view(&self, item: MediaItem, Permitted { file, facts }: &Permitted) -> Result<Shown, Problem> {
        let form = Form::For(facts, viewer(self.principal));
        shown(self.gateway, file.clone(), item.variant, form).await
    }

    fn url(
        &self,
        item: MediaItem,
        Permitted { file, facts }: &Permitted,
        shown: &Shown,
        standing: Standing,
    ) -> Result<api::MediaUrl, Problem> {
        let viewer = viewer(self.principal);
        let step_ms = i64::from(self.ttl_s / 2) * 1_000;
        let latest = at(end(self.now, self.ttl_s));
        // The role of an admin ends with the token that asserts it.
        let latest_of_role = if viewer.is_admin { latest.min(self.principal.expires_at) } else { latest };
        let expires = facts.readable_until(viewer, self.now, latest_of_role);
        let refresh = if expires < latest { expires } else { latest.plus_ms(-step_ms) };
        let disposition = disposition(item.disposition, shown);
        let url = MediaUrl {
            company: self.principal.company_id,
            file: UploadId(file.id),
            digest: shown.name(),
            variant: item.variant,
            expires_s: u64::try_from(expires.0 / 1_000).unwrap_or(0),
            ttl_s: self.ttl_s,
            disposition,
            as_admin: viewer.is_admin,
            user: viewer.user_id,
            tokens_valid_from: standing.tokens_valid_from,
        };
        let media = &self.gateway.media;
        let signed = media.keys.sign(&url.text()).ok_or_else(Problem::internal)?;
        Ok(api::MediaUrl {
            url: format!("{}{signed}", media.base),
            disposition,
            expires_at: rfc3339(expires),
            refresh_at: rfc3339(refresh),
        })
    }

    /// Records the URLs as downloads, because their use leaves no record.
    async fn record(&self, made: &[MadeMediaUrl]) -> Result<(), Problem> {
        let Self { request, principal, gateway, .. } = *self;
        let id = RequestId::of(request);
        let made = made.iter().filter(|made| matches!(made.outcome, MediaOutcome::Made(_)));
        let records = made.map(|made| async move {
            match made.variant.preview() {
                None => record_download(gateway, principal, id, UploadId(made.file_id)).await,
                Some(_) => record_preview(gateway, principal, id, UploadId(made.file_id)).await,
            }
        });
        stream::iter(records).buffer_unordered(AT_ONCE).try_collect().await
    }
}

fn disposition(wanted: Disposition, shown: &Shown) -> Disposition {
    let is_safe = SHOWN_INLINE.contains(&shown.mime_type());
    if is_safe { wanted } else { Disposition::Attachment }
}
