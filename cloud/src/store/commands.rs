//! Commands: stored, told to their edge, ended once.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::command::{CommandState, Deadlines, Happening, Unchanged};
use aivms_contract::command::{Command, CommandResult};
use aivms_contract::id::{CameraId, CommandId, EdgeId};
use aivms_contract::time::UtcMillis;
use serde_json::{Map, Value as Json, json};

use super::command_rows::{COMMANDS, list_query, read};
use super::edges::edge_key;
use super::lists::Page;
use super::sql::{Transaction, values};
use super::{EdgeKey, News, Store, StoreError, TenantKey, UserKey, audit};

/// Commands of one edge that have not ended, above which it is given no more: enough for a day of clips, few enough
/// to be told at once when the edge comes back.
pub const MAX_OPEN: u32 = 200;
/// Commands given up in one transaction.
const GIVE_UP_AT_ONCE: u32 = 500;

/// A command to be stored.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// What the edge will be told.
    pub command: Command,
    /// The camera it is about.
    pub camera: Option<CameraId>,
    /// Until when what is done about it; the expiry is the command's own.
    pub deadlines: Deadlines,
    /// Who asks.
    pub by: UserKey,
}

/// A command as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCommand {
    /// Its row, which [`News::Command`] names.
    pub row: i64,
    /// What the edge is told.
    pub command: Command,
    /// The camera it is about; `None` when it concerns the whole edge.
    pub camera: Option<CameraId>,
    /// Where it is in its life.
    pub state: CommandState,
    /// Name of who asked, while that user exists.
    pub created_by: Option<String>,
    /// When the edge was told first.
    pub sent_at: Option<UtcMillis>,
    /// When it ended.
    pub ended_at: Option<UtcMillis>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What it returned.
    pub data: Option<Map<String, Json>>,
}

/// Which commands a list shows; `None` means all.
#[derive(Debug, Clone, Default)]
pub struct CommandFilter {
    /// In this state.
    pub state: Option<CommandState>,
    /// With this name.
    pub command: Option<String>,
    /// About one of these cameras; commands that concern the whole edge are left out then.
    pub cameras: Option<Vec<CameraId>>,
}

/// What became of a command that was to be taken back.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancelled {
    /// It is taken back.
    Done(Box<StoredCommand>),
    /// It can't be.
    Not(Unchanged),
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFate {
    /// It is the command's final answer.
    Recorded,
    /// The command had ended before; its end stays.
    Late,
    /// This edge was never given such a command.
    Unknown,
}

impl Store {
    /// Stores a command for an edge that counts.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there or was withdrawn, [`StoreError::TooMany`].
    pub async fn create_command(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        new: NewCommand,
    ) -> Result<StoredCommand, StoreError> {
        let edge_id = edge_id.clone();
        self.write(move |transaction| create(transaction, tenant, &edge_id, &new)).await
    }

