//! The `waybill` binary. The library of the same name contains the commands.

fn main() -> std::process::ExitCode {
    waybill::main()
}
