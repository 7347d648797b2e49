//! Limits of requests that last long: downloads, bodies, waits and audit exports.

use crate::application::bandwidth::Bandwidth;
use crate::settings::AtOnceSettings;
use std::net::IpAddr;
use std::sync::Arc;
use waybill_http_kit::slots::{Holder, Most, Slot, Slots};
use waybill_http_kit::{Principal, Problem};
use waybill_schema::{CompanyId, TokenId, UserId};

/// A running download.
pub(crate) struct Download {
    company: CompanyId,
    bandwidth: Arc<Bandwidth>,
    _slot: Slot,
}

impl Download {
    /// Waits until this number of bytes may be sent.
    pub(crate) async fn take(&self, bytes: usize) {
        self.bandwidth.take(self.company, u32::try_from(bytes).unwrap_or(u32::MAX)).await;
    }
}

/// Requests that run at the same time on this gateway.
pub(crate) struct AtOnce {
    bandwidth: Arc<Bandwidth>,
    downloads: Slots,
    bodies: Slots,
    waits: Slots,
    exports: Slots,
}

impl AtOnce {
    pub(crate) fn new(settings: &AtOnceSettings) -> Self {
        let of = |kind, person, company| Slots::new(kind, Most { person, company, address: u32::MAX });
        let downloads = Most {
            person: settings.downloads_per_user,
            company: settings.downloads_per_company,
            address: settings.downloads_per_address,
        };
        Self {
            bandwidth: Bandwidth::new(settings.shared_download_mib_per_s),
            downloads: Slots::new("downloads", downloads),
            bodies: of("uploads", settings.bodies_per_user, settings.bodies_per_company),
            waits: of("waits", settings.waits_per_user, settings.waits_per_company),
            exports: of("audit exports", u32::MAX, settings.exports_per_company),
        }
    }

    /// Begins a download of a user.
    ///
    /// # Errors
    /// 429 `too_many_at_once`.
    pub(crate) fn download(&self, user: &Principal) -> Result<Download, Problem> {
        self.begin_download(user.company_id, Holder::User(user.company_id, user.counted_as()), None)
    }

    /// Begins a download with a link.
    ///
    /// # Errors
    /// 429 `too_many_at_once`.
    pub(crate) fn download_by_link(
        &self,
        company: CompanyId,
        token: TokenId,
        address: Option<IpAddr>,
    ) -> Result<Download, Problem> {
        self.begin_download(company, Holder::Link(company, token), address)
    }

    /// Begins a download with a media URL of a user.
    ///
    /// # Errors
    /// 429 `too_many_at_once`.
    pub(crate) fn download_by_media_url(
        &self,
        company: CompanyId,
        user: UserId,
        address: Option<IpAddr>,
    ) -> Result<Download, Problem> {
        self.begin_download(company, Holder::MediaUrls(company, user), address)
    }

    fn begin_download(&self, company: CompanyId, by: Holder, address: Option<IpAddr>) -> Result<Download, Problem> {
        let holders = [by, Holder::Company(company)];
        let holders: Vec<Holder> = address.map(Holder::Address).into_iter().chain(holders).collect();
        let slot = self.downloads.take(&holders)?;
        Ok(Download { company, bandwidth: self.bandwidth.clone(), _slot: slot })
    }

    /// Notes a request of a company, of which the downloads of other companies take account.
    pub(crate) fn note(&self, company: CompanyId) {
        self.bandwidth.note(company);
    }

    /// Begins to receive bytes of a file.
    ///
    /// # Errors
    /// 429 `too_many_at_once`.
    pub(crate) fn body(&self, user: &Principal) -> Result<Slot, Problem> {
        self.bodies.take(&[Holder::User(user.company_id, user.counted_as()), Holder::Company(user.company_id)])
    }

    /// Begins to wait for an upload of `user`, if it is known. Returns `None` if the client must not wait.
    pub(crate) fn wait(&self, company: CompanyId, user: Option<UserId>) -> Option<Slot> {
        let user = user.map(|user| Holder::User(company, user));
        let holders: Vec<Holder> = user.into_iter().chain([Holder::Company(company)]).collect();
        self.waits.take(&holders).ok()
    }

    /// Begins an audit export.
    ///
    /// # Errors
    /// 429 `too_many_at_once`.
    pub(crate) fn export(&self, company: CompanyId) -> Result<Slot, Problem> {
        self.exports.take(&[Holder::Company(company)])
    }
}
