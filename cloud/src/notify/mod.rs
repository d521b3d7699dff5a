//! Telling people and systems of alerts: mail, webhooks, web push.

pub mod guard;
pub mod mail;
pub mod push;
pub mod webhook;
