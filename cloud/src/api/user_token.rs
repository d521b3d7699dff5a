//! Tokens of people: short JWTs signed by the cloud itself.
//!
//! An access token is good for an hour, but each request also looks at the rows of its person and session, so that a
//! token ends at once with either. Its header names the secret that signed it (`kid`), so that the secret can be
//! replaced: for a while the cloud accepts what the one before has signed.

use std::fmt;
use std::time::Duration;

use aivms_cloud_core::people::SessionId;
use aivms_contract::time::UtcMillis;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Tried;
use crate::config::Secret;
use crate::store::{Credential, User, UserKey};

/// How long an access token is good. Clients of the source document know no refresh and sign in anew when it ends.
pub(super) const LIFE: Duration = Duration::from_secs(60 * 60);
/// How long after the password the second factor may be shown.
pub(super) const CHALLENGE_LIFE: Duration = Duration::from_secs(5 * 60);
const ACCESS: &str = "aivms-api";
const CHALLENGE: &str = "aivms-second-factor";

/// Signs user tokens with one secret and reads those of that and the one before.
#[derive(Clone)]
pub(super) struct UserTokens {
    signing: EncodingKey,
    kid: String,
    checking: Vec<(String, DecodingKey)>,
}

/// What an access token says; a look at the rows must confirm it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    pub credential: Credential,
    pub ends_at: UtcMillis,
}

/// Who has signed in but for the second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenged {
    pub user: UserKey,
    /// `token_generation` of then.
    pub generation: i64,
    /// The issuer of the tenant's provider, for who came through it; else it was by password.
    pub issuer: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// Row of the user, in decimal.
    sub: String,
    /// The session.
    sid: SessionId,
    /// Slug of the tenant, for whoever looks into the token.
    tenant: String,
    /// `token_generation` of the user when it was made.
    #[serde(rename = "gen")]
    generation: i64,
    aud: String,
    iat: i64,
    exp: i64,
}

/// What is known after the password, or the provider, and before the second factor.
#[derive(Debug, Serialize, Deserialize)]
struct ChallengeClaims {
    sub: String,
    /// The issuer of the tenant's provider, for who came through it; else it was by password.
    #[serde(default)]
    issuer: Option<String>,
    #[serde(rename = "gen")]
    generation: i64,
    aud: String,
    exp: i64,
}

impl UserTokens {
    /// Signs with `secret`; also reads what `previous` has signed.
    pub(super) fn new(secret: &Secret, previous: Option<&Secret>) -> Self {
        let checking = std::iter::once(secret).chain(previous);
        Self {
            signing: EncodingKey::from_secret(secret.reveal().as_bytes()),
            kid: kid(secret),
            checking: checking.map(|s| (kid(s), DecodingKey::from_secret(s.reveal().as_bytes()))).collect(),
        }
    }

    /// Makes an access token for `user` in `session`.
    pub(super) fn sign(&self, user: &User, session: &SessionId, now: UtcMillis) -> Tried<String> {
        self.encode(&Claims {
            sub: user.key.0.to_string(),
            sid: session.clone(),
            tenant: user.tenant_id.to_string(),
            generation: user.token_generation,
            aud: ACCESS.into(),
            iat: seconds(now),
            exp: seconds(now + LIFE),
        })
    }

    /// Reads an access token; `None` for one that was not made here, or has ended.
    pub(super) fn read(&self, token: &str) -> Option<Claimed> {
        let claims: Claims = self.decode(token, ACCESS)?;
        let user = UserKey(claims.sub.parse().ok()?);
        Some(Claimed {
            credential: Credential::Session { user, generation: claims.generation, session: claims.sid },
            ends_at: UtcMillis::from_millis(claims.exp.saturating_mul(1_000)),
        })
    }

    /// Makes the proof that `user` has signed in but for the second factor, through the provider `issuer` or by
    /// password.
    pub(super) fn challenge(&self, user: &User, issuer: Option<String>, now: UtcMillis) -> Tried<String> {
        self.encode(&ChallengeClaims {
            sub: user.key.0.to_string(),
            issuer,
            generation: user.token_generation,
            aud: CHALLENGE.into(),
            exp: seconds(now + CHALLENGE_LIFE),
        })
    }

    /// Who has signed in but for the second factor.
    pub(super) fn read_challenge(&self, token: &str) -> Option<Challenged> {
        let claims: ChallengeClaims = self.decode(token, CHALLENGE)?;
        let user = UserKey(claims.sub.parse().ok()?);
        Some(Challenged { user, generation: claims.generation, issuer: claims.issuer })
    }

