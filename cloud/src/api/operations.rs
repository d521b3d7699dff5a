//! The operations of the API, put together from the files of their nouns.
//!
//! In groups, because the framework takes at most sixteen parts side by side.

use std::sync::Arc;

use poem_openapi::OpenApiService;

use super::{
    Services, accounts, alerts, analytics, api_keys, audit, channels, clips, commands, deliveries, desired, docs,
    edge_devices, edge_media, edge_state, edges, events, footage, incidents, invitations, media_locks, operators,
    own_password, own_sessions, people, preferences, providers, retention, rules, second_factor, snapshots,
    tenant_deletion, tenant_exports,
};

/// All operations.
type Operations = (Accounts, Edges, Events, Footage, Notifications, Devices);

/// Builds the API.
pub(super) fn service(services: &Arc<Services>) -> OpenApiService<Operations, ()> {
    let operations = (
        account_operations(services),
        edge_operations(services),
        event_operations(services),
        footage_operations(services),
        notification_operations(services),
        device_operations(services),
    );
    OpenApiService::new(operations, "AIVMS cloud", env!("CARGO_PKG_VERSION")).description(docs::DESCRIPTION)
}

/// Tenants and the people in them.
type Accounts = (
    accounts::AccountsApi,
    own_sessions::SessionsApi,
    own_password::PasswordApi,
    second_factor::SecondFactorApi,
    people::PeopleApi,
    invitations::InvitationsApi,
    api_keys::ApiKeysApi,
    providers::ProviderSettingsApi,
    providers::ProviderSignInApi,
    audit::AuditApi,
    retention::RetentionApi,
    tenant_exports::TenantExportsApi,
    tenant_deletion::TenantDeletionApi,
);

fn account_operations(services: &Arc<Services>) -> Accounts {
    (
        accounts::AccountsApi(Arc::clone(services)),
        own_sessions::SessionsApi(Arc::clone(services)),
        own_password::PasswordApi(Arc::clone(services)),
        second_factor::SecondFactorApi(Arc::clone(services)),
        people::PeopleApi(Arc::clone(services)),
        invitations::InvitationsApi(Arc::clone(services)),
        api_keys::ApiKeysApi(Arc::clone(services)),
        providers::ProviderSettingsApi(Arc::clone(services)),
        providers::ProviderSignInApi(Arc::clone(services)),
        audit::AuditApi(Arc::clone(services)),
        retention::RetentionApi(Arc::clone(services)),
        tenant_exports::TenantExportsApi(Arc::clone(services)),
        tenant_deletion::TenantDeletionApi(Arc::clone(services)),
    )
}

/// Appliances, what they are told, and tools that listen to them.
type Edges =
    (edges::EdgesApi, edge_state::EdgeStateApi, desired::DesiredApi, commands::CommandsApi, operators::OperatorsApi);

fn edge_operations(services: &Arc<Services>) -> Edges {
    (
        edges::EdgesApi(Arc::clone(services)),
        edge_state::EdgeStateApi(Arc::clone(services)),
        desired::DesiredApi(Arc::clone(services)),
        commands::CommandsApi(Arc::clone(services)),
        operators::OperatorsApi(Arc::clone(services)),
    )
}

/// What edges saw, and the alerts made of it.
type Events = (events::EventsApi, analytics::AnalyticsApi, alerts::AlertsApi, incidents::IncidentsApi, rules::RulesApi);

fn event_operations(services: &Arc<Services>) -> Events {
    (
        events::EventsApi(Arc::clone(services)),
        analytics::AnalyticsApi(Arc::clone(services)),
        alerts::AlertsApi(Arc::clone(services)),
        incidents::IncidentsApi(Arc::clone(services)),
        rules::RulesApi(Arc::clone(services)),
    )
}

/// Video and pictures.
type Footage = (footage::FootageApi, clips::ClipsApi, snapshots::SnapshotsApi, media_locks::MediaLocksApi);

fn footage_operations(services: &Arc<Services>) -> Footage {
    (
        footage::FootageApi(Arc::clone(services)),
        clips::ClipsApi(Arc::clone(services)),
        snapshots::SnapshotsApi(Arc::clone(services)),
        media_locks::MediaLocksApi(Arc::clone(services)),
    )
}

/// Who is told of alerts.
type Notifications = (channels::ChannelsApi, deliveries::DeliveriesApi, preferences::PreferencesApi);

fn notification_operations(services: &Arc<Services>) -> Notifications {
    (
        channels::ChannelsApi(Arc::clone(services)),
        deliveries::DeliveriesApi(Arc::clone(services)),
        preferences::PreferencesApi(Arc::clone(services)),
    )
}

/// What edges themselves call.
type Devices = (edge_devices::EdgeDevicesApi, edge_media::EdgeMediaApi);

fn device_operations(services: &Arc<Services>) -> Devices {
    (edge_devices::EdgeDevicesApi(Arc::clone(services)), edge_media::EdgeMediaApi(Arc::clone(services)))
}
