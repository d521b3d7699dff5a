//! Whom a provider's code stands for: everything that is checked of the provider's answers.

use aivms_cloud_core::account;
use openidconnect::core::{CoreGenderClaim, CoreIdTokenVerifier, CoreJwsSigningAlgorithm as Algorithm};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, EndUserEmail, EndUserName, IdTokenClaims, LocalizedClaim, Nonce,
    OAuth2TokenResponse as _, PkceCodeVerifier, SubjectIdentifier, TokenResponse as _, UserInfoClaims,
};
use serde_json::Value;

use super::calls::{MoreClaims, ProviderCalls, ProviderClient, ProviderIdToken};
use super::refusal::Refusal;
use crate::store::Identified;

/// What a provider may sign with. None of them works with the client's secret, and `none` is not among them.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];
/// The issuer of Google's accounts, of organisations and of everybody else.
const GOOGLE: &str = "https://accounts.google.com";
/// Longest name of a person at a provider (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT: usize = 255;

/// What a code must fit.
pub(super) struct Expected {
    /// What the token must hold.
    pub nonce: Nonce,
    /// What the code was asked for with.
    pub verifier: PkceCodeVerifier,
}

/// What a provider says of somebody.
#[derive(Debug, Default)]
struct Said {
    email: Option<String>,
    verified: bool,
    name: Option<String>,
}

/// Asks the provider whom its code stands for, and checks the answer.
pub(super) async fn identify(
    client: &ProviderClient,
    calls: &ProviderCalls,
    code: AuthorizationCode,
    expected: Expected,
) -> Result<Identified, Refusal> {
    let exchange = client.exchange_code(code).map_err(|error| Refusal::provider("its token endpoint", error))?;
    let answer = exchange.set_pkce_verifier(expected.verifier).request_async(calls).await;
    let answer = answer.map_err(|error| Refusal::provider("exchanging the code", error))?;
    let token = answer.id_token().ok_or_else(|| Refusal::Provider("there is no id token".into()))?;
    let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
    let wrong = |error| Refusal::provider("the id token", error);
    // Signature, issuer, audience, times and nonce.
    let claims = token.claims(&verifier, &expected.nonce).map_err(wrong)?;
    if is_consumer(claims.issuer().as_str(), claims.additional_claims()) {
        return Err(Refusal::Unverified);
    }
    let mut said = said_in_token(claims);
    if said.email.is_none() && client.user_info_url().is_some() {
        check_access_token(token, &verifier, answer.access_token(), claims.access_token_hash())?;
        said = ask(client, calls, answer.access_token(), claims.subject()).await?;
    }
    identified(claims.subject().as_str(), said)
}

/// Whether the access token is the one that came with the id token, where that names it (`at_hash`).
fn check_access_token(
    token: &ProviderIdToken,
    verifier: &CoreIdTokenVerifier<'_>,
    access_token: &AccessToken,
    named: Option<&AccessTokenHash>,
) -> Result<(), Refusal> {
    let Some(named) = named else { return Ok(()) };
    let wrong = |error| Refusal::provider("the id token", error);
    let (algorithm, key) = (token.signing_alg().map_err(wrong)?, token.signing_key(verifier).map_err(wrong)?);
    let hash = AccessTokenHash::from_token(access_token, algorithm, key);
    if hash.map_err(|error| Refusal::provider("the access token", error))? != *named {
        return Err(Refusal::Provider("the access token is not the one of the id token".into()));
    }
    Ok(())
}

/// Asks the provider what it knows of the person: the standard lets it say so there only (OpenID Connect Core 1.0,
/// section 5.4).
async fn ask(
    client: &ProviderClient,
    calls: &ProviderCalls,
    access_token: &AccessToken,
    subject: &SubjectIdentifier,
) -> Result<Said, Refusal> {
    const DOING: &str = "what it knows of the person";
    let asked = client.user_info(access_token.clone(), Some(subject.clone()));
    let asked = asked.map_err(|error| Refusal::provider(DOING, error))?;
    let known: Result<UserInfoClaims<MoreClaims, CoreGenderClaim>, _> = asked.request_async(calls).await;
    Ok(said_beside(&known.map_err(|error| Refusal::provider(DOING, error))?))
}

fn said_in_token(claims: &IdTokenClaims<MoreClaims, CoreGenderClaim>) -> Said {
    Said {
        email: claims.email().map(plain_email),
        verified: is_verified(claims.email_verified(), claims.additional_claims()),
        name: claims.name().and_then(plain_name),
    }
}