    /// One command of an edge of the tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn command(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        id: &CommandId,
    ) -> Result<Option<StoredCommand>, StoreError> {
        let (edge_id, id) = (edge_id.clone(), id.clone());
        self.lookup(move |transaction| find(transaction, tenant, &edge_id, &id)).await
    }

    /// A page of an edge's commands, newest first; `before` is the last one of the page before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn list_commands(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        filter: CommandFilter,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Page<StoredCommand>, StoreError> {
        let edge_id = edge_id.clone();
        self.list(tenant, move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            let (sql, values) = list_query(tenant, edge, &filter, before.as_ref(), limit);
            Ok(Page::of(transaction.all(&sql, &values, read)?, limit))
        })
        .await
    }

    /// Takes a command back that its edge has not been told of.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn cancel_command(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        id: &CommandId,
        now: UtcMillis,
    ) -> Result<Cancelled, StoreError> {
        let (edge_id, id) = (edge_id.clone(), id.clone());
        self.write(move |transaction| {
            let found = find(transaction, tenant, &edge_id, &id)?.ok_or(StoreError::NotFound)?;
            match found.state.after(Happening::Cancelled) {
                Err(unchanged) => Ok(Cancelled::Not(unchanged)),
                Ok(state) => {
                    end(transaction, found.row, state, now, None, None)?;
                    let ended = find(transaction, tenant, &edge_id, &id)?.ok_or(StoreError::NotFound)?;
                    note(transaction, tenant, Action::CommandCancelled, &edge_id, &ended, now)?;
                    Ok(Cancelled::Done(Box::new(ended)))
                }
            }
        })
        .await
    }

    /// What an edge is to be told now, in the order of asking. What was queued counts as sent from now on, so that it
    /// is not taken back while it is on its way.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_orders(&self, edge: EdgeKey, now: UtcMillis) -> Result<Vec<Command>, StoreError> {
        let open = self.lookup(move |transaction| orders(transaction, edge, now)).await?;
        if !open.iter().any(|(state, _)| *state == CommandState::Queued) {
            return Ok(open.into_iter().map(|(_, command)| command).collect());
        }
        self.write(move |transaction| {
            let queued = transaction.all(
                "update commands set state = 'sent', sent_at = ?2, due = give_up_at
                 where edge = ?1 and ended_at is null and state = 'queued' and expires_at > ?2 returning id",
                &values![edge.0, now],
                |row| row.get(0),
            )?;
            queued.into_iter().for_each(|row| transaction.announce(News::Command(row)));
            Ok(orders(transaction, edge, now)?.into_iter().map(|(_, command)| command).collect())
        })
        .await
    }

    /// Edges that have something to be told: an open command, or a desired document they have not answered.
    ///
    /// # Errors
    /// The database's own.
    pub async fn edges_with_orders(&self) -> Result<Vec<EdgeKey>, StoreError> {
        let sql = "select edge from commands where ended_at is null
                   union
                   select p.edge from (
                       select e.id as edge, (
                           select d.version from desired_documents d where d.edge = e.id order by d.version desc limit 1
                       ) as newest from edges e where e.revoked_at is null
                   ) p left join reported_states r on r.edge = p.edge where p.newest > coalesce(r.version, 0)";
        self.lookup(move |transaction| transaction.all(sql, &[], |row| row.get(0).map(EdgeKey))).await
    }

    /// Writes an answer down as the final one, if the command has none.
    ///
    /// # Errors
    /// The database's own.
    pub async fn record_answer(
        &self,
        edge: EdgeKey,
        answer: CommandResult,
        now: UtcMillis,
    ) -> Result<AnswerFate, StoreError> {
        self.write(move |transaction| {
            let found = transaction.first(
                "select id, state from commands where edge = ?1 and command_id = ?2",
                &values![edge.0, answer.id.as_str()],
                |row| Ok((row.get::<i64>(0)?, row.parsed::<CommandState>(1)?)),
            )?;
            let Some((row, state)) = found else { return Ok(AnswerFate::Unknown) };
            let Ok(state) = state.after(Happening::Answered(answer.outcome)) else { return Ok(AnswerFate::Late) };
            // A clock of the edge that goes wrong must not end a command before it was made, or in ten years.
            let at = if answer.at > now { now } else { answer.at };
            let data = Json::Object(answer.data.clone()).to_string();
            end(transaction, row, state, at, answer.reason.as_deref(), Some(&data))?;
            Ok(AnswerFate::Recorded)
        })
        .await
    }

    /// Ends commands whose time is over, at most some at once; returns how many. Two processes that do it at the same
    /// time end each command once.
    ///
    /// # Errors
    /// The database's own.
    pub async fn give_up_commands(&self, now: UtcMillis) -> Result<usize, StoreError> {
        let due = "select id, state from commands where ended_at is null and due <= ?1 order by due, id limit ?2";
        let is_due = self.lookup(move |transaction| transaction.exists(due, &values![now, 1])).await?;
        if !is_due {
            return Ok(0);
        }
        self.write(move |transaction| {
            let over = transaction.all(due, &values![now, GIVE_UP_AT_ONCE], |row| {
                Ok((row.get::<i64>(0)?, row.parsed::<CommandState>(1)?))
            })?;
            for (row, state) in &over {
                let reason = match state {
                    CommandState::Queued => "the edge was not connected before the command expired",
                    _ => "the edge was told and did not answer",
                };
                if let Ok(state) = state.after(Happening::GivenUp) {
                    end(transaction, *row, state, now, Some(reason), None)?;
                }
            }
            Ok(over.len())
        })
        .await
    }
}

