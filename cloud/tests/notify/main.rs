//! Notifications against real receivers: HTTP servers that fail, hang and lead astray, a mail server, a push service.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod mails;
mod pushes;
mod receiver;
mod site;
mod smtp;
mod webhooks;