    fn encode(&self, claims: &impl Serialize) -> Tried<String> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|error| {
            tracing::error!(%error, "signing a token");
            super::failure::Failure::internal()
        })
    }

    fn decode<T: DeserializeOwned>(&self, token: &str, audience: &str) -> Option<T> {
        // What the header says only chooses among our own secrets; the algorithm is fixed here.
        let named = jsonwebtoken::decode_header(token).ok()?.kid?;
        let (_, key) = self.checking.iter().find(|(kid, _)| *kid == named)?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["sub", "aud", "exp"]);
        rules.leeway = 0;
        jsonwebtoken::decode(token, key, &rules).ok().map(|data| data.claims)
    }
}

/// Names a secret without saying anything about it.
fn kid(secret: &Secret) -> String {
    hex::encode(&Sha256::new().chain_update("aivms kid").chain_update(secret.reveal()).finalize()[..8])
}

fn seconds(at: UtcMillis) -> i64 {
    at.as_millis() / 1_000
}

impl fmt::Debug for UserTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserTokens(..)")
    }
}

#[cfg(test)]
mod tests {
    use aivms_cloud_core::people::UserId;
    use aivms_cloud_core::rights::CameraScope;

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
            user_id: UserId::of("a").unwrap(),
            role: UserRole::Owner,
            cameras: CameraScope::All,
            password_hash: String::new(),
            token_generation: 3,
            disabled: false,
            second_factor: false,
            second_factor_required: false,
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.repeat(8))
    }

    fn tokens(text: &str) -> UserTokens {
        UserTokens::new(&secret(text), None)
    }

    fn token(tokens: &UserTokens, at: UtcMillis) -> String {
        tokens.sign(&user(), &"session_a".parse().unwrap(), at).unwrap()
    }

    #[test]
    fn a_token_reads_back_and_only_with_the_secret_that_made_it() {
        let token = token(&tokens("ours"), now());
        let claimed = tokens("ours").read(&token).unwrap();
        let session = "session_a".parse().unwrap();
        assert_eq!(claimed.credential, Credential::Session { user: UserKey(7), generation: 3, session });
        assert!(tokens("else").read(&token).is_none());
        assert!(tokens("ours").read(&format!("{token}x")).is_none());
        assert!(tokens("ours").read("").is_none());
    }

    #[test]
    fn a_token_ends_after_an_hour() {
        let token = token(&tokens("ours"), now() - LIFE - Duration::from_secs(1));
        assert!(tokens("ours").read(&token).is_none());
    }

    #[test]
    fn a_secret_that_was_replaced_still_reads_its_tokens_and_signs_none() {
        let both = UserTokens::new(&secret("next"), Some(&secret("ours")));
        assert!(both.read(&token(&tokens("ours"), now())).is_some());
        assert!(tokens("next").read(&token(&both, now())).is_some());
        assert!(tokens("ours").read(&token(&both, now())).is_none());
    }

    #[test]
    fn a_password_alone_is_no_token_and_a_token_is_no_password() {
        let ours = tokens("ours");
        let challenge = ours.challenge(&user(), None, now()).unwrap();
        assert_eq!(ours.read_challenge(&challenge), Some(Challenged { user: UserKey(7), generation: 3, issuer: None }));
        assert!(ours.read(&challenge).is_none());
        assert!(ours.read_challenge(&token(&ours, now())).is_none());
        let old = ours.challenge(&user(), None, now() - CHALLENGE_LIFE - Duration::from_secs(1)).unwrap();
        assert!(ours.read_challenge(&old).is_none());
    }

    #[test]
    fn a_token_of_another_algorithm_is_refused() {
        let claims = serde_json::json!({
            "sub": "7", "sid": "session_a", "tenant": "acme", "gen": 3, "aud": ACCESS, "iat": 0, "exp": 1u64 << 40,
        });
        for (algorithm, good) in [(Algorithm::HS256, true), (Algorithm::HS384, false), (Algorithm::HS512, false)] {
            let key = EncodingKey::from_secret(secret("ours").reveal().as_bytes());
            let header = Header { kid: Some(kid(&secret("ours"))), ..Header::new(algorithm) };
            let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
            assert_eq!(tokens("ours").read(&token).is_some(), good, "{algorithm:?}");
        }
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0.";
        assert!(tokens("ours").read(unsigned).is_none());
    }
}