fn create(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
    new: &NewCommand,
) -> Result<StoredCommand, StoreError> {
    let edge: i64 = transaction
        .first(
            "select id from edges where tenant = ?1 and edge_id = ?2 and revoked_at is null",
            &values![tenant.0, edge_id.as_str()],
            |row| row.get(0),
        )?
        .ok_or(StoreError::NotFound)?;
    let open: u32 = transaction
        .first("select count(*) from commands where edge = ?1 and ended_at is null", &values![edge], |row| row.get(0))?
        .unwrap_or_default();
    if open >= MAX_OPEN {
        return Err(StoreError::TooMany("commands of this edge that have not ended"));
    }
    let NewCommand { command, camera, deadlines, by } = new;
    transaction.execute(
        "insert into commands (tenant, edge, command_id, command, payload, camera, state, created_at, created_by,
             expires_at, ask_until, give_up_at, due)
         values (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?8, ?9, ?10, ?11, ?9)",
        &values![
            tenant.0,
            edge,
            command.id.as_str(),
            &command.command,
            Json::Object(command.payload.clone()).to_string(),
            camera.as_ref().map(CameraId::as_str),
            command.issued_at,
            by.0,
            deadlines.expires_at,
            deadlines.ask_until,
            deadlines.give_up_at,
        ],
    )?;
    transaction.announce(News::Edge(EdgeKey(edge)));
    let stored = find(transaction, tenant, edge_id, &command.id)?.ok_or(StoreError::NotFound)?;
    note(transaction, tenant, Action::CommandSent, edge_id, &stored, command.issued_at)?;
    Ok(stored)
}

/// Writes down what was done with a command. Its arguments stay with it.
fn note(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    action: Action,
    edge_id: &EdgeId,
    stored: &StoredCommand,
    at: UtcMillis,
) -> Result<(), StoreError> {
    let camera = stored.camera.as_ref().map(CameraId::as_str);
    let detail = json!({ "command": stored.command.command, "edge_id": edge_id.as_str(), "camera_id": camera });
    audit::note(transaction, tenant, action, Some(stored.command.id.as_str()), detail, at)
}

fn find(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
    id: &CommandId,
) -> Result<Option<StoredCommand>, StoreError> {
    let sql = format!(
        "{COMMANDS} join edges e on e.id = c.edge where c.tenant = ?1 and e.edge_id = ?2 and c.command_id = ?3"
    );
    transaction.first(&sql, &values![tenant.0, edge_id.as_str(), id.as_str()], read)
}

/// What an edge is to be told, with the states as they are.
fn orders(
    transaction: &mut Transaction<'_>,
    edge: EdgeKey,
    now: UtcMillis,
) -> Result<Vec<(CommandState, Command)>, StoreError> {
    let sql = format!(
        "{COMMANDS} where c.edge = ?1 and c.ended_at is null
             and ((c.state = 'queued' and c.expires_at > ?2) or (c.state = 'sent' and c.ask_until > ?2))
         order by c.id"
    );
    transaction.all(&sql, &values![edge.0, now], |row| read(row).map(|stored| (stored.state, stored.command)))
}

fn end(
    transaction: &mut Transaction<'_>,
    row: i64,
    state: CommandState,
    at: UtcMillis,
    reason: Option<&str>,
    data: Option<&str>,
) -> Result<(), StoreError> {
    // Databases keep texts without NUL only.
    let reason = reason.map(|reason| reason.replace('\0', "\u{fffd}"));
    transaction.execute(
        "update commands set state = ?2, ended_at = ?3, reason = ?4, data = ?5 where id = ?1 and ended_at is null",
        &values![row, state.as_str(), at, reason, data],
    )?;
    transaction.announce(News::Command(row));
    Ok(())
}
