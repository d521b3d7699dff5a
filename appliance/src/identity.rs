//! The device key, its certificate, and tokens signed with it.
