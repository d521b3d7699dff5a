//! The server that all tests of a user share.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow};

use crate::binaries::{Binaries, SUPERUSER};
use crate::server::{create_database, free_port, make_owner, server_words, url, wait_until_ready, write_to};

/// Changes with what stands in the folder, so that tests of two versions of this file don't meet.
const FORM: u32 = 1;
/// Starts the server, waits until nobody holds the lock of the users any more, and takes server and files away. While
/// it does, it holds the lock itself: who comes then waits, and starts anew.
const KEEPER: &str = r#"
    users=$1 server_folder=$2; shift 2
    "$@" & server=$!
    exec 9<"$users"
    while sleep 2; do
        kill -0 $server || exit
        if flock --exclusive --nonblock 9; then
            kill -QUIT $server; wait $server
            rm -rf "$server_folder"
            exit
        fi
    done
"#;
/// For tests only: a power cut takes the server's files along, so waiting for the disk would gain nothing.
const SETTINGS: [&str; 3] = ["fsync=off", "full_page_writes=off", "max_wal_size=256MB"];

/// An empty database, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
}

/// The running server, as this process found or started it.
#[derive(Debug)]
struct Shared {
    binaries: Binaries,
    port: u16,
    /// Locked as long as this process lives; the kernel releases it however the process ends.
    _users: File,
}

impl TestDatabase {
    /// Makes an empty database with a name nobody else has. Blocks; starts the server when none runs.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or says what is wrong.
    pub fn create() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let shared = shared()?;
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A process that died without dropping its database may have had this number.
        shared.run(&format!("drop database if exists {name} with (force)"))?;
        let url = create_database(&shared.binaries, shared.port, &name)?;
        Ok(Self { name, url })
    }

    /// Where it is, for an ordinary role that owns it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements in it as superuser and returns what they print.
    ///
    /// # Errors
    /// A statement fails.
    pub fn psql(&self, statements: &[&str]) -> Result<String> {
        let shared = shared()?;
        shared.binaries.psql(&url(SUPERUSER, shared.port, &self.name), statements)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Should it stay, it goes with the server.
        let _ = shared().and_then(|shared| shared.run(&format!("drop database {} with (force)", self.name)));
    }
}

impl Shared {
    fn run(&self, statement: &str) -> Result<()> {
        self.binaries.psql(&url(SUPERUSER, self.port, "postgres"), &[statement]).map(drop)
    }
}

fn shared() -> Result<&'static Shared> {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    let found = SHARED.get_or_init(|| find_or_start().map_err(|error| format!("{error:#}")));
    found.as_ref().map_err(|problem| anyhow!("{problem}"))
}

fn find_or_start() -> Result<Shared> {
    let binaries = Binaries::find()?;
    let folder = folder()?;
    let users = File::options().create(true).append(true).open(folder.join("users"))?;
    // Waits while the keeper of an earlier server takes it away.
    users.lock_shared()?;
    let starting = File::options().create(true).append(true).open(folder.join("starting"))?;
    starting.lock()?;
    let port = match running(&binaries, &folder) {
        Some(port) => port,
        None => start(&binaries, &folder)?,
    };
    Ok(Shared { binaries, port, _users: users })
}

/// A folder of this user alone, which the server's user may pass through.
fn folder() -> Result<PathBuf> {
    let user = std::env::var("USER").unwrap_or_else(|_| "tests".into());
    let folder = std::env::temp_dir().join(format!("aivms-postgres-{user}-{FORM}"));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn running(binaries: &Binaries, folder: &Path) -> Option<u16> {
    let port = std::fs::read_to_string(folder.join("server/port")).ok()?.parse().ok()?;
    binaries.psql(&url(SUPERUSER, port, "postgres"), &["select 1"]).ok().map(|_| port)
}

fn start(binaries: &Binaries, folder: &Path) -> Result<u16> {
    let server = folder.join("server");
    // What a killed one left.
    if server.exists() {
        std::fs::remove_dir_all(&server)?;
    }
    std::fs::create_dir(&server)?;
    std::fs::set_permissions(&server, Permissions::from_mode(0o755))?;
    binaries.init(&server.join("data"))?;
    let (port, log) = (free_port()?, server.join("log"));
    let words = server_words(binaries, &server.join("data"), port, &SETTINGS.map(str::to_owned));
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper"]).arg(folder.join("users")).arg(&server).args(words);
    // In a group of its own: it outlives this test, and an interrupted one, for those that come after.
    let keeper = keeper.current_dir("/").stdin(Stdio::null()).process_group(0);
    let mut keeper = write_to(keeper, &log)?.spawn().context("starting sh")?;
    // Only collects the keeper should it end before this process.
    std::thread::spawn(move || keeper.wait());
    wait_until_ready(binaries, port, &log)?;
    make_owner(binaries, port)?;
    std::fs::write(server.join("port"), port.to_string())?;
    Ok(port)
}
