//! Telling people and systems of alerts: mail, webhooks, web push.
//!
//! What is owed is written in the transaction that raised the alert (`store::deliveries`); [`worker`] takes turns of
//! receivers and sends. [`mail`], [`webhook`] and [`push`] know one means each, [`guard`] where users may have the cloud
//! call, [`letter`] the words of mails.

pub mod guard;
pub mod letter;
pub mod mail;
mod mailing;
pub mod outgoing;
pub mod push;
mod pushing;
pub mod sending;
mod setup;
pub mod unsubscribe;
pub mod webhook;
pub mod worker;

pub use self::setup::{Notifications, set_up};
