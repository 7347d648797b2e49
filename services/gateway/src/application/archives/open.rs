//! Opening of archives: reads the manifest, and checks that its user still has access to each file, and that the files are unchanged.

use crate::application::archives::manifest::{Archive, ArchiveToken, Item, Manifest};
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
    let archive = Arc::new(Archive { company: token.company, manifest, layout, etag });
    gateway.archives.kept.insert(&key, archive.clone());
    Ok(archive)
}

/// A file of an archive that can be sent.
pub(crate) struct Content {
    pub(crate) file: File,
    /// The form without metadata, if that one is in the archive.
    pub(crate) plain: Option<Plain>,
    /// Rights that were read now; `None` if nothing has happened that could end them.
    rights: Option<Rights>,
}

/// An archive whose files were checked.
pub(crate) struct Opened {
    pub(crate) archive: Arc<Archive>,
    contents: HashMap<FileId, Arc<Content>>,
}

impl Opened {
    /// Returns an item and its content.
    pub(crate) fn entry(&self, index: usize) -> Option<(&Item, Arc<Content>)> {
        let item = self.archive.manifest.items.get(index)?;
        Some((item, self.contents.get(&item.file)?.clone()))
    }

    /// Begins a transfer of a file of the archive.
    pub(crate) fn transfer(&self, gateway: &Gateway, item: &Item, content: &Content) -> Transfer {
        let Archive { company, manifest, .. } = &*self.archive;
        let credential = Credential::SignedUrl {
            since: manifest.since,
            until: item.readable_until,
            tokens_valid_from: manifest.tokens_valid_from,
        };
        let access = gateway.access.clone();
        let viewer = self.archive.viewer();
        Transfer::of_signed_url(access, *company, viewer, item.file, credential, content.rights.clone())
    }
}

/// Checks the files of an archive.
///
/// # Errors
/// 410 `archive_stale` if a file has changed, or the access to it has ended. 409 `file_archived`.
pub(crate) async fn open(gateway: &Gateway, archive: Arc<Archive>, now: Timestamp) -> Result<Opened, Problem> {
    let Archive { company, manifest, .. } = &*archive;
    let (company, viewer) = (*company, archive.viewer());
    let ids: Vec<FileId> = manifest.items.iter().map(|item| item.file).collect();
    let access = &gateway.access;
    let doubtful =
        access.doubtful(company, viewer.user_id, &ids, manifest.since).await.or_problem("checking access")?;
    let expired = manifest.items.iter().filter(|item| item.readable_until <= now).map(|item| item.file);
    let doubtful: BTreeSet<FileId> = doubtful.into_iter().chain(expired).collect();
    let seen = access.followed(company);
    let mut connection = gateway.database.connection().await.or_problem("connecting for a query")?;
    let mut rights = HashMap::new();
    if !doubtful.is_empty() {
        let wanted =
            Wanted { files: doubtful.iter().copied().collect(), every_share: viewer.is_admin, ..Wanted::default() };
        let known = access.look(&mut connection, company, viewer.user_id, &wanted).await;
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
    let files = find_files(&mut connection, company, &ids).await.or_problem("finding files")?;
    drop(connection);
    let mut files: HashMap<FileId, File> = files.into_iter().map(|file| (UploadId(file.id), file)).collect();
    let mut contents = HashMap::new();
    for item in &manifest.items {
        let file = files.remove(&item.file).ok_or_else(stale)?;
        let content = content(gateway, item, file, rights.remove(&item.file), viewer).await?;
        contents.insert(item.file, Arc::new(content));
    }
    Ok(Opened { archive, contents })
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
    // They are not sent, and they are large.
    let small = |file: File| File { metadata_text: None, preview: None, ..file };
    let plain = plain.map(|Plain { form, described }| Plain { form, described: small(described) });
    Ok(Content { file: small(file), plain, rights })
}
