//! The page `/sign-in`, where sign-ins through a provider end: it shows the code to whoever has no page of its own.

use poem::Route;

use super::super::viewer::{Asset, add_files};

/// Where browsers end.
pub(super) const PAGE: &str = "/sign-in";

const ASSETS: [Asset; 2] = [
    (PAGE, "text/html; charset=utf-8", include_str!("../../sign_in_page/index.html")),
    ("/sign-in/sign-in.js", "text/javascript; charset=utf-8", include_str!("../../sign_in_page/sign-in.js")),
];

/// Adds the page's files.
pub(in super::super) fn add(routes: Route) -> Route {
    add_files(routes, &ASSETS)
}
