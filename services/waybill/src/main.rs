//! `waybill`: see the library of the same name.

/// What one thread reads from NATS, another one drops: the allocator of glibc makes them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    waybill::main().await
}
