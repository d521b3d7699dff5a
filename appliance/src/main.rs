//! `aivms-appliance`: see [`aivms_appliance::cli`].

fn main() {}
