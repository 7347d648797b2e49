//! Views of a file: its bytes, those without metadata, or a preview.

use uuid::Uuid;
use waybill_read_model::queries::File;
use waybill_schema::PlainForm;

/// Bytes that an entry of the cache occupies, about, and a piece of a form without metadata.
const ENTRY_BYTES: usize = 2_048;
const PIECE_BYTES: usize = 64;

/// Number of hexadecimal digits of [`Shown::name`].
const NAME_DIGITS: usize = 16;

/// A file without its metadata.
pub(crate) struct Plain {
    pub(crate) form: PlainForm,
    /// Description of the file in this form.
    pub(crate) described: File,
}

impl Plain {
    /// Drops what sending the bytes does not need.
    pub(crate) fn without_details(self) -> Self {
        Self { described: self.described.without_details(), ..self }
    }
}

/// A preview.
pub(crate) struct Found {
    pub(crate) mime_type: String,
    pub(crate) size_bytes: u64,
    /// It changes if previews of the file are made again.
    pub(crate) etag: String,
    /// The set of previews to which it belongs.
    pub(crate) set: Uuid,
    pub(crate) key: String,
}

/// A file in the form in which it is shown.
pub(crate) struct Original {
    pub(crate) file: File,
    /// The form without metadata, if that one is shown.
    pub(crate) plain: Option<Plain>,
    /// `true` if these bytes are certainly what others than the uploader and admins get.
    pub(crate) is_for_others: bool,
}

impl Original {
    /// Returns the description of the bytes that are shown.
    pub(crate) fn described(&self) -> &File {
        self.plain.as_ref().map_or(&self.file, |plain| &plain.described)
    }
}

/// View of a file.
pub(crate) enum Shown {
    /// The bytes of a file, or with a form those without its metadata.
    Original(Box<Original>),
    /// A preview.
    Preview(Found),
}

impl Shown {
    /// Returns digits that name the bytes: of their SHA-256, or of the id of the set of previews.
    pub(crate) fn name(&self) -> String {
        let mut digest = match self {
            Self::Original(original) => original.described().hash.clone().unwrap_or_default(),
            Self::Preview(found) => found.set.simple().to_string(),
        };
        digest.truncate(NAME_DIGITS);
        digest
    }

    /// Returns `true` if these bytes are certainly what others than the uploader and admins get.
    pub(crate) fn is_for_others(&self) -> bool {
        match self {
            Self::Original(original) => original.is_for_others,
            Self::Preview(_) => true,
        }
    }

    /// Returns the media type of the bytes.
    pub(crate) fn mime_type(&self) -> &str {
        match self {
            Self::Original(original) => &original.file.mime_type,
            Self::Preview(found) => &found.mime_type,
        }
    }

    pub(crate) fn weight(&self) -> usize {
        let more = match self {
            Self::Original(original) => {
                let pieces = original.plain.as_ref().map_or(0, |plain| plain.form.pieces.len());
                pieces * PIECE_BYTES
            }
            Self::Preview(_) => 0,
        };
        ENTRY_BYTES + more
    }
}
