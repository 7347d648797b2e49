//! A listener that runs until shutdown.

use crate::Shutdown;
use actix_web::dev::Server;
use tokio::task::JoinSet;

/// Runs `server` as a task of `tasks` until `shutdown` is triggered; running requests then get its `shutdown_timeout`.
pub fn serve(server: Server, shutdown: &Shutdown, tasks: &mut JoinSet<()>) {
    let handle = server.handle();
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "a listener failed");
        }
    });
    tasks.spawn(async move {
        shutdown.triggered().await;
        handle.stop(true).await;
    });
}
