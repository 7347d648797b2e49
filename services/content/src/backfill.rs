//! Makes the missing previews of files once, for `waybill previews`.

use crate::config::Config;
use crate::pace::Pace;
use crate::previews::{Done, Previews, Turn};
use crate::renderer::RenderError;
use futures_util::{StreamExt, stream};
use uuid::Uuid;
use waybill_read_model::ReadModelError;
use waybill_read_model::queries::{FileKey, files_to_preview};
use waybill_schema::{Causation, CompanyId, UploadId};
use waybill_service_kit::{Shutdown, new_id};

/// Number of files that one query reads.
const PAGE: i64 = 5_000;

/// Files of `waybill previews`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Previewed {
    /// Number of files that got previews.
    pub made: u64,
    /// Number of files that cannot have previews.
    pub failed: u64,
    /// Number of files that could not be looked at.
    pub unknown: u64,
}

/// Reason why no previews can be made at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub enum PreviewAllError {
    /// The program that makes previews cannot run.
    Renderer(String),
    /// The files cannot be read from the tables.
    Tables(#[from] ReadModelError),
}

impl From<RenderError> for PreviewAllError {
    fn from(error: RenderError) -> Self {
        Self::Renderer(error.to_string())
    }
}

/// Makes the missing previews of a company, or of all companies. With `again`, also those that could not be made before.
///
/// # Errors
/// [`PreviewAllError`].
pub async fn preview_all(
    config: Config,
    company: Option<CompanyId>,
    again: bool,
) -> Result<Previewed, PreviewAllError> {
    let previews = Previews::new(&config, Pace::off());
    previews.renderer.check().await?;
    for partition in config.repository.log().partitions().all() {
        // The rules of the companies come from the log. This ends with the process.
        tokio::spawn(config.access.clone().follow(partition, Shutdown::new()));
    }
    let at_once = config.settings.previews.previews_at_once as usize;
    let mut all = Previewed::default();
    let company_id = company.unwrap_or(CompanyId(Uuid::nil()));
    let mut after = FileKey { company_id, file_id: UploadId(Uuid::nil()) };
    loop {
        let mut connection = config.database.connection().await?;
        let page = files_to_preview(&mut connection, after, again, PAGE).await?;
        drop(connection);
        let Some(mut page) = page else { return Ok(all) };
        after = page.last;
        page.due.retain(|file| company.is_none_or(|company| company == file.company_id));
        let made = stream::iter(page.due).map(|FileKey { company_id, file_id }| {
            let previews = &previews;
            async move {
                (file_id, previews.make(company_id, file_id, Turn::Own, again, Causation::Request(new_id())).await)
            }
        });
        let mut made = std::pin::pin!(made.buffer_unordered(at_once));
        while let Some((file, made)) = made.next().await {
            match made {
                Ok(Done::Nothing) => {}
                Ok(Done::Made) => all.made += 1,
                Ok(Done::Failed) => all.failed += 1,
                Err(error) => {
                    tracing::warn!(file_id = %file, %error, "cannot make previews of a file");
                    all.unknown += 1;
                }
            }
        }
        if company.is_some_and(|company| company != after.company_id) {
            return Ok(all);
        }
    }
}
