//! The CA's key and certificate on disk.
//!
//! Each file appears under its name complete and synced, or not at all; two processes that start at once end with
//! the same key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;

use super::{CaError, new_key};
use crate::secret_file::make_private_folder;

const KEY_FILE: &str = "ca-key.pem";
const CERTIFICATE_FILE: &str = "ca.pem";

/// What was read, or made and written.
pub(super) struct Stored {
    pub(super) key: KeyPair,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) certificate_pem: String,
    path: PathBuf,
}

impl Stored {
    /// An error about the certificate file.
    pub(super) fn certificate_error(&self, reason: String) -> CaError {
        file_error(&self.path, reason)
    }
}

/// Reads key and certificate from `dir`; makes the key when both are missing and the certificate when it is.
pub(super) fn open_or_create(
    dir: &Path,
    make_certificate: impl Fn(&KeyPair) -> Result<String, CaError>,
) -> Result<Stored, CaError> {
    make_private_folder(dir).map_err(|error| file_error(dir, error.to_string()))?;
    let (key_path, path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
    if !key_path.exists() {
        if path.exists() {
            return Err(file_error(
                &key_path,
                format!(
                    "is missing; restore it from a backup, or remove {CERTIFICATE_FILE} and enrol every edge again"
                ),
            ));
        }
        write_new(&key_path, 0o600, &new_key()?.serialize_pem())?;
    }
    let key = read_key(&key_path)?;
    if !path.exists() {
        write_new(&path, 0o644, &make_certificate(&key)?)?;
    }
    let certificate_pem = fs::read_to_string(&path).map_err(|error| file_error(&path, error.to_string()))?;
    let block = pem::parse(&certificate_pem).map_err(|error| file_error(&path, format!("is not PEM: {error}")))?;
    Ok(Stored { key, certificate: block.into_contents().into(), certificate_pem, path })
}

fn read_key(path: &Path) -> Result<KeyPair, CaError> {
    let mut file = File::open(path).map_err(|error| file_error(path, error.to_string()))?;
    let mode = file.metadata().map_err(|error| file_error(path, error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let reason = format!("others can read it (mode {:04o}); run: chmod 600 {}", mode & 0o7777, path.display());
        return Err(file_error(path, reason));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| file_error(path, error.to_string()))?;
    KeyPair::from_pem_and_sign_algo(&text, &PKCS_ECDSA_P256_SHA256)
        .map_err(|error| file_error(path, format!("holds no P-256 key: {error}; restore it from a backup")))
}

/// Writes `text` to `path` unless another process was faster, which is no error: the caller reads the file next.
fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), CaError> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let written = write_draft(&draft, mode, text).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&draft);
    let dir = path.parent().unwrap_or(Path::new("."));
    written.and(removed).and_then(|()| File::open(dir)?.sync_all()).map_err(|error| file_error(path, error.to_string()))
}

fn write_draft(draft: &Path, mode: u32, text: &str) -> io::Result<()> {
    // A draft with this process id is left over from one that died; ids repeat.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn file_error(path: &Path, reason: impl Into<String>) -> CaError {
    CaError::File { path: path.display().to_string(), reason: reason.into() }
}
