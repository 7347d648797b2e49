//! The catalogue of events: one frozen struct per version, and enums of the newest versions for the rest of the code.
//!
//! A file per aggregate has its structs and its list of events. The rest of the code uses the newest version of an event
//! under the name of the event, such as [`UploadStarted`], so that only this crate knows the versions.

/// Generates the enum of the newest versions of an aggregate's events, and exports each newest version under the name of
/// its event: `FileRenamed, 1 => FileRenamedV1;` exports `FileRenamed`. All code outside of this crate uses that name.
macro_rules! aggregate_events {
    (
        $(#[$doc:meta])*
        $events:ident of $group:ident {
            $($name:ident, $version:literal => $body:ident $(, before: $($old:literal => $old_body:ident),+)?;)*
        }
    ) => {
        $(
            #[doc = concat!("The newest version of the event `", stringify!($name), "`.")]
            pub use $body as $name;
        )*

        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(untagged)]
        pub enum $events {
            $(
                #[doc = concat!("See [`", stringify!($body), "`].")]
                $name($body),
            )*
        }

        impl $events {
            /// All types with all versions that can be read.
            pub(super) const CATALOGUE: &'static [(&'static str, u16)] =
                &[$((stringify!($name), $version), $($((stringify!($name), $old),)+)?)*];

            pub(super) fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }

            pub(super) fn version(&self) -> u16 {
                match self {
                    $(Self::$name(_) => $version,)*
                }
            }

            pub(super) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
                match self {
                    $(Self::$name(body) => postcard::to_stdvec(body),)*
                }
            }

            /// Decodes a body. Returns `None` if the type or version is unknown, and `Some(None)` if the bytes are not
            /// such a body.
            pub(super) fn decode(event_type: &str, version: u16, bytes: &[u8]) -> Option<Option<Self>> {
                use super::exact;
                Some(match (event_type, version) {
                    $(
                        (stringify!($name), $version) => exact::<$body>(bytes).map(Self::from),
                        $($((stringify!($name), $old) => {
                            exact::<$old_body>(bytes).map(|old| Self::from($body::from(old)))
                        })+)?
                    )*
                    _ => return None,
                })
            }
        }

        impl super::AggregateEvent for $events {
            fn of(event: &super::Event) -> Option<&Self> {
                if let super::Event::$group(event) = event { Some(event) } else { None }
            }
        }

        impl From<$events> for super::Event {
            fn from(event: $events) -> Self {
                Self::$group(event)
            }
        }

        $(
            impl From<$body> for $events {
                fn from(body: $body) -> Self {
                    Self::$name(body)
                }
            }

            impl From<$body> for super::Event {
                fn from(body: $body) -> Self {
                    Self::$group($events::$name(body))
                }
            }
        )*
    };
}

mod content;
mod directory;
mod earlier;
mod file;
mod link;
mod quota;
mod session;
mod share;
mod token;
mod upload;
mod upload_kinds;

pub use content::*;
pub use directory::*;
pub use earlier::EarlierBody;
pub use file::*;
pub use link::*;
pub use quota::*;
pub use session::*;
pub use share::*;
pub use token::*;
pub use upload::*;
pub use upload_kinds::{ChunkStorage, UploadKind};

/// The events of one kind of aggregate. Folds, projections and reactions match such an enum without a wildcard, so that
/// the compiler lists every place that a new event concerns.
pub trait AggregateEvent: Clone + std::fmt::Debug + Into<Event> + Send + Sync + 'static {
    /// Returns the event if it is of this kind of aggregate.
    fn of(event: &Event) -> Option<&Self>;
}

/// Reason why bytes are not an event that this build can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// This build does not know the type or version. A newer build wrote the event.
    #[error("unknown event {event_type} version {version}")]
    Unknown {
        /// The `Waybill-Type` header.
        event_type: String,
        /// The `Waybill-Version` header.
        version: u16,
    },
    /// The bytes are not a body of the type and version that the headers name.
    #[error("corrupt {event_type} version {version}")]
    Corrupt {
        /// The `Waybill-Type` header.
        event_type: String,
        /// The `Waybill-Version` header.
        version: u16,
    },
}

/// Decodes a value. Returns `None` if bytes remain, because a fold would silently drop their data.
fn exact<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

macro_rules! event {
    ($($(#[$doc:meta])* $group:ident($events:ident),)*) => {
        /// An event, in the newest version of its type. It serialises as its body alone, for people to read.
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(untagged)]
        #[expect(clippy::large_enum_variant, reason = "most events are about uploads, which is the largest variant")]
        pub enum Event {
            $(
                $(#[$doc])*
                $group($events),
            )*
        }

        impl Event {
            /// Returns all types with all versions that can be read.
            pub fn catalogue() -> impl Iterator<Item = (&'static str, u16)> {
                [$($events::CATALOGUE),*].into_iter().flatten().copied()
            }

            /// Returns the name of the type, which is the `Waybill-Type` header.
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$group(event) => event.event_type(),)*
                }
            }

            /// Returns the version that [`Event::encode`] writes.
            pub fn version(&self) -> u16 {
                match self {
                    $(Self::$group(event) => event.version(),)*
                }
            }

            /// Encodes the body with postcard.
            ///
            /// # Errors
            /// None for values of these types. The signature of postcard has an error.
            pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
                match self {
                    $(Self::$group(event) => event.encode(),)*
                }
            }

            /// Decodes the body of the given type and version, and converts it to the newest version.
            ///
            /// ```
            /// use uuid::Uuid;
            /// use waybill_schema::events::{EventError, SessionOpenedV1};
            /// use waybill_schema::{Event, UserId};
            ///
            /// let user_id = UserId(Uuid::from_u128(1));
            /// let event = Event::from(SessionOpenedV1 { user_id, session_name: Some("Party".to_owned()) });
            /// let bytes = event.encode()?;
            /// assert_eq!(Event::decode(event.event_type(), event.version(), &bytes)?, event);
            ///
            /// // A build that does not know the version says so.
            /// assert!(matches!(Event::decode("SessionOpened", 9, &bytes), Err(EventError::Unknown { version: 9, .. })));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            /// [`EventError`] if the type or version is unknown, or the bytes are not a body of this type.
            pub fn decode(event_type: &str, version: u16, bytes: &[u8]) -> Result<Self, EventError> {
                let corrupt = || EventError::Corrupt { event_type: event_type.to_owned(), version };
                $(
                    if let Some(decoded) = $events::decode(event_type, version, bytes) {
                        return decoded.map(Self::from).ok_or_else(corrupt);
                    }
                )*
                Err(EventError::Unknown { event_type: event_type.to_owned(), version })
            }
        }
    };
}

event! {
    /// Events of an upload, from its start to its verification.
    Upload(UploadEvent),
    /// Events of a verified file.
    File(FileEvent),
    /// Events of an association of a file with a chatroom or thread.
    Share(ShareEvent),
    /// Events of a download token.
    Token(TokenEvent),
    /// Events of an upload link.
    Link(LinkEvent),
    /// Events of content that several files of a company have in common.
    Content(ContentEvent),
    /// Events of an upload session.
    Session(SessionEvent),
    /// Events of the quota of a company.
    Quota(QuotaEvent),
    /// Events of the directory of a company.
    Directory(DirectoryEvent),
}

impl From<UploadStartedV1> for Event {
    fn from(started: UploadStartedV1) -> Self {
        UploadEvent::from(started).into()
    }
}
