//! CRC-32 of files whose upload did not record one: those of earlier versions, and pictures without metadata. It is computed once, and
//! recorded.

use crate::application::archives::reading::{Checksums, Key};
use crate::application::content::Source;
use crate::application::gateway::Gateway;
use crate::application::shown::Plain;
use crate::http::problems::IntoProblem;
use actix_web::web;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use futures_util::future::{BoxFuture, join_all};
use futures_util::{FutureExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use waybill_domain::file::Command;
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::queries::File;
use waybill_repository::{Context, FileAggregate};
use waybill_schema::events::FileChecksummed;
use waybill_schema::{Actor, ByteRange, CompanyId, ErrorCode, FileForm, Sha256Digest, UploadId};

/// Time for which a request waits. The files are read to their end even if it gives up.
const WAIT: Duration = Duration::from_secs(20);

/// Seconds after which a client that did not wait long enough tries again.
const RETRY_S: u32 = 10;

/// Bytes that are read for one point.
const BYTES_PER_POINT: u64 = 64 << 20;

/// Bytes whose checksum is wanted: those of a file, or those without its metadata.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) file: Arc<File>,
    pub(crate) plain: Option<Arc<Plain>>,
    pub(crate) sha256: Sha256Digest,
}

impl Wanted {
    fn key(&self) -> Key {
        (CompanyId(self.file.company_id), self.sha256)
    }

    fn form(&self) -> FileForm {
        if self.plain.is_some() { FileForm::Plain } else { FileForm::Original }
    }

    fn size_bytes(&self) -> u64 {
        self.plain.as_ref().map_or(self.file.size_bytes.unsigned_abs(), |plain| plain.form.size_bytes)
    }

    /// Returns the checksum in the tables, if they have it.
    fn recorded(&self) -> Option<u32> {
        let recorded = match self.form() {
            FileForm::Original => self.file.crc32,
            FileForm::Plain => self.file.plain_crc32,
        };
        u32::try_from(recorded?).ok()
    }
}

/// Returns the checksums of files, in the same order. Reads the files whose checksum is not known.
///
/// # Errors
/// 409 `file_not_ready` if that takes longer than a client waits. 503 if a file cannot be read.
pub(crate) async fn checksums(
    gateway: &web::Data<Gateway>,
    principal: &Principal,
    context: &Context,
    wanted: &[Wanted],
) -> Result<Vec<u32>, Problem> {
    let unknown = wanted.iter().filter(|wanted| wanted.recorded().is_none()).map(Wanted::size_bytes);
    let points = unknown.fold(0_u64, u64::saturating_add) / BYTES_PER_POINT;
    gateway.admission.charge(principal, u32::try_from(points).unwrap_or(u32::MAX));
    let found = wanted.iter().map(|wanted| match wanted.recorded() {
        Some(crc32) => futures_util::future::ready(Some(crc32)).boxed(),
        None => checksum(gateway, context, wanted),
    });
    let Ok(found) = tokio::time::timeout(WAIT, join_all(found)).await else {
        let text = "some of the files are from before checksums were recorded, and are being read; try again";
        return Err(Problem { retry_after_s: Some(RETRY_S), ..Problem::new(409, ErrorCode::FileNotReady, text) });
    };
    let found: Option<Vec<u32>> = found.into_iter().collect();
    found.ok_or_else(|| Problem::unavailable("one of the files cannot be read at the moment; try again"))
}

/// Begins to read a file, unless a request has already begun.
fn checksum(gateway: &web::Data<Gateway>, context: &Context, wanted: &Wanted) -> BoxFuture<'static, Option<u32>> {
    let checksums = &gateway.archives.checksums;
    let key = wanted.key();
    // The task inserts its result before it ends the reading.
    let mut reading = checksums.reading();
    if let Some(known) = checksums.known.get(&key) {
        return futures_util::future::ready(Some(*known)).boxed();
    }
    if let Some(running) = reading.get(&key) {
        return running.clone().boxed();
    }
    if Checksums::is_full(&reading, key.0) {
        return futures_util::future::ready(None).boxed();
    }
    let context = Context { actor: Actor::Service("gateway".to_owned()), ..context.clone() };
    let task = actix_web::rt::spawn(read(gateway.clone(), context, wanted.clone()));
    let running = async { task.await.ok().flatten() }.boxed().shared();
    reading.insert(key, running.clone());
    running.boxed()
}

/// Ends a reading, also if it panics.
struct Ended {
    gateway: web::Data<Gateway>,
    key: Key,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.gateway.archives.checksums.reading().remove(&self.key);
    }
}

async fn read(gateway: web::Data<Gateway>, context: Context, wanted: Wanted) -> Option<u32> {
    let (file_id, key) = (wanted.file.id, wanted.key());
    let checksums = &gateway.archives.checksums;
    let _ended = Ended { gateway: gateway.clone(), key };
    let found = checksums.in_turn(key.0, read_and_record(&gateway, &context, &wanted)).await;
    if let Ok(crc32) = found {
        checksums.known.insert(&key, crc32);
    }
    found.inspect_err(|problem| tracing::warn!(%file_id, code = problem.code.as_str(), "cannot read a file")).ok()
}

async fn read_and_record(gateway: &Gateway, context: &Context, wanted: &Wanted) -> Result<u32, Problem> {
    let Wanted { file, plain, .. } = wanted;
    let form = plain.as_ref().map(|plain| &plain.form);
    let range = ByteRange { from: 0, to: wanted.size_bytes() };
    let mut bytes = Source { file, form }.read(gateway, range).await?;
    let mut crc = Crc::new(CrcAlgorithm::Crc32IsoHdlc);
    while let Some(bytes) = bytes.try_next().await.map_err(|error| error.into_problem("reading a file"))? {
        crc.update(&bytes);
    }
    // The lower 32 bits contain a CRC-32.
    let crc32 = u32::try_from(crc.finalize() & u64::from(u32::MAX)).map_err(|_| Problem::internal())?;
    let aggregate = FileAggregate { company: CompanyId(file.company_id), file: UploadId(file.id) };
    let command = Command::RecordChecksum(FileChecksummed { form: wanted.form(), crc32 });
    if let Err(error) = gateway.repository.execute(&aggregate, command, context).await {
        tracing::warn!(file_id = %file.id, %error, "cannot record a checksum; the file will be read again");
    }
    Ok(crc32)
}
