//! `aivms-cloud audit verify`: walks the chains of all tenants, or of one.

use std::io::Write;
use std::path::PathBuf;

use aivms_contract::id::TenantId;
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;

use crate::config::Config;
use crate::run;
use crate::store::Store;

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Walks the chain of each tenant and names every entry that was edited, removed, swapped or inserted; fails when
    /// there is one.
    Verify {
        /// Settings file in TOML; without it the defaults and the environment decide.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Only this tenant.
        #[arg(long, value_name = "TENANT_ID")]
        tenant: Option<TenantId>,
    },
}

/// Walks the chains and prints a line for each tenant and each finding.
///
/// # Errors
/// A chain is not whole, there is no such tenant, or the database can't be read.
pub async fn verify(config: &Config, tenant: Option<TenantId>) -> Result<()> {
    let store = run::open_store(config).await?;
    let mut lines = Vec::new();
    let flaws = write_report(&store, tenant.as_ref(), &mut lines).await?;
    std::io::stdout().write_all(&lines).context("standard output")?;
    ensure!(flaws == 0, "{flaws} entries of the audit log are not as they were written");
    Ok(())
}

/// Writes the lines; returns how many findings there are.
async fn write_report(store: &Store, only: Option<&TenantId>, to: &mut Vec<u8>) -> Result<usize> {
    let mut tenants = store.tenants().await.context("database")?;
    tenants.retain(|(_, tenant_id)| only.is_none_or(|only| only == tenant_id));
    if let Some(only) = only.filter(|_| tenants.is_empty()) {
        bail!("there is no tenant {only}");
    }
    let mut flaws = 0;
    for (key, tenant_id) in tenants {
        let report = store.verify_audit(key, None).await.with_context(|| format!("the audit log of {tenant_id}"))?;
        let (entries, head) = (report.entries, hex::encode(report.head.hash));
        writeln!(to, "{tenant_id}: {entries} entries, head {} {head}", report.head.seq)?;
        for finding in &report.findings {
            writeln!(to, "{tenant_id}: {finding}")?;
        }
        flaws += report.findings.len();
    }
    Ok(flaws)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewTenant;

    async fn registered(store: &Store, slug: &str) {
        let tenant = NewTenant {
            tenant_id: slug.parse().unwrap(),
            tenant_name: slug.into(),
            email: format!("owner@{slug}.example"),
            name: "Owner".into(),
            password_hash: String::new(),
        };
        store.register_tenant(tenant, crate::clock::now()).await.unwrap();
    }

    #[tokio::test]
    async fn a_changed_entry_fails_the_command_and_is_named_with_its_tenant() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloud.db");
        let config = Config { database_path: path.clone(), ..Config::default() };
        let store = Store::open_sqlite(&path).unwrap();
        registered(&store, "acme").await;
        registered(&store, "rival").await;
        drop(store);
        verify(&config, None).await.unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute("update audit_entries set actor_name = 'Somebody' where tenant = 2", []).unwrap();
        let (store, mut lines) = (Store::open_sqlite(&path).unwrap(), Vec::new());
        assert_eq!(write_report(&store, None, &mut lines).await.unwrap(), 1);
        drop(store);
        let lines = String::from_utf8(lines).unwrap();
        assert!(lines.contains("rival: entry 1 was changed") && !lines.contains("acme: entry"), "{lines}");
        assert!(verify(&config, None).await.is_err());
        verify(&config, Some("acme".parse().unwrap())).await.unwrap();
        assert!(verify(&config, Some("nobody".parse().unwrap())).await.is_err());
    }
}
