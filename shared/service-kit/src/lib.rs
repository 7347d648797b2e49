//! Common parts of all processes: settings, logs, metrics, shutdown, the clock, ids, encryption, and TLS.

pub mod clock;
pub mod descriptors;
pub mod metrics;
pub mod pause;
pub mod places;
pub mod sealing;
pub mod secrets;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

pub use clock::{new_id, now};
pub use secrets::{SecretError, Secrets};
pub use shutdown::Shutdown;
pub use tls::Tls;
