//! Lookup of many files that a user wants to download.

use crate::application::access::{denied, viewer};
use crate::application::files::find::{add_deletion, find, is_behind, look};
use crate::application::gateway::Gateway;
use crate::application::registration::barred;
use crate::http::problems::OrProblem;
use actix_web::HttpRequest;
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use waybill_access::{Known, Wanted};
use waybill_domain::access::{FileFacts, Operation, Standing};
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::queries::{File, find_files};
use waybill_schema::{FileId, Timestamp, UploadId};

/// Number of files that are looked up alone at the same time.
const AT_ONCE: usize = 8;

/// Points of each file that is looked up alone.
const POINTS_ALONE: u32 = 1;

/// A file that the user may download, and the facts that permit it.
pub(crate) struct Permitted {
    pub(crate) file: File,
    pub(crate) facts: FileFacts,
}

/// Files that a user wants to download.
pub(crate) struct Downloads {
    /// The files, or for each the problem that its download would get.
    files: HashMap<FileId, Result<Permitted, Problem>>,
    /// State of the user and of the company.
    pub(crate) standing: Standing,
}

impl Downloads {
    /// Looks up files and the access of the user to them.
    ///
    /// # Errors
    /// The problems that concern all files.
    pub(crate) async fn find(
        request: &HttpRequest,
        principal: &Principal,
        gateway: &Gateway,
        ids: Vec<FileId>,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let mut reading = gateway.positions.reading(request, None)?;
        let found =
            find_files(reading.connection().await?, principal.company_id, &ids).await.or_problem("finding files")?;
        let every_share = viewer(principal).is_admin;
        let wanted = Wanted { files: ids.clone(), every_share, ..Wanted::default() };
        let Known { files: mut facts, standing, .. } = look(gateway, &mut reading, principal, &wanted).await?;
        drop(reading);
        // The user may have been signed out while the body arrived. Otherwise the URLs would outlive the sign-out.
        standing.check(gateway.registration.is_automatic(), principal.issued_at).map_err(barred)?;
        let mut files: HashMap<FileId, Result<Permitted, Problem>> = HashMap::new();
        for mut file in found {
            let id = UploadId(file.id);
            let Some(facts) = facts.remove(&id) else { continue };
            add_deletion(&mut file, &facts);
            if file.is_processed && !is_behind(&file, &facts) {
                let allowed = facts.check(viewer(principal), Operation::Download, now);
                files.insert(id, allowed.map(|()| Permitted { file, facts }).map_err(|why| denied(why, "file")));
            }
        }
        // The tables may not have these files yet. The lookup of a single file waits for them.
        let alone: Vec<FileId> = ids.into_iter().filter(|id| !files.contains_key(id)).collect();
        gateway.admission.charge(principal, POINTS_ALONE * u32::try_from(alone.len()).unwrap_or(u32::MAX));
        let found = stream::iter(alone).map(|id| async move {
            let found = find(request, principal, id, gateway, Operation::Download).await;
            (id, found.map(|(file, facts)| Permitted { file, facts }))
        });
        files.extend(found.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        Ok(Self { files, standing })
    }

    /// Returns a file, or the problem that its download would get.
    pub(crate) fn get(&self, id: FileId) -> Result<&Permitted, Problem> {
        match self.files.get(&id) {
            Some(Ok(permitted)) => Ok(permitted),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(Problem::not_found("file")),
        }
    }
}
