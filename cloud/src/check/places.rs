//! Files, folders and certificates on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aivms_contract::time::UtcMillis;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Check, Verdict};
use crate::clock;
use crate::config::Config;
use crate::https::PairFiles;
use crate::store::check_sqlite;

/// Free room below which a cloud is full within days.
const LOW_SPACE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Sessions and connections to the API at once, and files: what the unit file allows.
const WANTED_HANDLES: u64 = 16_384;
/// Days before its end from which a certificate should have been renewed.
const LATE_DAYS: i64 = 14;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Whether the database is there, whole, and of a version this program knows.
pub(super) fn database(config: &Config) -> Check {
    const SUBJECT: &str = "database";
    if config.database_url.is_some() {
        // Opening it would bring it to this program's schema, which a check must not.
        return Check::ok(SUBJECT, "PostgreSQL; whether it takes writes, /readyz says");
    }
    let path = &config.database_path;
    match path.try_exists() {
        Ok(false) => Check::new(SUBJECT, Verdict::Warn, format!("{}: is made on the first start", path.display())),
        Ok(true) => match check_sqlite(path) {
            Ok(()) => Check::ok(SUBJECT, format!("{} is whole", path.display())),
            Err(error) => Check::fail(SUBJECT, error.to_string()),
        },
        Err(error) => Check::fail(SUBJECT, format!("{}: {error}", path.display())),
    }
}

/// Whether what makes edges and tokens is there, and for its owner only.
pub(super) fn secrets(config: &Config) -> Check {
    const SUBJECT: &str = "keys and secrets";
    let folder = config.data_dir();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(Result::ok),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::new(SUBJECT, Verdict::Warn, format!("{}: is made on the first start", folder.display()));
        }
        Err(error) => return Check::fail(SUBJECT, format!("{}: {error}", folder.display())),
    };
    // The CA's certificate is no secret; everything else is.
    let open: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name() != "ca.pem")
        .filter(|entry| entry.metadata().is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o077 != 0))
        .map(|entry| entry.path())
        .collect();
    match open.first() {
        Some(path) => Check::fail(SUBJECT, format!("{}: others can read it; chmod 600 it", path.display())),
        None if !folder.join("ca-key.pem").exists() => Check::new(
            SUBJECT,
            Verdict::Warn,
            format!("{}: no CA yet; it is made on the first start", folder.display()),
        ),
        None => Check::ok(SUBJECT, format!("{}, for their owner only", folder.display())),
    }
}

/// Whether there is room.
pub(super) fn disk(subject: &str, folder: &Path) -> Check {
    // What is not made yet will be on the disk of the nearest folder that is.
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let space = match rustix::fs::statvfs(there) {
        Ok(space) => space,
        Err(error) => return Check::fail(subject, format!("{}: {error}", folder.display())),
    };
    let (free, total) = (space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize);
    let finding = format!("{}, {} free of {}", folder.display(), gibibytes(free), gibibytes(total));
    if free < LOW_SPACE_BYTES {
        Check::new(subject, Verdict::Warn, format!("{finding}; free some room before it is full"))
    } else {
        Check::ok(subject, finding)
    }
}

/// The CA's certificate and the API's.
pub(super) fn certificates(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Ok(pem) = fs::read(config.data_dir().join("ca.pem")) {
        let der = pem::parse(pem).map(pem::Pem::into_contents).unwrap_or_default();
        checks.push(of_certificate("CA's certificate", &der, "restore it from a backup"));
    }
    if let Some(files) = PairFiles::of(&config.http) {
        const SUBJECT: &str = "API's certificate";
        checks.push(match files.read() {
            Ok(pair) => {
                of_certificate(SUBJECT, &pair.leaf().unwrap_or_else(|| Vec::new().into()), "renew it (guide tls.md)")
            }
            Err(error) => Check::fail(SUBJECT, format!("{error:#}")),
        });
    }
    checks
}

fn of_certificate(subject: &str, der: &[u8], cure: &str) -> Check {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Check::fail(subject, format!("can't be read; {cure}"));
    };
    let ends = UtcMillis::from_millis(certificate.validity().not_after.timestamp().saturating_mul(1000));
    let days = (ends.as_millis() - clock::now().as_millis()).div_euclid(DAY_MS);
    let finding = format!("good until {ends}, {days} days");
    match days {
        ..0 => Check::fail(subject, format!("ended at {ends}; {cure}")),
        0..LATE_DAYS => Check::new(subject, Verdict::Warn, format!("{finding}; {cure}")),
        _ => Check::ok(subject, finding),
    }
}

/// Whether the process may hold as many connections as it takes.
pub(super) fn file_handles() -> Check {
    const SUBJECT: &str = "file handles";
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(limit) if limit < WANTED_HANDLES => {
            let cure = "raise it with ulimit -n or LimitNOFILE=, or connections are refused";
            Check::new(SUBJECT, Verdict::Warn, format!("{limit} at most, {WANTED_HANDLES} may be needed; {cure}"))
        }
        Some(limit) => Check::ok(SUBJECT, format!("{limit} at most")),
        None => Check::ok(SUBJECT, "no limit"),
    }
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
