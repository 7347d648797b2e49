//! The macro that generates the enum of an aggregate's events.

use super::Event;

/// The events of one kind of aggregate. Folds, projections and reactions match such an enum without a wildcard, so that
/// the compiler lists every place that a new event concerns.
pub trait AggregateEvent: Clone + std::fmt::Debug + Into<Event> + Send + Sync + 'static {
    /// Returns the event if it is of this kind of aggregate.
    fn of(event: &Event) -> Option<&Self>;
}

/// Decodes a value. Returns `None` if bytes remain, because a fold would silently drop their data.
pub(super) fn exact<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

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
                use super::catalogue::exact;
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

pub(super) use aggregate_events;
