//! Providers that run as processes of their own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use url::Url;

use crate::cloud::SOON;

/// The cloud's secret at a provider.
pub(super) const SECRET: &str = "hush-hush-hush";
/// Where a provider sends browsers back to.
pub(super) const RETURN: &str = "http://cloud.example/api/auth/provider/acme/callback";

/// A provider that ends with the test.
pub(super) struct Provider {
    child: Child,
    pub(super) issuer: String,
    pub(super) port: u16,
}

/// One that takes whatever client and secret, and lets a test say what it knows of whom.
pub(super) async fn easy_going() -> Provider {
    let program = fetched("servers/bin/oidc-provider-mock");
    Provider::start(|port| {
        let mut command = Command::new(&program);
        command.args(["--port", &port.to_string(), "--require-nonce", "true"]);
        command
    })
    .await
}

/// One that goes by the standard (certified by the OpenID Foundation) and knows `people`; `port` of an earlier one
/// makes it the same provider with other keys.
pub(super) async fn certified(people: &Value, port: Option<u16>) -> Provider {
    let client = json!({
        "client_id": "aivms", "client_secret": SECRET, "redirect_uris": [RETURN], "id_token_signed_response_alg": "ES256",
    });
    let settings = json!({ "clients": [client], "people": people }).to_string();
    let modules = fetched("openid/node_modules");
    let own = modules.join("../../npm/bin/node");
    let node = if own.exists() { own } else { "node".into() };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/providers/certified.mjs");
    Provider::start(|drawn| {
        let mut command = Command::new(&node);
        command.arg(&program).arg(&modules).arg(port.unwrap_or(drawn).to_string()).arg(&settings);
        command
    })
    .await
}

fn fetched(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(path);
    assert!(path.exists(), "{} is missing: scripts/fetch-tools fetches it", path.display());
    path.canonicalize().unwrap_or(path)
}

impl Provider {
    /// Starts a program on a port that is free; draws another when somebody else was quicker to take it.
    async fn start(command: impl Fn(u16) -> Command) -> Self {
        let until = Instant::now() + 3 * SOON;
        while Instant::now() < until {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = command(port);
            let port = port_of(&command);
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let mut provider = Self { child, issuer: format!("http://127.0.0.1:{port}"), port };
            while provider.child.try_wait().unwrap().is_none() {
                // It has the port when it answers and lives on.
                let answers = browser().get(provider.description()).send().await.is_ok();
                tokio::time::sleep(Duration::from_millis(200)).await;
                if answers && provider.child.try_wait().unwrap().is_none() {
                    return provider;
                }
                assert!(Instant::now() < until, "the provider does not answer");
            }
        }
        panic!("the provider does not start");
    }

    fn description(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer)
    }

    /// Tells the easy-going provider what it knows of somebody.
    pub(super) async fn knows(&self, subject: &str, claims: Value) {
        let put = browser().put(format!("{}/users/{subject}", self.issuer)).json(&claims).send().await.unwrap();
        assert!(put.status().is_success(), "{put:?}");
    }

    /// What a person does at the easy-going provider who is sent there; gives where the browser is sent back to.
    pub(super) async fn sign_in(&self, page: &str, subject: &str) -> Url {
        let answer = browser().post(page).header("content-type", "application/x-www-form-urlencoded");
        let answer = answer.body(format!("sub={subject}")).send().await.unwrap();
        location(answer.headers()).parse().unwrap()
    }

    /// What a browser does at the certified provider that somebody sits before; nobody breaks the sign-in off.
    pub(super) async fn walk(&self, page: &str, who: Option<&str>) -> Url {
        let (mut url, mut cookies): (Url, Vec<String>) = (page.parse().unwrap(), Vec::new());
        for _ in 0..6 {
            if let Some(who) = who.filter(|_| url.path().starts_with("/person/")) {
                url.query_pairs_mut().append_pair("who", who);
            }
            let answer = browser().get(url.clone()).header(COOKIE, cookies.join("; ")).send().await.unwrap();
            for cookie in answer.headers().get_all(SET_COOKIE) {
                cookies.push(cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
            }
            url = url.join(location(answer.headers())).unwrap();
            if !url.as_str().starts_with(&self.issuer) {
                return url;
            }
        }
        panic!("the provider goes in circles, at last to {url}");
    }
}

fn port_of(command: &Command) -> u16 {
    command.get_args().find_map(|argument| argument.to_str()?.parse().ok()).expect("a port among the arguments")
}

fn location(headers: &HeaderMap) -> &str {
    headers.get(LOCATION).unwrap_or_else(|| panic!("no Location in {headers:?}")).to_str().unwrap()
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Follows no redirect and keeps no cookie by itself.
pub(super) fn browser() -> Client {
    Client::builder().no_proxy().redirect(Policy::none()).build().unwrap()
}
