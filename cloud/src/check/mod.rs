//! Checks settings, database, keys, certificates, disk and mail server, and says what to do.
//!
//! Nothing is changed: a running cloud goes on undisturbed.

mod places;
mod reach;

use std::path::Path;

use crate::config::Config;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found and, if it is not well, what to do.
    pub finding: String,
}

/// How a checked thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but someone should look at it.
    Warn,
    /// It does not work.
    Fail,
}

impl Check {
    fn new(subject: &str, verdict: Verdict, finding: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), verdict, finding: finding.into() }
    }

    fn ok(subject: &str, finding: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Ok, finding)
    }

    fn fail(subject: &str, finding: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Fail, finding)
    }
}

/// Checks everything that the settings in `file` and the environment name.
pub async fn examine(file: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Vec<Check> {
    let shown = file.map_or("defaults and environment".into(), |file| file.display().to_string());
    let config = match Config::load(file, environment) {
        Ok(config) => config,
        Err(error) => return vec![Check::fail("settings", error.to_string())],
    };
    let mut checks = vec![Check::ok("settings", shown)];
    checks.push(places::database(&config));
    checks.push(places::secrets(&config));
    checks.push(places::disk("disk of data_dir", &config.data_dir()));
    if config.media.url.is_none() {
        checks.push(places::disk("disk of clip_upload_dir", &config.clip_upload_dir));
    }
    checks.extend(places::certificates(&config));
    checks.push(places::file_handles());
    checks.extend(reach::mail_server(&config).await);
    checks
}

/// The list for a person; the verdict is that of the worst check.
#[must_use]
pub fn render(checks: &[Check]) -> (String, Verdict) {
    let width = checks.iter().map(|check| check.subject.chars().count()).max().unwrap_or(0);
    let line = |check: &Check| {
        let verdict = match check.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        format!("{verdict}  {:<width$}  {}\n", check.subject, check.finding)
    };
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    (checks.iter().map(line).collect(), worst)
}

#[cfg(test)]
mod tests;
