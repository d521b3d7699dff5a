//! The door that links in mails lead to: one POST ends the mails (RFC 8058), a GET only shows a button, because mail
//! scanners follow every link.

use std::sync::Arc;

use aivms_cloud_core::audit::Actor;
use poem::web::{Data, Form, Html, Query};
use poem::{IntoResponse, Request, Response, handler};
use serde::Deserialize;

use super::Services;
use super::failure::Failure;
use crate::clock;
use crate::store::Doer;

/// What the link holds.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
}

/// What a mail program or the button posts; nothing of it is needed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OneClick {
    #[serde(rename = "List-Unsubscribe", default)]
    _is_one_click: String,
}

/// Shows a button.
#[handler]
#[expect(clippy::needless_pass_by_value, reason = "the framework hands values over")]
pub(super) fn ask(services: Data<&Arc<Services>>, link: Query<Link>) -> poem::Result<Response> {
    if services.notifications.unsubscribe.read(&link.token).is_none() {
        return Err(unknown().into());
    }
    let button = r#"<form method="post"><button name="List-Unsubscribe" value="One-Click">No more of these mails</button></form>"#;
    Ok(page(button))
}

/// Ends the mails.
#[handler]
pub(super) async fn end(
    request: &Request,
    services: Data<&Arc<Services>>,
    link: Query<Link>,
    _form: Option<Form<OneClick>>,
) -> poem::Result<Response> {
    let (tenant, address) = services.notifications.unsubscribe.read(&link.token).ok_or_else(unknown)?;
    let by = Doer { actor: Actor::link(), address: Some(super::address(request, &services)) };
    services.store.by(&by).refuse_mail(tenant, address, clock::now()).await.map_err(Failure::from)?;
    Ok(page("<p>You get no more of these mails.</p>"))
}

fn unknown() -> Failure {
    Failure::not_found("this link is not good, or not any more")
}

fn page(content: &str) -> Response {
    let html = format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>AIVMS</title>{content}</html>");
    let policy = "default-src 'none'; form-action 'self'";
    Html(html).with_header("content-security-policy", policy).into_response()
}
