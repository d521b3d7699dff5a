//! Sign-in through a provider of the tenant's own (OpenID Connect, authorization code with PKCE).
//!
//! The browser goes `start` → provider → `callback` → the page `/sign-in`, where it finds a code that is good once and
//! for a minute. Whoever began the sign-in exchanges that for tokens. What belongs together is bound by the state
//! (answer to flow), a cookie (flow to browser), the address of return (answer to tenant), the nonce (identity to
//! flow), PKCE (the provider's code to flow) and a second PKCE (our code to who began).

mod browser;
mod calls;
mod identity;
mod page;
mod refusal;
mod settings;

use aivms_contract::id::TenantId;
use openidconnect::RedirectUrl;

pub(super) use self::browser::ProviderSignInApi;
pub(super) use self::page::add;
pub(super) use self::settings::ProviderSettingsApi;
use super::Services;

/// Where a tenant's provider sends browsers back to; `None` while the cloud does not know its own address. Each tenant
/// has its own, so that one tenant's provider can't have browsers bring it what another's gave (RFC 9700, section 4.4).
fn redirect_url(services: &Services, tenant: &TenantId) -> Option<RedirectUrl> {
    let base = services.public_url()?.trim_end_matches('/');
    RedirectUrl::new(format!("{base}/api/auth/provider/{tenant}/callback")).ok()
}
