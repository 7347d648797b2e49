//! Making of archives: decides which files they have, and writes the manifest.

use crate::application::access::viewer;
use crate::application::archives::checksums::{Wanted, checksums};
use crate::application::archives::manifest::{ArchiveToken, Item, Manifest};
use crate::application::files::permitted::{Downloads, Permitted};
use crate::application::files::places::{PlaceFiles, ids_in_place, ids_in_session};
use crate::application::gateway::Gateway;
use crate::application::media::url::{SKEW_S, at};
use crate::application::plain::form_for;
use crate::application::reads::record_download;
use crate::http::download::{check_readable, check_restored};
use crate::http::problems::{OrProblem, details};
use crate::http::time::rfc3339;
use actix_web::{HttpRequest, web};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;
use std::sync::Arc;
use waybill_api::archives::{ArchiveBody, LeftOut, MadeArchive};
use waybill_domain::name;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_object_store::crc64nvme;
use waybill_schema::{ErrorCode, FileId, Place, Timestamp, UploadId};
use waybill_service_kit::{new_id, now};
use waybill_zip_layout::safe_names;

/// Maximum number of files of an archive.
pub(crate) const FILES_MAX: usize = 1_000;

/// Maximum size of the files of an archive in bytes.
const BYTES_MAX: u64 = 50 << 30;

/// Time for which an archive can be downloaded, in seconds.
const LIFETIME_S: u64 = 24 * 60 * 60;

/// Number of records that are written at the same time.
const AT_ONCE: usize = 16;

/// Number of files whose lookup costs a point.
const FILES_PER_POINT: usize = 20;

const NAME_DEFAULT: &str = "files.zip";
const NAME_END: &str = ".zip";

/// Files that a user wants, and whether each of them must be there.
struct Asked {
    ids: Vec<FileId>,
    is_strict: bool,
}

/// A file that becomes part of the archive.
struct Chosen {
    wanted: Wanted,
    /// Name of the file.
    name: String,
    size_bytes: u64,
    created_at: Timestamp,
    readable_until: Timestamp,
}

/// Makes an archive.
///
/// # Errors
/// 422 `archive_invalid`, `archive_empty`, `name_invalid`; 413 `archive_too_large`; the problem of the first named file that cannot be downloaded; the
/// problems of the chatroom, thread or session; 409 `file_not_ready`.
pub(crate) async fn make_archive(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &web::Data<Gateway>,
    body: ArchiveBody,
) -> Result<MadeArchive, Problem> {
    let since = now();
    let name = archive_name(body.name.as_deref())?;
    let Asked { ids, is_strict } = asked(request, principal, gateway, &body).await?;
    check_count(ids.len())?;
    gateway.admission.charge(principal, u32::try_from(ids.len() / FILES_PER_POINT).unwrap_or(u32::MAX));
    let downloads = Downloads::find(request, principal, gateway, ids.clone(), since).await?;
    let expires_s = expiry_s(principal, since);
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    for id in ids {
        match choose(principal, gateway, downloads.get(id), expires_s).await {
            Ok(one) => chosen.push(one),
            Err(problem) if is_strict => return Err(problem),
            // The user must not learn of it.
            Err(problem) if problem.code == ErrorCode::NotFound => {}
            Err(problem) => left_out.push(LeftOut { file_id: id.0, problem: details(&problem)? }),
        }
    }
    check_size(&chosen)?;
    let id = RequestId::of(request);
    let context = gateway.context(principal, id);
    let wanted: Vec<Wanted> = chosen.iter().map(|chosen| chosen.wanted.clone()).collect();
    let crcs = checksums(gateway, principal, &context, &wanted).await?;
    let token = ArchiveToken::new(principal.company_id, new_id(), expires_s);
    let names = safe_names(chosen.iter().map(|chosen| chosen.name.as_str()), name::fold);
    let items = chosen.iter().zip(names).zip(crcs).map(|((chosen, name), crc32)| Item {
        file: UploadId(chosen.wanted.file.id),
        name,
        sha256: chosen.wanted.sha256,
        size_bytes: chosen.size_bytes,
        crc32,
        created_at: chosen.created_at,
        readable_until: chosen.readable_until,
    });
    let manifest = Manifest {
        secret_sha256: token.secret_sha256(),
        name,
        user: principal.user_id,
        as_admin: viewer(principal).is_admin,
        tokens_valid_from: downloads.standing.tokens_valid_from,
        since: before(since),
        items: items.collect(),
    };
    let size_bytes = manifest.layout().map_err(|_| too_large())?.size_bytes();
    let bytes = serde_json::to_vec(&manifest).map_err(|_| Problem::internal())?;
    let crc = crc64nvme(&bytes);
    gateway.store.put(&token.key(), bytes.into(), crc).await.or_problem("writing the list of an archive")?;
    let records = chosen.iter().map(|chosen| record_download(gateway, principal, id, UploadId(chosen.wanted.file.id)));
    stream::iter(records).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(MadeArchive {
        id: token.id,
        url: format!("/z/{}", token.text()),
        name: manifest.name,
        size_bytes,
        file_count: manifest.items.len(),
        expires_at: rfc3339(at(expires_s)),
        left_out,
    })
}

