//! The binary `registry`.

use std::process::ExitCode;

fn main() -> ExitCode {
    registry_server::cli::main()
}
