//! The cloud's HTTP API as a user's program sees it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The password of every owner.
const PASSWORD: &str = "correct horse battery";

/// A signed-in user.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    http: reqwest::Client,
    token: String,
}

impl Api {
    /// Registers a tenant and signs in as its owner.
    ///
    /// # Errors
    /// The cloud refuses.
    pub async fn register(base: &str, tenant: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let account = json!({
            "tenant_name": tenant,
            "email": format!("owner@{tenant}.example"),
            "password": PASSWORD,
            "name": "Owner",
        });
        Self::with_token_of(http, base, "register", account).await
    }

    /// Signs in as the owner of a registered tenant.
    ///
    /// # Errors
    /// The cloud refuses.
    pub async fn sign_in(base: &str, tenant: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let credentials = json!({ "email": format!("owner@{tenant}.example"), "password": PASSWORD });
        Self::with_token_of(http, base, "login", credentials).await
    }

    async fn with_token_of(http: reqwest::Client, base: &str, way: &str, body: Value) -> Result<Self> {
        let answer = http.post(format!("{base}/api/auth/{way}")).json(&body).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "{way}: {status} {body}");
        let token = body["token"].as_str().context("token")?.to_owned();
        Ok(Self { base: base.to_owned(), http, token })
    }

    /// The same user at another address of the cloud (after a restart on another port).
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The bearer token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// The cloud is away or refuses.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "GET {path}: {status} {body}");
        Ok(body)
    }

    /// Creates a resource or calls an operation.
    ///
    /// # Errors
    /// The cloud is away or refuses.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        let answer = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(&body).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or(Value::Null);
        ensure!(status.is_success(), "POST {path}: {status} {body}");
        Ok(body)
    }

    /// Registers an edge; returns its id and one-time secret.
    ///
    /// # Errors
    /// The cloud is away or refuses.
    pub async fn register_edge(&self, name: &str) -> Result<(String, String)> {
        let edge = self.post("/api/tenant/edges", json!({ "name": name })).await?;
        let text = |key: &str| edge[key].as_str().map(str::to_owned).with_context(|| format!("{key} in {edge}"));
        Ok((text("edge_id")?, text("edge_secret")?))
    }

    /// All rows of a list, page after page, newest first.
    ///
    /// # Errors
    /// The cloud is away or refuses.
    pub async fn list_all(&self, path: &str) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let join = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{join}limit=200{cursor}")).await?;
            rows.extend(page["items"].as_array().context("items")?.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(rows),
            }
        }
    }
}
