//! `aivms-cloud`: see [`aivms_cloud::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    aivms_cloud::cli::main()
}
