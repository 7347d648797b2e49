//! `waybill`: see the library of the same name.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    waybill::main().await
}
