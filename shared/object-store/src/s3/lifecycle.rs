//! Lifecycle rules of a bucket, which abort multipart uploads and delete objects automatically (S3 user guide,
//! "Managing the lifecycle of objects").

use super::{S3Store, classify};
use crate::StoreError;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule as SdkRule, TransitionStorageClass};

/// An enabled lifecycle rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Id of the rule.
    pub id: String,
    /// Prefix of the keys that the rule applies to.
    pub prefix: String,
    /// Number of days after which the rule aborts multipart uploads.
    pub aborts_after_days: Option<u32>,
    /// `true` if the rule deletes objects.
    pub deletes: bool,
    /// `true` if the rule moves objects to an archive class, from which they cannot be read immediately.
    pub archives: bool,
}

impl LifecycleRule {
    /// Returns `true` if the rule applies to some keys that begin with `prefix`.
    pub fn is_for(&self, prefix: &str) -> bool {
        self.prefix.starts_with(prefix) || prefix.starts_with(&self.prefix)
    }
}

impl S3Store {
    /// Returns the enabled rules for objects without tags. Objects of Waybill have no tags.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the store does not allow to read the rules; [`StoreError::Unavailable`].
    pub async fn lifecycle(&self) -> Result<Vec<LifecycleRule>, StoreError> {
        let request = self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket);
        match request.send().await {
            Ok(answer) => Ok(answer.rules().iter().filter_map(rule).collect()),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
            Err(error) => Err(classify("reading the bucket's lifecycle", &error)),
        }
    }
}

fn rule(rule: &SdkRule) -> Option<LifecycleRule> {
    let (filter, both) = (rule.filter.as_ref(), rule.filter.as_ref().and_then(|filter| filter.and.as_ref()));
    let is_for_tags = filter.is_some_and(|filter| filter.tag.is_some()) || both.is_some_and(|both| both.tags.is_some());
    if rule.status != ExpirationStatus::Enabled || is_for_tags {
        return None;
    }
    #[expect(deprecated, reason = "old rules have their prefix in this field")]
    let old = rule.prefix.as_ref();
    let prefixes = [filter.and_then(|filter| filter.prefix.as_ref()), both.and_then(|both| both.prefix.as_ref()), old];
    let prefix = prefixes.into_iter().flatten().find(|prefix| !prefix.is_empty());
    let aborts = rule.abort_incomplete_multipart_upload.as_ref().and_then(|abort| abort.days_after_initiation);
    let expiration = rule.expiration.as_ref();
    Some(LifecycleRule {
        id: rule.id.clone().unwrap_or_default(),
        prefix: prefix.cloned().unwrap_or_default(),
        aborts_after_days: aborts.and_then(|days| days.try_into().ok()),
        // A rule that expires only delete markers deletes no objects.
        deletes: expiration.is_some_and(|expiration| expiration.days.is_some() || expiration.date.is_some()),
        archives: rule
            .transitions()
            .iter()
            .filter_map(|to| to.storage_class.as_ref())
            .any(|class| matches!(class, TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive)),
    })
}
