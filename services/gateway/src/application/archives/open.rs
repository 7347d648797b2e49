//! Opening of archives: reads the manifest, and checks that its user still has access to each file, and that the files are unchanged.

use crate::application::archives::make::before;
use crate::application::archives::manifest::{Archive, ArchiveToken, Item, Manifest};
use crate::application::archives::opened::{Content, Opened};
use crate::application::gateway::Gateway;
use crate::application::media::url::at;
use crate::application::plain::{form_for, form_of};
use crate::application::shown::Plain;
use crate::http::download::{check_readable, check_restored};
use crate::http::problems::{IntoProblem, OrProblem};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use waybill_access::{Credential, Rights, Transfer, Wanted};
use waybill_domain::access::{FileFacts, Operation, Viewer};
use waybill_http_kit::Problem;
use waybill_object_store::StoreError;
use waybill_read_model::queries::{File, find_files};
use waybill_schema::{ErrorCode, FileId, Sha256Digest, Timestamp, UploadId};

/// Returns the problem of an archive that has ended.
fn stale() -> Problem {
    let text = "the archive has expired, or a file of it has changed or can no longer be read; make a new one with POST /v1/archives";
    Problem::new(410, ErrorCode::ArchiveStale, text)
}

/// Finds the archive of a token.
///
/// # Errors
/// 404 for a token that was never issued, 410 `archive_stale`.
pub(crate) async fn find(gateway: &Gateway, token: &str, now: Timestamp) -> Result<Arc<Archive>, Problem> {
    let not_found = || Problem::not_found("archive");
    let digest = Sha256Digest(Sha256::digest(token).into());
    let token = ArchiveToken::parse(token).ok_or_else(not_found)?;
    if at(token.expires_s) <= now {
        return Err(stale());
    }
    let key = (token.company, digest);
    if let Some(archive) = gateway.archives.kept.get(&key) {
        return Ok(archive);
    }
    let bytes = match gateway.store.get(&token.key(), 0, None).await {
        Ok(body) => body.collect().await,
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| match error {
        StoreError::NotFound { .. } => not_found(),
        error => error.into_problem("reading the list of an archive"),
    })?;
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(archive_id = %token.id, %error, "cannot read the list of an archive");
        Problem::internal()
    };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    if !manifest.is_of(&token) {
        return Err(not_found());
    }
    let layout = manifest.layout().map_err(|error| unreadable(&error))?;
    let etag = format!("\"{}\"", Sha256Digest(Sha256::digest(&bytes).into()));
    let archive = Arc::new(Archive { company: token.company, key, manifest, layout, etag });
    gateway.archives.kept.insert(&key, archive.clone());
    Ok(archive)
}

/// Begins a transfer of a file of the archive.
pub(crate) fn transfer(gateway: &Gateway, opened: &Opened, item: &Item, content: &Content) -> Transfer {
    let Archive { company, manifest, .. } = &*opened.archive;
    let credential = Credential::SignedUrl {
        since: opened.since,
        until: item.readable_until,
        tokens_valid_from: manifest.tokens_valid_from,
    };
    let (access, viewer) = (gateway.access.clone(), opened.archive.viewer());
    Transfer::of_signed_url(access, *company, viewer, item.file, credential, content.rights.clone())
}

/// Checks the files of an archive. The result of the last check is used again, unless something has happened that could change it.
///
/// # Errors
/// 410 `archive_stale` if a file has changed, or the access to it has ended. 409 `file_archived`.
pub(crate) async fn open(gateway: &Gateway, archive: Arc<Archive>, now: Timestamp) -> Result<Arc<Opened>, Problem> {
    let kept = gateway.archives.opened.get(&archive.key);
    let since = kept.as_ref().map_or(archive.manifest.since, |kept| kept.since);
    let doubtful = doubtful(gateway, &archive, since, now).await?;
    if let Some(kept) = kept.filter(|_| doubtful.is_empty()) {
        return Ok(kept);
    }
    // Only the events since the archive was made say which rights must be read.
    let doubtful = self::doubtful(gateway, &archive, archive.manifest.since, now).await?;
    let opened = Arc::new(check(gateway, archive.clone(), doubtful, now).await?);
    gateway.archives.opened.insert(&archive.key, opened.clone());
    Ok(opened)
}

