//! Tokens of people: short JWTs signed by the cloud itself.

use std::fmt;
use std::time::Duration;

use aivms_contract::time::UtcMillis;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::store::{User, UserKey};

/// How long a token is good.
pub(super) const LIFE: Duration = Duration::from_secs(60 * 60);
const AUDIENCE: &str = "aivms-api";

/// Signs and reads user tokens with one secret.
#[derive(Clone)]
pub(super) struct UserTokens {
    signing: EncodingKey,
    checking: DecodingKey,
    rules: Validation,
}

/// What a token says; a look at the user's row must confirm it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claimed {
    pub user: UserKey,
    pub generation: i64,
    pub ends_at: UtcMillis,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// Row of the user, in decimal.
    sub: String,
    /// Slug of the tenant, for whoever looks into the token.
    tenant: String,
    /// `token_generation` of the user when it was made.
    #[serde(rename = "gen")]
    generation: i64,
    aud: String,
    iat: i64,
    exp: i64,
}

impl UserTokens {
    pub(super) fn new(secret: &Secret) -> Self {
        let secret = secret.reveal().as_bytes();
        // The algorithm is fixed here; what a token's header says can only agree or be refused.
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["sub", "aud", "exp"]);
        rules.leeway = 0;
        Self { signing: EncodingKey::from_secret(secret), checking: DecodingKey::from_secret(secret), rules }
    }

    /// Makes a token for `user`.
    pub(super) fn sign(&self, user: &User, now: UtcMillis) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            sub: user.key.0.to_string(),
            tenant: user.tenant_id.to_string(),
            generation: user.token_generation,
            aud: AUDIENCE.into(),
            iat: now.as_millis() / 1_000,
            exp: (now + LIFE).as_millis() / 1_000,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// Reads a token; `None` for one that was not made here, or has ended.
    pub(super) fn read(&self, token: &str) -> Option<Claimed> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.rules).ok()?.claims;
        Some(Claimed {
            user: UserKey(claims.sub.parse().ok()?),
            generation: claims.generation,
            ends_at: UtcMillis::from_millis(claims.exp.saturating_mul(1_000)),
        })
    }
}

impl fmt::Debug for UserTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserTokens(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;
    use crate::store::{TenantKey, UserRole};

    fn user() -> User {
        User {
            key: UserKey(7),
            tenant: TenantKey(1),
            tenant_id: "acme".parse().unwrap(),
            tenant_name: "Acme".into(),
            email: "a@example.com".into(),
            name: "A".into(),
            role: UserRole::Owner,
            password_hash: String::new(),
            token_generation: 3,
        }
    }

    fn tokens(secret: &str) -> UserTokens {
        UserTokens::new(&Secret::new(secret.repeat(8)))
    }

    #[test]
    fn a_token_reads_back_and_only_with_the_secret_that_made_it() {
        let token = tokens("ours").sign(&user(), now()).unwrap();
        let claimed = tokens("ours").read(&token).unwrap();
        assert_eq!((claimed.user, claimed.generation), (UserKey(7), 3));
        assert!(tokens("else").read(&token).is_none());
        assert!(tokens("ours").read(&format!("{token}x")).is_none());
        assert!(tokens("ours").read("").is_none());
    }

    #[test]
    fn a_token_ends_after_an_hour() {
        let token = tokens("ours").sign(&user(), now() - LIFE - Duration::from_secs(1)).unwrap();
        assert!(tokens("ours").read(&token).is_none());
    }

    #[test]
    fn a_token_of_another_algorithm_is_refused() {
        let secret = "ours".repeat(8);
        let claims =
            serde_json::json!({"sub": "7", "tenant": "acme", "gen": 3, "aud": AUDIENCE, "iat": 0, "exp": 1u64 << 40});
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let key = EncodingKey::from_secret(secret.as_bytes());
            let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap();
            assert!(tokens("ours").read(&token).is_none(), "{algorithm:?}");
        }
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0.";
        assert!(tokens("ours").read(unsigned).is_none());
    }
}
