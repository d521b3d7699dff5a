//! What the cloud asks a provider, by the rules for addresses that users name.

use futures_util::future::BoxFuture;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, AuthType, Client, ClientId, ClientSecret, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdToken, IdTokenFields, IssuerUrl,
    RedirectUrl, StandardErrorResponse, StandardTokenResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Services;
use crate::notify::guard::{CallError, GuardedClient, one_line};
use crate::store::Provider;

/// Largest answer of a provider in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Claims beside those of the standard.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub(super) struct MoreClaims {
    /// Entra ID's word for `email_verified`: the owner of the address's domain has verified it.
    #[serde(default)]
    pub(super) xms_edov: Option<Value>,
    /// Google's word for the organisation whose account it is; a consumer's account has none.
    #[serde(default)]
    pub(super) hd: Option<String>,
}

impl AdditionalClaims for MoreClaims {}

/// The token by which a provider says who somebody is.
pub(super) type ProviderIdToken =
    IdToken<MoreClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// The answer to the provider's code.
type TokenAnswer = StandardTokenResponse<
    IdTokenFields<
        MoreClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// The cloud as a client of a provider that has described itself.
pub(super) type ProviderClient = Client<
    MoreClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The cloud as a client of the tenant's provider. The error is for the log.
pub(super) async fn client(
    services: &Services,
    provider: &Provider,
    redirect: RedirectUrl,
) -> Result<ProviderClient, String> {
    let secret = services.sealer.open(&provider.client_secret).and_then(|bytes| String::from_utf8(bytes).ok());
    let secret = secret.ok_or("the provider's secret was sealed with a secret that is gone: set it again")?;
    let metadata = discover(services, &provider.issuer).await?;
    let auth_type = auth_type(&metadata);
    let client_id = ClientId::new(provider.client_id.clone());
    let client = ProviderClient::from_provider_metadata(metadata, client_id, Some(ClientSecret::new(secret)));
    Ok(client.set_redirect_uri(redirect).set_auth_type(auth_type))
}

/// Has a provider describe itself, keys included. It is asked at each sign-in: a key that it took out of use counts no
/// more, and a new one at once. The error follows the word issuer.
pub(super) async fn discover(services: &Services, issuer: &str) -> Result<CoreProviderMetadata, String> {
    let url = IssuerUrl::new(issuer.to_owned()).map_err(|error| format!("must be an address: {error}"))?;
    if url.url().query().is_some() || url.url().fragment().is_some() {
        return Err("must be an address without ? and #".into());
    }
    let metadata = CoreProviderMetadata::discover_async(url, &ProviderCalls::of(services)).await;
    // It may quote what the provider said.
    metadata
        .map_err(|error| one_line(&format!("the provider does not describe itself: {:#}", anyhow::Error::new(error))))
}

/// How the cloud shows its secret: in the header, unless the provider takes it in the body only.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    let methods = metadata.token_endpoint_auth_methods_supported().map(Vec::as_slice).unwrap_or_default();
    let takes = |method| methods.contains(&method);
    if takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic) {
        return AuthType::RequestBody;
    }
    AuthType::BasicAuth
}

/// Calls providers by the rules for addresses that users name.
pub(super) struct ProviderCalls(GuardedClient);

impl ProviderCalls {
    pub(super) fn of(services: &Services) -> Self {
        Self(services.settings.guarded.clone())
    }
}

impl<'c> AsyncHttpClient<'c> for ProviderCalls {
    type Error = CallError;
    type Future = BoxFuture<'static, Result<HttpResponse, CallError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move { client.exchange(request, MAX_ANSWER_BYTES).await })
    }
}
