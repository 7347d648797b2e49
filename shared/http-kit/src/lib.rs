//! Common parts of all HTTP servers: listeners, connections, request bodies, tokens, problem details and health.

pub mod admission;
pub mod auth;
mod balancer;
pub mod body;
mod connection;
pub mod health;
pub mod listener;
mod origins;
pub mod points;
pub mod problem;
pub mod proxies;
pub mod rate;
pub mod rate_limit;
pub mod request;
pub mod settings;
pub mod slots;

pub use auth::{Authenticator, ListenerKind, Principal, Role};
pub use origins::Origins;
pub use problem::Problem;
pub use proxies::Proxies;
pub use request::RequestId;
