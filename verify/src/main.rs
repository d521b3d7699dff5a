//! `aivms-verify`: see [`aivms_verify`].

use std::process::ExitCode;

use clap::Parser;

/// Checks clips and recordings of AIVMS edges against their signed chain.
#[derive(Debug, Parser)]
#[command(name = "aivms-verify", version, about)]
struct Arguments {
    #[command(flatten)]
    ask: aivms_verify::Ask,
}

fn main() -> ExitCode {
    aivms_verify::main(&Arguments::parse().ask)
}
