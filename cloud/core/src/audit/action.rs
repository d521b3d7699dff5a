//! What can be done and is written down. The names are for ever: they stand in chains that can't be rewritten.

use std::fmt;
use std::str::FromStr;

/// Says that a text names no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an action such as user.signed_in, is {0:?}")]
pub struct UnknownAction(String);

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)*) => {
        /// What was done: `<noun>.<verb in the past>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the chain, in the API and in exports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, as a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)*
                }
            }
        }
    };
}

actions! {
    /// A tenant and its owner were made.
    TenantRegistered = "tenant.registered",
    /// The tenant's own settings were changed.
    TenantChanged = "tenant.changed",
    /// An export of everything of the tenant was asked for.
    TenantExportRequested = "tenant.export_requested",
    /// An export was written.
    TenantExportFinished = "tenant.export_finished",
    /// An export could not be written.
    TenantExportFailed = "tenant.export_failed",
    /// An export was deleted by hand.
    TenantExportDeleted = "tenant.export_deleted",
    /// An export was downloaded.
    TenantExportDownloaded = "tenant.export_downloaded",
    /// The deletion of the tenant was asked for; it begins after a grace time.
    TenantDeletionRequested = "tenant.deletion_requested",
    /// The deletion was called off.
    TenantDeletionCancelled = "tenant.deletion_cancelled",
    /// What is kept how long was changed.
    RetentionChanged = "retention.changed",
    /// Retention deleted something.
    RetentionDeleted = "retention.deleted",
    /// A person signed in.
    UserSignedIn = "user.signed_in",
    /// Somebody tried to sign in as a person and failed.
    UserSignInFailed = "user.sign_in_failed",
    /// Tries to sign in as a person are refused for a while.
    UserLockedOut = "user.locked_out",
    /// A person signed out.
    UserSignedOut = "user.signed_out",
    /// All sessions of a person were ended.
    UserSignedOutEverywhere = "user.signed_out_everywhere",
    /// A refresh token was used a second time; its sessions were ended.
    UserTokenReused = "user.token_reused",
    /// A person was invited.
    UserInvited = "user.invited",
    /// An invitation was withdrawn.
    UserInvitationWithdrawn = "user.invitation_withdrawn",
    /// An invited person joined.
    UserJoined = "user.joined",
    /// A person's name, role or state was changed.
    UserChanged = "user.changed",
    /// Which cameras a person may see was changed.
    UserRightsChanged = "user.rights_changed",
    /// A person was removed.
    UserRemoved = "user.removed",
    /// A password was changed by its owner.
    UserPasswordChanged = "user.password_changed",
    /// A mail to reset a password was asked for.
    UserPasswordResetRequested = "user.password_reset_requested",
    /// A password was reset by mail.
    UserPasswordReset = "user.password_reset",
    /// A second factor was set up.
    UserSecondFactorEnabled = "user.second_factor_enabled",
    /// A second factor was taken away.
    UserSecondFactorDisabled = "user.second_factor_disabled",
    /// New recovery codes were drawn; those before count no more.
    UserRecoveryCodesReplaced = "user.recovery_codes_replaced",
    /// An API key was made.
    ApiKeyCreated = "api_key.created",
    /// An API key was withdrawn.
    ApiKeyRevoked = "api_key.revoked",
    /// Sign-in through another provider was set up or changed.
    SsoChanged = "sso.changed",
    /// Sign-in through another provider was taken away.
    SsoRemoved = "sso.removed",
    /// An edge was registered.
    EdgeRegistered = "edge.registered",
    /// An edge proved its secret and got a certificate.
    EdgeEnrolled = "edge.enrolled",
    /// An edge got a new secret; its certificates were withdrawn.
    EdgeSecretRotated = "edge.secret_rotated",
    /// An edge renewed its certificate.
    EdgeCertificateRenewed = "edge.certificate_renewed",
    /// An edge was withdrawn.
    EdgeRevoked = "edge.revoked",
    /// An edge's name or labels were changed.
    EdgeChanged = "edge.changed",
    /// Two devices claim to be one edge.
    EdgeTakenOver = "edge.taken_over",
    /// The settings an edge shall run were changed.
    EdgeDesiredChanged = "edge.desired_changed",
    /// A command was sent to an edge: asking for a clip, locking footage and all others.
    CommandSent = "command.sent",
    /// A command was called off.
    CommandCancelled = "command.cancelled",
    /// An operator's certificate was made.
    OperatorCreated = "operator.created",
    /// An operator was withdrawn.
    OperatorRevoked = "operator.revoked",
    /// A rule was made.
    RuleCreated = "rule.created",
    /// A rule was changed.
    RuleChanged = "rule.changed",
    /// A rule was deleted.
    RuleDeleted = "rule.deleted",
    /// An alert was acknowledged.
    AlertAcknowledged = "alert.acknowledged",
    /// An alert was commented.
    AlertCommented = "alert.commented",
    /// An alert was given to a person.
    AlertAssigned = "alert.assigned",
    /// An alert was resolved.
    AlertResolved = "alert.resolved",
    /// An alert was opened again.
    AlertReopened = "alert.reopened",
    /// A way to notify was made.
    ChannelCreated = "channel.created",
    /// A way to notify was changed.
    ChannelChanged = "channel.changed",
    /// A way to notify was tried with a test message.
    ChannelTested = "channel.tested",
    /// A way to notify was switched off by the cloud, because its receiver wants no more.
    ChannelDisabled = "channel.disabled",
    /// A way to notify was deleted.
    ChannelDeleted = "channel.deleted",
    /// The secret of a way to notify was replaced.
    ChannelSecretRotated = "channel.secret_rotated",
    /// A delivery was sent again by hand.
    DeliveryRepeated = "delivery.repeated",
    /// A person changed what it is told of.
    PreferencesChanged = "preferences.changed",
    /// A browser takes pushes for a person from now on.
    BrowserSubscribed = "browser.subscribed",
    /// A browser takes no more pushes.
    BrowserUnsubscribed = "browser.unsubscribed",
    /// An address wants no more mails of alerts; whoever has the link of a mail may say so.
    MailRefused = "mail.refused",
    /// Live view or playback of a camera was opened.
    FootageViewed = "footage.viewed",
    /// A link to a clip was given out.
    ClipViewed = "clip.viewed",
    /// A clip was saved.
    ClipDownloaded = "clip.downloaded",
    /// A clip was locked: retention leaves it.
    ClipLocked = "clip.locked",
    /// A clip's lock was taken away.
    ClipUnlocked = "clip.unlocked",
    /// A link to a snapshot was given out.
    SnapshotViewed = "snapshot.viewed",
    /// A snapshot was saved.
    SnapshotDownloaded = "snapshot.downloaded",
    /// A snapshot was locked: retention leaves it.
    SnapshotLocked = "snapshot.locked",
    /// A snapshot's lock was taken away.
    SnapshotUnlocked = "snapshot.unlocked",
    /// The audit log itself was exported.
    AuditExported = "audit.exported",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = UnknownAction;
    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or_else(|| UnknownAction(text.to_owned()))
    }
}
