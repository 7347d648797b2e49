//! Issue of media URLs for many files at once.

use crate::application::access::{denied, viewer};
use crate::application::files::find::{add_deletion, find, is_behind, look};
use crate::application::gateway::Gateway;
use crate::application::media::find::{Form, shown};
use crate::application::media::url::{MediaUrl, at, end};
use crate::application::reads::{record_download, record_preview};
use crate::application::registration::barred;
use crate::application::shown::Shown;
use crate::http::problems::OrProblem;
use crate::http::time::rfc3339;
use actix_web::HttpRequest;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use waybill_access::{Known, Wanted};
use waybill_api::media::{self as api, Disposition, MadeMediaUrl, MediaItem, MediaOutcome, MediaUrlsBody};
use waybill_domain::access::{FileFacts, Operation, Standing};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_read_model::queries::{File, find_files};
use waybill_schema::{ErrorCode, FileId, Timestamp, UploadId};
use waybill_service_kit::now;

/// Maximum number of items of a request.
const ITEMS_MAX: usize = 200;

/// Lifetimes that a client can ask for, in seconds.
const TTL_DEFAULT_S: u32 = 300;
const TTL_MIN_S: u32 = 60;
const TTL_MAX_S: u32 = 3_600;

/// Number of files that are looked up alone at the same time.
const AT_ONCE: usize = 8;

/// Points of each file that is looked up alone.
const POINTS_ALONE: u32 = 1;

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

/// A file that the caller may download, and the facts that permit it.
struct Permitted {
    file: File,
    facts: FileFacts,
}

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
    let (permitted, standing) = asked.permitted(ids.into_iter().collect()).await?;
    let mut made = Vec::with_capacity(items.len());
    let mut views = HashMap::new();
    for item in items {
        let permitted = permitted.get(&UploadId(item.file_id));
        let url = match permitted.unwrap_or(&Err(Problem::not_found("file"))) {
            Ok(permitted) => {
                let of = (item.file_id, item.variant);
                let view = match views.entry(of) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(asked.view(item, permitted).await),
                };
                match view {
                    Ok(view) => asked.url(item, permitted, view, standing),
                    Err(problem) => Err(problem.clone()),
                }
            }
            Err(problem) => Err(problem.clone()),
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
    /// Returns the files, or for each the problem that a download would get.
    async fn permitted(
        &self,
        ids: Vec<FileId>,
    ) -> Result<(HashMap<FileId, Result<Permitted, Problem>>, Standing), Problem> {
        let Self { request, principal, gateway, now, .. } = *self;
        let mut connection = gateway.positions.connection(request, None).await?;
        let files = find_files(&mut connection, principal.company_id, &ids).await.or_problem("finding files")?;
        let every_share = viewer(principal).is_admin;
        let wanted = Wanted { files: ids.clone(), every_share, ..Wanted::default() };
        let Known { files: mut facts, standing, .. } = look(gateway, &mut connection, principal, &wanted).await?;
        drop(connection);
        // The user may have been signed out while the body arrived. Otherwise the URLs would outlive the sign-out.
        standing.check(gateway.registration.is_automatic(), principal.issued_at).map_err(barred)?;
        let mut permitted: HashMap<FileId, Result<Permitted, Problem>> = HashMap::new();
        for mut file in files {
            let id = UploadId(file.id);
            let Some(facts) = facts.remove(&id) else { continue };
            add_deletion(&mut file, &facts);
            if file.is_processed && !is_behind(&file, &facts) {
                let allowed = facts.check(viewer(principal), Operation::Download, now);
                permitted.insert(id, allowed.map(|()| Permitted { file, facts }).map_err(|why| denied(why, "file")));
            }
        }
        // The tables may not have these files yet. The lookup of a single file waits for them.
        let alone: Vec<FileId> = ids.into_iter().filter(|id| !permitted.contains_key(id)).collect();
        gateway.admission.charge(principal, POINTS_ALONE * u32::try_from(alone.len()).unwrap_or(u32::MAX));
        let found = stream::iter(alone).map(|id| async move {
            let found = find(request, principal, id, gateway, Operation::Download).await;
            (id, found.map(|(file, facts)| Permitted { file, facts }))
        });
        permitted.extend(found.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        Ok((permitted, standing))
    }

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

fn details(problem: &Problem) -> Result<waybill_api::ProblemDetails, Problem> {
    serde_json::from_value(problem.to_json()).map_err(|_| Problem::internal())
}
