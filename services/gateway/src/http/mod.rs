//! HTTP infrastructure: what several routes need to read requests and to build responses. It knows neither the routes
//! nor the state of the gateway.

pub(crate) mod content_digest;
pub(crate) mod cursor;
pub(crate) mod download;
pub(crate) mod event_budget;
pub(crate) mod json;
pub(crate) mod metadata;
pub(crate) mod openapi;
pub(crate) mod parameters;
pub(crate) mod path;
pub(crate) mod preference;
pub(crate) mod problems;
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod time;
