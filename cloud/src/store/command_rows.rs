//! Rows of the table of commands: how they are found and read.

use aivms_contract::command::Command;
use aivms_contract::id::CommandId;
use serde_json::{Map, Value as Json};

use super::commands::{CommandFilter, StoredCommand};
use super::sql::{Row, Value, values};
use super::{EdgeKey, StoreError, TenantKey};

/// Reads commands with [`read`]; joins and conditions follow.
pub(super) const COMMANDS: &str =
    "select c.id, c.command_id, c.created_at, c.expires_at, c.command, c.payload, c.camera, c.state,
        u.name, c.sent_at, c.ended_at, c.reason, c.data
    from commands c left join users u on u.id = c.created_by";

/// The statement of a page of an edge's commands, newest first, and its values; one more than `limit` is read.
pub(super) fn list_query(
    tenant: TenantKey,
    edge: EdgeKey,
    filter: &CommandFilter,
    before: Option<&CommandId>,
    limit: u32,
) -> (String, Vec<Value>) {
    let mut sql = format!("{COMMANDS} where c.tenant = ?1 and c.edge = ?2");
    let mut values: Vec<Value> = values![tenant.0, edge.0].into();
    let mut require = |column: &str, relation: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            sql += &format!(" and c.{column} {relation} ?{}", values.len());
        }
    };
    require("state", "=", filter.state.map(|state| state.as_str().into()));
    require("command", "=", filter.command.as_ref().map(Value::from));
    require("command_id", "<", before.map(|id| id.as_str().into()));
    if let Some(cameras) = &filter.cameras {
        let first = values.len() + 1;
        values.extend(cameras.iter().map(|camera| Value::from(camera.as_str())));
        let places: Vec<_> = (first..=values.len()).map(|n| format!("?{n}")).collect();
        sql += &if places.is_empty() {
            " and 1 = 0".to_owned()
        } else {
            format!(" and c.camera in ({})", places.join(", "))
        };
    }
    values.push(Value::from(limit + 1));
    sql += &format!(" order by c.command_id desc limit ?{}", values.len());
    (sql, values)
}

/// Reads a row of [`COMMANDS`].
pub(super) fn read(row: &Row) -> Result<StoredCommand, StoreError> {
    Ok(StoredCommand {
        row: row.get(0)?,
        command: Command {
            id: row.parsed(1)?,
            issued_at: row.time(2)?,
            expires_at: row.time(3)?,
            command: row.get(4)?,
            payload: object(&row.get::<String>(5)?)?,
        },
        camera: row.get::<Option<String>>(6)?.map(|id| id.parse()).transpose().map_err(wrong)?,
        state: row.parsed(7)?,
        created_by: row.get(8)?,
        sent_at: row.optional_time(9)?,
        ended_at: row.optional_time(10)?,
        reason: row.get(11)?,
        data: row.get::<Option<String>>(12)?.map(|data| object(&data)).transpose()?,
    })
}

fn object(json: &str) -> Result<Map<String, Json>, StoreError> {
    serde_json::from_str(json).map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> StoreError {
    StoreError::Database(format!("a stored command is damaged: {error}"))
}
