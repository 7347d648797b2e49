//! Common parts of all services: settings, telemetry, shutdown, health, clock, authentication and problem details.

pub mod auth;
pub mod body;
pub mod clock;
mod connection;
pub mod descriptors;
pub mod health;
pub mod listener;
pub mod metrics;
mod origins;
pub mod problem;
pub mod proxies;
pub mod request;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

pub use auth::{Authenticator, Principal, Role};
pub use clock::now;
pub use origins::Origins;
pub use problem::Problem;
pub use proxies::Proxies;
pub use request::RequestId;
pub use shutdown::Shutdown;
pub use tls::Tls;
