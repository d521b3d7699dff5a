//! People as far as alerts are told to them.

use aivms_cloud_core::notify::preferences::Preferences;
use aivms_contract::id::{CameraId, EdgeId};

use super::super::alerts::AlertNews;
use super::super::sql::{Row, Transaction, values};
use super::super::{StoreError, TenantKey};

/// A user as far as telling goes.
pub(super) struct Person {
    pub key: i64,
    pub email: String,
    pub preferences: Preferences,
}

const SELECT_PERSON: &str = "select u.id, u.email, p.preferences from users u
    left join notification_preferences p on p.person = u.id";

/// People who were removed or may not sign in are told nothing.
const IS_THERE: &str = "u.removed_at is null and u.disabled_at is null";

pub(super) fn person(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    key: i64,
) -> Result<Option<Person>, StoreError> {
    let sql = format!("{SELECT_PERSON} where u.tenant = ?1 and u.id = ?2 and {IS_THERE}");
    transaction.first(&sql, &values![tenant.0, key], read_person)
}

/// People with preferences of their own, or with a browser that takes pushes.
pub(super) fn people_who_choose(
    transaction: &mut Transaction<'_>,
    news: &AlertNews,
) -> Result<Vec<Person>, StoreError> {
    let sql = format!(
        "{SELECT_PERSON} where u.tenant = ?1 and {IS_THERE} and (p.person is not null
            or exists (select 1 from push_subscriptions s where s.tenant = ?1 and s.person = u.id)) order by u.id"
    );
    transaction.all(&sql, &values![news.tenant.0], read_person)
}

fn read_person(row: &Row) -> Result<Person, StoreError> {
    let preferences = match row.get::<Option<String>>(2)? {
        Some(_) => row.json(2)?,
        None => Preferences::default(),
    };
    Ok(Person { key: row.get(0)?, email: row.get(1)?, preferences })
}

pub(super) fn subscriptions(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    person: i64,
) -> Result<Vec<String>, StoreError> {
    let sql = "select subscription_id from push_subscriptions where tenant = ?1 and person = ?2 order by id";
    transaction.all(sql, &values![tenant.0, person], |row| Ok(format!("push:{}", row.get::<String>(0)?)))
}

/// Whether a person may see what the alert is about; what is about no camera everybody may, as in the lists of alerts.
pub(super) fn sees(
    transaction: &mut Transaction<'_>,
    person: i64,
    edge: &EdgeId,
    camera: Option<&CameraId>,
) -> Result<bool, StoreError> {
    let all = "select 1 from users where id = ?1 and all_cameras = 1";
    if transaction.exists(all, &values![person])? {
        return Ok(true);
    }
    let own = "select 1 from user_cameras c join edges e on e.id = c.edge
               where c.person = ?1 and e.edge_id = ?2 and c.camera = ?3";
    match camera {
        Some(camera) => transaction.exists(own, &values![person, edge.as_str(), camera.as_str()]),
        None => Ok(true),
    }
}
