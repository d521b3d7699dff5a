//! Where finders of weaknesses report them: `/.well-known/security.txt`, RFC 9116.

use std::sync::Arc;
use std::time::Duration;

use poem::web::Data;
use poem::{Response, handler};

use super::Services;
use super::failure::Failure;
use crate::clock;

/// How long the page says that it is good; the RFC advises less than a year. Whoever runs the cloud answers for it by
/// running it.
const GOOD_FOR: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// The page, if the settings name somebody.
#[handler]
pub(super) async fn show(services: Data<&Arc<Services>>) -> poem::Result<Response> {
    let Some(contact) = &services.settings.security_contact else {
        return Err(Failure::not_found("there is nothing at this path").into());
    };
    let expires = clock::now() + GOOD_FOR;
    let text = format!("Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\n");
    Ok(Response::builder().content_type("text/plain; charset=utf-8").body(text))
}
