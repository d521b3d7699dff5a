//! What people chose for themselves: preferences, browsers that take pushes, addresses that want no mail.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::notify::id::SubscriptionId;
use aivms_cloud_core::notify::preferences::Preferences;
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};

use super::sql::{Row, values};
use super::{Store, StoreError, TenantKey, UserKey, audit};

/// Most browsers of one person; each is called for each alert. The oldest one goes when there is another.
const MAX_SUBSCRIPTIONS: i64 = 20;

/// A browser that takes pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSubscription {
    /// Its identifier.
    pub subscription_id: SubscriptionId,
    /// Where its push service takes messages.
    pub endpoint: String,
    /// Its public key in base64url.
    pub p256dh: String,
    /// What it shares with its senders, in base64url.
    pub auth: String,
    /// What its owner calls it.
    pub label: String,
    /// When it was subscribed.
    pub created_at: UtcMillis,
}

impl Store {
    /// What a person chose; the defaults when it never did.
    ///
    /// # Errors
    /// The database's own.
    pub async fn preferences(&self, person: UserKey) -> Result<Preferences, StoreError> {
        let sql = "select preferences from notification_preferences where person = ?1";
        self.lookup(move |transaction| {
            Ok(transaction.first(sql, &values![person.0], |row| row.json(0))?.unwrap_or_default())
        })
        .await
    }

    /// Replaces what a person chose. Whoever chooses mail wants mail again, though its address refused it before.
    ///
    /// # Errors
    /// The database's own.
    pub async fn set_preferences(
        &self,
        tenant: TenantKey,
        person: UserKey,
        preferences: Preferences,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(&preferences).map_err(|error| StoreError::Database(error.to_string()))?;
        self.write(move |transaction| {
            transaction.execute(
                "insert into notification_preferences (person, tenant, preferences) values (?1, ?2, ?3)
                 on conflict (person) do update set preferences = ?3",
                &values![person.0, tenant.0, &text],
            )?;
            if preferences.mail {
                let sql = "delete from mail_refusals where tenant = ?1
                           and address = (select email from users where id = ?2)";
                transaction.execute(sql, &values![tenant.0, person.0])?;
            }
            audit::note(transaction, tenant, Action::PreferencesChanged, None, json!(preferences), now)
        })
        .await
    }

    /// Subscribes a browser. One that was subscribed before, by whomever, is the person's from now on.
    ///
    /// # Errors
    /// The database's own.
    pub async fn subscribe_push(
        &self,
        tenant: TenantKey,
        person: UserKey,
        subscription: PushSubscription,
    ) -> Result<PushSubscription, StoreError> {
        self.write(move |transaction| {
            let new = &subscription;
            transaction.execute("delete from push_subscriptions where endpoint = ?1", &values![&new.endpoint])?;
            transaction.execute(
                "delete from push_subscriptions where id in (select id from push_subscriptions
                    where tenant = ?1 and person = ?2 order by id desc limit 1000 offset ?3)",
                &values![tenant.0, person.0, MAX_SUBSCRIPTIONS - 1],
            )?;
            transaction.execute(
                "insert into push_subscriptions (tenant, person, subscription_id, endpoint, p256dh, auth, label, created_at)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                &values![
                    tenant.0,
                    person.0,
                    new.subscription_id.as_str(),
                    &new.endpoint,
                    &new.p256dh,
                    &new.auth,
                    &new.label,
                    new.created_at,
                ],
            )?;
            let (id, detail) = (new.subscription_id.as_str(), json!({ "label": new.label }));
            audit::note(transaction, tenant, Action::BrowserSubscribed, Some(id), detail, new.created_at)?;
            Ok(subscription.clone())
        })
        .await
    }

    /// A person's browsers, by the time they were subscribed.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_push_subscriptions(
        &self,
        tenant: TenantKey,
        person: UserKey,
    ) -> Result<Vec<PushSubscription>, StoreError> {
        let sql = format!("{SELECT} where tenant = ?1 and person = ?2 order by id");
        self.list(tenant, move |transaction| transaction.all(&sql, &values![tenant.0, person.0], read)).await
    }

    /// A browser by its identifier; `None` when it is subscribed no more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn push_subscription(
        &self,
        tenant: TenantKey,
        id: String,
    ) -> Result<Option<PushSubscription>, StoreError> {
        let sql = format!("{SELECT} where tenant = ?1 and subscription_id = ?2");
        self.lookup(move |transaction| transaction.first(&sql, &values![tenant.0, id], read)).await
    }

    /// Ends the subscription of a person's browser.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn unsubscribe_push(
        &self,
        tenant: TenantKey,
        person: UserKey,
        id: SubscriptionId,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        let sql = "delete from push_subscriptions where tenant = ?1 and person = ?2 and subscription_id = ?3";
        self.write(move |transaction| match transaction.execute(sql, &values![tenant.0, person.0, id.as_str()])? {
            0 => Err(StoreError::NotFound),
            _ => audit::note(transaction, tenant, Action::BrowserUnsubscribed, Some(id.as_str()), Json::Null, now),
        })
        .await
    }

    /// Forgets a browser whose push service knows it no more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn forget_push_subscription(&self, tenant: TenantKey, id: String) -> Result<(), StoreError> {
        let sql = "delete from push_subscriptions where tenant = ?1 and subscription_id = ?2";
        self.write(move |transaction| transaction.execute(sql, &values![tenant.0, &id])).await.map(drop)
    }

    /// An address wants no more mails of alerts of this tenant. Doing it twice is doing it once.
    ///
    /// # Errors
    /// The database's own.
    pub async fn refuse_mail(&self, tenant: TenantKey, address: String, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let refused = transaction.execute(
                "insert into mail_refusals (tenant, address, refused_at) values (?1, ?2, ?3)
                 on conflict (tenant, address) do nothing",
                &values![tenant.0, &address, now],
            )?;
            if refused == 0 {
                return Ok(());
            }
            transaction.execute(
                "update deliveries set state = 4, finished_at = ?3, last_error = 'the address wants no more mails'
                 where tenant = ?1 and receiver = ?2 and state = 1",
                &values![tenant.0, format!("mail:{address}"), now],
            )?;
            audit::note(transaction, tenant, Action::MailRefused, Some(&address), Json::Null, now)
        })
        .await
    }
}

const SELECT: &str = "select subscription_id, endpoint, p256dh, auth, label, created_at from push_subscriptions";

fn read(row: &Row) -> Result<PushSubscription, StoreError> {
    Ok(PushSubscription {
        subscription_id: row.parsed(0)?,
        endpoint: row.get(1)?,
        p256dh: row.get(2)?,
        auth: row.get(3)?,
        label: row.get(4)?,
        created_at: row.time(5)?,
    })
}