/// Returns the files that the body names.
async fn asked(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    body: &ArchiveBody,
) -> Result<Asked, Problem> {
    let of = async |place| {
        let PlaceFiles { ids, total } = ids_in_place(request, principal, gateway, place, FILES_MAX + 1).await?;
        check_count(total)?;
        Ok(Asked { ids, is_strict: false })
    };
    match (&body.file_ids, body.chatroom_id, body.thread_id, body.session_id) {
        (Some(ids), None, None, None) => {
            let mut seen = BTreeSet::new();
            let ids = ids.iter().filter(|id| seen.insert(**id)).map(|id| UploadId(*id)).collect();
            Ok(Asked { ids, is_strict: true })
        }
        (None, Some(chatroom), None, None) => of(Place::Chatroom(chatroom)).await,
        (None, None, Some(thread), None) => of(Place::Thread(thread)).await,
        (None, None, None, Some(session)) => {
            let PlaceFiles { ids, total } = ids_in_session(request, principal, gateway, session).await?;
            check_count(total)?;
            Ok(Asked { ids, is_strict: false })
        }
        _ => {
            let text = "send exactly one of `file_ids`, `chatroom_id`, `thread_id` and `session_id`";
            Err(Problem::new(422, ErrorCode::ArchiveInvalid, text))
        }
    }
}

/// Returns the form in which the user gets a file.
async fn choose(
    principal: &Principal,
    gateway: &Gateway,
    permitted: Result<&Permitted, Problem>,
    expires_s: u64,
) -> Result<Chosen, Problem> {
    let Permitted { file, facts } = permitted?;
    check_readable(file)?;
    check_restored(file)?;
    let viewer = viewer(principal);
    let plain = form_for(gateway, file, facts, Some(viewer)).await?;
    let described = plain.as_ref().map_or(file, |plain| &plain.described);
    let sha256 = described.hash.as_deref().and_then(|hash| hash.parse().ok()).ok_or_else(Problem::internal)?;
    let size_bytes = described.size_bytes.unsigned_abs();
    let name = file.shown_name().clone();
    let created_at = Timestamp(file.created_at.timestamp_millis());
    let readable_until = facts.readable_until(viewer, now(), at(expires_s));
    let file = Arc::new(file.clone().without_details());
    let wanted = Wanted { file, plain: plain.map(Arc::new), sha256 };
    Ok(Chosen { wanted, name, size_bytes, created_at, readable_until })
}

/// Returns a time that is earlier than `time` by the clocks of all gateways.
pub(super) fn before(time: Timestamp) -> Timestamp {
    time.plus_ms(-i64::try_from(SKEW_S * 1_000).unwrap_or(0))
}

/// Returns the end of an archive that is made now. The role of an admin ends with the token that asserts it.
fn expiry_s(principal: &Principal, now: Timestamp) -> u64 {
    let seconds = |time: Timestamp| u64::try_from(time.0 / 1_000).unwrap_or(0);
    let latest = seconds(now) + LIFETIME_S;
    if viewer(principal).is_admin { latest.min(seconds(principal.expires_at)) } else { latest }
}

fn check_count(files: usize) -> Result<(), Problem> {
    if files > FILES_MAX { Err(too_large()) } else { Ok(()) }
}

fn check_size(chosen: &[Chosen]) -> Result<(), Problem> {
    if chosen.is_empty() {
        let text = "none of these files can be downloaded; name at least one that can";
        return Err(Problem::new(422, ErrorCode::ArchiveEmpty, text));
    }
    let total = chosen.iter().fold(0_u64, |total, chosen| total.saturating_add(chosen.size_bytes));
    if total > BYTES_MAX { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> Problem {
    let text = format!("an archive has at most {FILES_MAX} files and {BYTES_MAX} bytes; name fewer files");
    Problem::new(413, ErrorCode::ArchiveTooLarge, text).with(|members| members.limit_bytes = Some(BYTES_MAX))
}

/// Returns the name of the archive.
fn archive_name(wanted: Option<&str>) -> Result<String, Problem> {
    let wanted = wanted.filter(|wanted| !wanted.is_empty()).unwrap_or(NAME_DEFAULT);
    let is_zip = wanted.to_ascii_lowercase().ends_with(NAME_END);
    let name = if is_zip { wanted.to_owned() } else { format!("{wanted}{NAME_END}") };
    name::check(&name).map_err(waybill_data_plane::refused)?;
    Ok(name)
}
