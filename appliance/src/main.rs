//! `aivms-appliance`: see [`aivms_appliance::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    aivms_appliance::cli::main()
}
