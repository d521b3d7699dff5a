//! `aivms-cloud`: see [`aivms_cloud::cli`].

fn main() {}
