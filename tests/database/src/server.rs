//! A server of one test's own.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::binaries::{Binaries, OWNER, SUPERUSER};

/// Longest wait for a server to take connections; more than a second only on a machine that does much else.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Starts the server, waits until the pipe on its input closes, and ends the server at once.
const KEEPER: &str = r#""$@" & server=$!; read -r _; kill -QUIT $server; wait $server"#;

/// What docs/ref/database.md says for a small machine; for measurements.
pub const SMALL_MACHINE: [&str; 4] =
    ["shared_buffers=512MB", "max_wal_size=4GB", "wal_compression=on", "random_page_cost=1.1"];

/// A PostgreSQL server that ends with this value, or with the process.
#[derive(Debug)]
pub struct TestServer {
    binaries: Binaries,
    folder: TempDir,
    settings: Vec<String>,
    port: u16,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    keeper: Child,
    /// Closing it ends the server.
    pipe: Option<ChildStdin>,
}

impl TestServer {
    /// Makes and starts a server. `settings` are those of `postgresql.conf`, each as `name=value`.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or says why it does not start.
    pub fn start(settings: &[&str]) -> Result<Self> {
        Self::start_with(settings, &[])
    }

    /// Makes and starts a server with further files in its data folder, which only it can read: `(name, content)`.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or says why it does not start.
    pub fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Result<Self> {
        let binaries = Binaries::find()?;
        let folder = tempfile::Builder::new().prefix("aivms-postgres-").tempdir()?;
        // The server's user passes through it.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        binaries.init(&folder.path().join("data"))?;
        for (name, content) in files {
            let path = folder.path().join("data").join(name);
            std::fs::write(&path, content)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
            binaries.give(&path)?;
        }
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self { binaries, folder, settings, port: free_port()?, running: None };
        server.resume()?;
        make_owner(&server.binaries, server.port)?;
        Ok(server)
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Errors
    /// The server is not running.
    pub fn create_database(&self, name: &str) -> Result<String> {
        create_database(&self.binaries, self.port, name)
    }

    /// Runs statements as superuser in database `name` and returns what they print.
    ///
    /// # Errors
    /// A statement fails.
    pub fn psql(&self, name: &str, statements: &[&str]) -> Result<String> {
        self.binaries.psql(&url(SUPERUSER, self.port, name), statements)
    }

    /// Ends the server at once, as a crash would; connections break. What was committed stays.
    pub fn crash(&mut self) {
        self.running = None;
    }

    /// Starts the server again on the same port.
    ///
    /// # Errors
    /// Says why it does not start.
    pub fn resume(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let log = self.folder.path().join("log");
        let words = server_words(&self.binaries, &self.folder.path().join("data"), self.port, &self.settings);
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).args(words).current_dir("/").stdin(Stdio::piped());
        let mut keeper = write_to(&mut command, &log)?.spawn().context("starting sh")?;
        let pipe = keeper.stdin.take();
        self.running = Some(Running { keeper, pipe });
        wait_until_ready(&self.binaries, self.port, &log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.pipe = None;
        // It can't fail for a child that nobody else waits for.
        let _ = self.keeper.wait();
    }
}

/// The words that run a server in the foreground.
pub(crate) fn server_words(binaries: &Binaries, data: &Path, port: u16, settings: &[String]) -> Vec<String> {
    let mut words = binaries.words("postgres");
    let fixed = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=300".to_owned(),
        // After a crash, not file by file, which takes seconds.
        "recovery_init_sync_method=syncfs".to_owned(),
    ];
    words.extend(["-D".to_owned(), data.display().to_string()]);
    words.extend(fixed.iter().chain(settings).flat_map(|setting| ["-c".to_owned(), setting.clone()]));
    words
}

pub(crate) fn url(user: &str, port: u16, database: &str) -> String {
    format!("postgres://{user}@127.0.0.1:{port}/{database}")
}

pub(crate) fn make_owner(binaries: &Binaries, port: u16) -> Result<()> {
    binaries.psql(&url(SUPERUSER, port, "postgres"), &[&format!("create role {OWNER} login")]).map(drop)
}

pub(crate) fn create_database(binaries: &Binaries, port: u16, name: &str) -> Result<String> {
    let statement = format!("create database {name} owner {OWNER}");
    binaries.psql(&url(SUPERUSER, port, "postgres"), &[&statement])?;
    Ok(url(OWNER, port, name))
}

/// A port nobody uses now; somebody may take it before the server does, which then says so.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Sends what a command prints to a file: a pipe of the test's own would stay open as long as the server.
pub(crate) fn write_to<'a>(command: &'a mut Command, log: &Path) -> Result<&'a mut Command> {
    let log = File::options().create(true).append(true).open(log)?;
    Ok(command.stdout(log.try_clone()?).stderr(log))
}

pub(crate) fn wait_until_ready(binaries: &Binaries, port: u16, log: &Path) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while binaries.psql(&url(SUPERUSER, port, "postgres"), &["select 1"]).is_err() {
        if Instant::now() > deadline || said_fatal(log) {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("PostgreSQL does not start: {said}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Whether the server gave up; "the database system is starting up" is fatal to a client only.
fn said_fatal(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|said| said.contains("could not create any TCP/IP sockets"))
}
