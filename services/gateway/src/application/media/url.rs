//! The text of a media URL without its base and signature:
//! `/m/{company}/{file}/{digest}/{variant}?e=…&t=…&f=…&u=…&v=…`.
//!
//! The path names the bytes, and does not change as long as they do not. The query is for one user and for a window of time, so that a
//! user gets the same URL again within the window and a browser finds the bytes in its cache.

use waybill_api::media::{Disposition, MediaVariant};
use waybill_schema::{CompanyId, FileId, Timestamp, UserId};

/// Largest difference between the clocks of two gateways, in seconds.
pub(crate) const SKEW_S: u64 = 60;

/// A media URL: which bytes it shows, to whom, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaUrl {
    pub(crate) company: CompanyId,
    pub(crate) file: FileId,
    /// The first 16 digits of the SHA-256 of the bytes, or of the id of the set of previews.
    pub(crate) digest: String,
    pub(crate) variant: MediaVariant,
    /// `e`: end of the URL, in seconds since 1970.
    pub(crate) expires_s: u64,
    /// `t`: minimum lifetime in seconds that the client asked for.
    pub(crate) ttl_s: u32,
    /// `f`: `i` or `a`, and `m` if the user is an admin.
    pub(crate) disposition: Disposition,
    pub(crate) as_admin: bool,
    /// `u`: the user that may read the bytes.
    pub(crate) user: UserId,
    /// `v`: time before which tokens of the user were invalid when the URL was made, in milliseconds since 1970, or 0.
    pub(crate) tokens_valid_from: Option<Timestamp>,
}

/// Returns the end of a URL that is made now and is valid for at least `ttl_s`: the next multiple of half the lifetime.
pub(crate) fn end(now: Timestamp, ttl_s: u32) -> u64 {
    let (step, ttl_s) = (u64::from(ttl_s / 2), u64::from(ttl_s));
    let now_s = u64::try_from(now.0).unwrap_or(0).div_ceil(1_000);
    (now_s + ttl_s).div_ceil(step) * step
}

/// Returns the time of these seconds since 1970.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000))
}

impl MediaUrl {
    /// Returns the path, and the query without key and signature.
    pub(crate) fn text(&self) -> String {
        let Self { company, file, digest, variant, expires_s, ttl_s, user, .. } = self;
        let disposition = match self.disposition {
            Disposition::Inline => "i",
            Disposition::Attachment => "a",
        };
        let role = if self.as_admin { "m" } else { "" };
        let valid_from = self.tokens_valid_from.map_or(0, |from| from.0);
        let path = self::path(*company, *file, digest, *variant);
        format!("{path}?e={expires_s}&t={ttl_s}&f={disposition}{role}&u={user}&v={valid_from}")
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> String {
        path(self.company, self.file, &self.digest, self.variant)
    }

    /// Parses what [`MediaUrl::text`] returns; `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (path, query) = text.split_once('?')?;
        let mut segments = path.strip_prefix("/m/")?.split('/');
        let mut parameters = query.split('&');
        let mut next = |name: &str| parameters.next()?.strip_prefix(name)?.strip_prefix('=');
        let company = segments.next()?.parse().ok()?;
        let file = segments.next()?.parse().ok()?;
        let digest = segments.next()?.to_owned();
        let variant = segments.next()?;
        let variant = MediaVariant::ALL.into_iter().find(|known| known.as_str() == variant)?;
        let expires_s = next("e")?.parse().ok()?;
        let ttl_s = next("t")?.parse().ok()?;
        let flags = next("f")?;
        let disposition = if flags.starts_with('i') { Disposition::Inline } else { Disposition::Attachment };
        let user = next("u")?.parse().ok()?;
        let valid_from = next("v")?.parse().ok()?;
        let url = Self {
            company,
            file,
            digest,
            variant,
            expires_s,
            ttl_s,
            disposition,
            as_admin: flags.ends_with('m'),
            user,
            tokens_valid_from: (valid_from != 0).then_some(Timestamp(valid_from)),
        };
        (url.text() == text).then_some(url)
    }

    /// Returns a time before the access of the user was permitted.
    pub(crate) fn since(&self) -> Timestamp {
        let longest_s = u64::from(self.ttl_s) + u64::from(self.ttl_s / 2) + SKEW_S;
        Timestamp(i64::try_from(self.expires_s.saturating_sub(longest_s)).unwrap_or(0).saturating_mul(1_000))
    }

    /// Returns the end.
    pub(crate) fn until(&self) -> Timestamp {
        at(self.expires_s)
    }

    /// Returns the number of seconds until the URL expires; `None` if it has.
    pub(crate) fn left_s(&self, now: Timestamp) -> Option<u64> {
        let now_s = u64::try_from(now.0).unwrap_or(0) / 1_000;
        self.expires_s.checked_sub(now_s).filter(|left| *left > 0)
    }
}

fn path(company: CompanyId, file: FileId, digest: &str, variant: MediaVariant) -> String {
    format!("/m/{company}/{file}/{digest}/{}", variant.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use waybill_schema::UploadId;

    fn url(as_admin: bool, tokens_valid_from: Option<Timestamp>) -> MediaUrl {
        MediaUrl {
            company: CompanyId(Uuid::from_u128(1)),
            file: UploadId(Uuid::from_u128(2)),
            digest: "0123456789abcdef".to_owned(),
            variant: MediaVariant::Preview256,
            expires_s: 1_000_200,
            ttl_s: 300,
            disposition: Disposition::Inline,
            as_admin,
            user: UserId(Uuid::from_u128(3)),
            tokens_valid_from,
        }
    }

    #[test]
    fn a_url_has_one_text() {
        for url in [url(false, None), url(true, Some(Timestamp(5)))] {
            let text = url.text();
            assert_eq!(MediaUrl::parse(&text), Some(url));
            let upper = text.to_ascii_uppercase().replace("/M/", "/m/");
            for other in [upper, text.replace("e=", "e=0"), format!("{text}&"), text.replace("f=i", "f=x")] {
                assert_eq!(MediaUrl::parse(&other), None, "{other}");
            }
        }
    }

    #[test]
    fn a_user_gets_the_same_url_for_half_of_the_lifetime() {
        for ttl_s in [60, 61, 300, 3_600] {
            let step = u64::from(ttl_s / 2);
            for now_ms in (1_764_000_000_000..1_764_000_000_000 + 8_000_000).step_by(7_777) {
                let now = Timestamp(now_ms);
                let expires_s = end(now, ttl_s);
                let url = MediaUrl { expires_s, ttl_s, ..url(false, None) };
                let left_s = url.left_s(now).unwrap();
                assert!(left_s >= u64::from(ttl_s) && left_s <= u64::from(ttl_s) + step + 1, "{left_s}");
                assert_eq!(expires_s % step, 0);
                assert!(url.since() < now.plus_ms(-59_000));
                let refresh = Timestamp(i64::try_from(expires_s - step).unwrap() * 1_000);
                assert!(end(refresh, ttl_s) > expires_s && refresh > now);
            }
        }
        assert_eq!(url(false, None).left_s(Timestamp(1_000_200_000)), None);
    }
}
