//! Who is told of an alert, when, how often, and where messages may go.

pub mod address;
pub mod backoff;
pub mod digest;
pub mod id;
pub mod message;
pub mod preferences;
