//! The page `/viewer`: live video and playback in a browser, from files in the program.

use poem::endpoint::make_sync;
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use poem::{IntoResponse, Response, Route, get};

/// Everything comes from this server, and nothing is made of text. The picture is a `blob:` of `MediaSource`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the page: its path, media type and text.
pub(super) type Asset = (&'static str, &'static str, &'static str);

const ASSETS: [Asset; 4] = [
    ("/viewer", "text/html; charset=utf-8", include_str!("../viewer/index.html")),
    ("/viewer/viewer.css", "text/css; charset=utf-8", include_str!("../viewer/viewer.css")),
    ("/viewer/viewer.js", "text/javascript; charset=utf-8", include_str!("../viewer/viewer.js")),
    ("/viewer/player.js", "text/javascript; charset=utf-8", include_str!("../viewer/player.js")),
];

/// Adds the page's files.
pub(super) fn add(routes: Route) -> Route {
    add_files(routes, &ASSETS)
}

/// Adds the files of a page that runs its own scripts and nothing else.
pub(super) fn add_files(routes: Route, files: &[Asset]) -> Route {
    files.iter().fold(routes, |routes, &(path, kind, text)| routes.at(path, get(make_sync(move |_| serve(kind, text)))))
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    text.with_header(CONTENT_TYPE, kind)
        .with_header(CONTENT_SECURITY_POLICY, POLICY)
        .with_header(CACHE_CONTROL, "no-cache")
        .into_response()
}