fn said_beside(claims: &UserInfoClaims<MoreClaims, CoreGenderClaim>) -> Said {
    Said {
        email: claims.email().map(plain_email),
        verified: is_verified(claims.email_verified(), claims.additional_claims()),
        name: claims.name().and_then(plain_name),
    }
}

fn plain_email(email: &EndUserEmail) -> String {
    email.as_str().to_owned()
}

fn plain_name(name: &LocalizedClaim<EndUserName>) -> Option<String> {
    name.get(None).map(|name| name.as_str().to_owned())
}

/// Whether it is an account of Google's that belongs to no organisation. Google calls its address verified even when that
/// is of a company whose Workspace knows nothing of the account, so that whoever has left would keep it.
fn is_consumer(issuer: &str, more: &MoreClaims) -> bool {
    issuer.trim_end_matches('/') == GOOGLE && more.hd.is_none()
}

/// Entra ID writes its own claim as a boolean, a number or a text.
fn is_verified(standard: Option<bool>, more: &MoreClaims) -> bool {
    let by_entra = match &more.xms_edov {
        Some(Value::Bool(verified)) => *verified,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => text == "1" || text == "true",
        _ => false,
    };
    standard.unwrap_or(by_entra)
}

fn identified(subject: &str, said: Said) -> Result<Identified, Refusal> {
    let is_subject =
        (1..=MAX_SUBJECT).contains(&subject.len()) && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_subject {
        return Err(Refusal::Provider("its name for the person is not 1 to 255 characters of ASCII".into()));
    }
    let email = said.email.ok_or_else(|| Refusal::Provider("it says no address of the person".into()))?;
    if !said.verified {
        return Err(Refusal::Unverified);
    }
    let email = account::normalized_email(&email).map_err(|error| Refusal::provider("the person's address", error))?;
    let name = said.name.and_then(|name| account::display_name(&name).ok()).unwrap_or_else(|| email.clone());
    Ok(Identified { subject: subject.to_owned(), email, name })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_counts_as_verified_only_when_the_provider_says_so() {
        for (standard, entra, verified) in [
            (Some(true), json!(null), true),
            (Some(false), json!(null), false),
            (None, json!(null), false),
            (None, json!(true), true),
            (None, json!(1), true),
            (None, json!("1"), true),
            (None, json!("true"), true),
            (None, json!(0), false),
            (None, json!("no"), false),
            (None, json!([true]), false),
            (Some(false), json!(true), false),
        ] {
            let more: MoreClaims = serde_json::from_value(json!({ "xms_edov": entra })).unwrap();
            assert_eq!(is_verified(standard, &more), verified, "{standard:?} {entra}");
        }
    }

    #[test]
    fn an_account_of_googles_that_belongs_to_no_organisation_is_not_vouched_for() {
        let [consumer, workspace] = [json!({}), json!({ "hd": "acme.example" })]
            .map(|claims| serde_json::from_value::<MoreClaims>(claims).unwrap());
        assert!(is_consumer("https://accounts.google.com", &consumer));
        assert!(!is_consumer("https://accounts.google.com", &workspace));
        assert!(!is_consumer("https://login.acme.example", &consumer));
    }

    #[test]
    fn what_a_provider_says_of_a_person_is_checked_before_it_is_kept() {
        let said =
            |email: &str, verified, name: &str| Said { email: Some(email.into()), verified, name: Some(name.into()) };
        let sam = identified("sam", said("Sam@Acme.example", true, "Sam Guard")).unwrap();
        assert_eq!((sam.email.as_str(), sam.name.as_str()), ("sam@acme.example", "Sam Guard"));
        let nameless = identified("sam", said("sam@acme.example", true, "a\0b")).unwrap();
        assert_eq!(nameless.name, "sam@acme.example");
        for subject in ["", "a\0b", "süß", &"x".repeat(256)] {
            let refused = identified(subject, said("sam@acme.example", true, "Sam"));
            assert!(matches!(refused, Err(Refusal::Provider(_))), "{subject:?}");
        }
        assert!(matches!(identified("sam", said("sam", true, "Sam")), Err(Refusal::Provider(_))));
        assert!(matches!(identified("sam", Said::default()), Err(Refusal::Provider(_))));
        assert!(matches!(identified("sam", said("sam@acme.example", false, "Sam")), Err(Refusal::Unverified)));
    }
}
