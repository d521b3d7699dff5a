//! Where PostgreSQL's programs are, and as whom they run.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Debian and Ubuntu keep one folder per version here.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The superuser of every test server; tests themselves work as [`OWNER`].
pub(crate) const SUPERUSER: &str = "postgres";
/// Owner of the tests' databases: an ordinary role, as a careful operator would give the cloud.
pub(crate) const OWNER: &str = "aivms";

/// PostgreSQL's programs, the newest version installed.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    folder: PathBuf,
    /// Whom to become; none when the tests themselves don't run as root, whom the server refuses.
    account: Option<Account>,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Binaries {
    pub(crate) fn find() -> Result<Self> {
        let version =
            |path: &PathBuf| path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok());
        let folder = std::fs::read_dir(VERSIONS)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.join("bin/initdb").exists())
            .max_by_key(version)
            .with_context(|| format!("no PostgreSQL under {VERSIONS}; scripts/setup test installs it"))?
            .join("bin");
        let account = if id("-u", None)? == 0 { Some(Account::find()?) } else { None };
        Ok(Self { folder, account })
    }

    /// The words that start `program` as the right user, and have it end with its parent.
    pub(crate) fn words(&self, program: &str) -> Vec<String> {
        let mut words = vec!["setpriv".to_owned(), "--pdeathsig=INT".to_owned()];
        if let Some(Account { uid, gid }) = self.account {
            words.extend([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
        }
        words.extend(["--".to_owned(), self.folder.join(program).display().to_string()]);
        words
    }

    /// Makes the files of a new server in `data`, which must not exist.
    pub(crate) fn init(&self, data: &Path) -> Result<()> {
        std::fs::create_dir(data)?;
        self.give(data)?;
        let mut words = self.words("initdb").into_iter();
        let mut command = Command::new(words.next().context("no program")?);
        // Not synchronised: who cuts the power in a test starts again from nothing.
        command.args(words).args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username"]);
        run(command.arg(SUPERUSER).arg("--pgdata").arg(data).current_dir("/")).map(drop)
    }

    /// Lets the server's user have a file or folder.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        let Some(Account { uid, gid }) = self.account else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).with_context(|| format!("chown {}", path.display()))
    }

    /// Runs statements, each in its own transaction, and returns what they print.
    pub(crate) fn psql(&self, url: &str, statements: &[&str]) -> Result<String> {
        let mut command = Command::new(self.folder.join("psql"));
        command.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            url,
        ]);
        for statement in statements {
            command.args(["--command", statement]);
        }
        run(&mut command)
    }
}

impl Account {
    fn find() -> Result<Self> {
        for name in ["postgres", "nobody"] {
            if let (Ok(uid), Ok(gid)) = (id("-u", Some(name)), id("-g", Some(name))) {
                return Ok(Self { uid, gid });
            }
        }
        bail!("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
    }
}

fn id(what: &str, user: Option<&str>) -> Result<u32> {
    run(Command::new("id").arg(what).args(user))?.trim().parse().context("id prints no number")
}

/// Runs a command to its end; what it says is the error when it fails.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
