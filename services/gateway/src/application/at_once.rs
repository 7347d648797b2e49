//! Limits of requests that last long: downloads, bodies, waits and audit exports.

use crate::settings::AtOnceSettings;
use std::net::IpAddr;
use waybill_http_kit::slots::{Holder, Most, Slot, Slots};
use waybill_http_kit::{Principal, Problem};
use waybill_schema::{CompanyId, TokenId, UserId};

/// Requests that run at the same time on this gateway.
pub(crate) struct AtOnce {
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
    pub(crate) fn download(&self, user: &Principal) -> Result<Slot, Problem> {
        self.downloads.take(&[Holder::User(user.company_id, user.counted_as()), Holder::Company(user.company_id)])
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
    ) -> Result<Slot, Problem> {
        self.open_download(company, Holder::Link(company, token), address)
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
    ) -> Result<Slot, Problem> {
        self.open_download(company, Holder::MediaUrls(company, user), address)
    }

    /// Begins a download that needs no access token.
    fn open_download(&self, company: CompanyId, by: Holder, address: Option<IpAddr>) -> Result<Slot, Problem> {
        let holders = [by, Holder::Company(company)];
        let holders: Vec<Holder> = address.map(Holder::Address).into_iter().chain(holders).collect();
        self.downloads.take(&holders)
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