/// Returns the files to which the access of the user may have ended since a time.
async fn doubtful(
    gateway: &Gateway,
    archive: &Archive,
    since: Timestamp,
    now: Timestamp,
) -> Result<BTreeSet<FileId>, Problem> {
    let items = &archive.manifest.items;
    let ids: Vec<FileId> = items.iter().map(|item| item.file).collect();
    let ended = gateway.access.doubtful(archive.company, archive.manifest.user, &ids, since).await;
    let expired = items.iter().filter(|item| item.readable_until <= now).map(|item| item.file);
    Ok(ended.or_problem("checking access")?.into_iter().chain(expired).collect())
}

async fn check(
    gateway: &Gateway,
    archive: Arc<Archive>,
    doubtful: BTreeSet<FileId>,
    now: Timestamp,
) -> Result<Opened, Problem> {
    let Archive { company, manifest, .. } = &*archive;
    let (company, viewer) = (*company, archive.viewer());
    let seen = gateway.access.followed(company);
    let mut connection = gateway.database.connection().await.or_problem("connecting for a query")?;
    let mut rights = HashMap::new();
    if !doubtful.is_empty() {
        let wanted =
            Wanted { files: doubtful.iter().copied().collect(), every_share: viewer.is_admin, ..Wanted::default() };
        let known = gateway.access.look(&mut connection, company, viewer.user_id, &wanted).await;
        let mut known = known.or_problem("checking access")?;
        let standing = known.standing;
        if standing.has_ended() || standing.tokens_valid_from != manifest.tokens_valid_from {
            return Err(stale());
        }
        for id in doubtful {
            let facts = known.files.remove(&id).filter(|facts| may_read(facts, viewer, now)).ok_or_else(stale)?;
            rights.insert(id, Rights { standing, facts, seen });
        }
    }
    let ids: Vec<FileId> = manifest.items.iter().map(|item| item.file).collect();
    let files = find_files(&mut connection, company, &ids).await.or_problem("finding files")?;
    drop(connection);
    let mut files: HashMap<FileId, File> = files.into_iter().map(|file| (UploadId(file.id), file)).collect();
    let mut contents = HashMap::new();
    for item in &manifest.items {
        let file = files.remove(&item.file).ok_or_else(stale)?;
        let content = content(gateway, item, file, rights.remove(&item.file), viewer).await?;
        contents.insert(item.file, Arc::new(content));
    }
    Ok(Opened { archive, since: before(now), contents })
}

/// Its owner can read a deleted file, but archives do not contain it.
fn may_read(facts: &FileFacts, viewer: Viewer, now: Timestamp) -> bool {
    !facts.is_deleted && facts.check(viewer, Operation::Download, now).is_ok()
}

/// Returns the content of an item, in the form that the archive has.
async fn content(
    gateway: &Gateway,
    item: &Item,
    file: File,
    rights: Option<Rights>,
    viewer: Viewer,
) -> Result<Content, Problem> {
    check_readable(&file).map_err(|_| stale())?;
    check_restored(&file)?;
    let is_it = |file: &File| file.hash.as_deref().and_then(|hash| hash.parse().ok()) == Some(item.sha256);
    let plain = match &rights {
        // The company may have begun to remove metadata.
        Some(rights) => form_for(gateway, &file, &rights.facts, Some(viewer)).await?,
        None => form_of(&file)?.filter(|plain| is_it(&plain.described)),
    };
    if !is_it(plain.as_ref().map_or(&file, |plain| &plain.described)) {
        return Err(stale());
    }
    Ok(Content { file: file.without_details(), plain: plain.map(Plain::without_details), rights })
}
