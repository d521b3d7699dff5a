//! Hashing of passwords, off the async threads and never more at once than there are cores.

use std::sync::{Arc, LazyLock};

use aivms_cloud_core::account::{self, Person};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::Tried;
use super::failure::Failure;

/// The hash that is checked for a user who does not exist, so that both answers take equally long.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("a password that nobody has").unwrap_or_default());

/// Hashes and checks passwords with Argon2id (19 MiB, two passes: OWASP's first recommendation of 2023).
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    permits: Arc<Semaphore>,
}

/// Whose password is checked.
#[derive(Debug, Clone)]
pub(super) struct NewPerson {
    pub email: String,
    pub name: String,
    pub tenant_name: String,
}

/// Hashing failed for a reason that is not the password.
#[derive(Debug, thiserror::Error)]
#[error("hashing: {0}")]
pub(super) struct HashingError(String);

impl From<HashingError> for Failure {
    fn from(error: HashingError) -> Self {
        tracing::error!(%error, "a password");
        Self::internal()
    }
}

impl Passwords {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(cores)) }
    }

    /// The PHC form of a new password.
    pub(super) async fn hash(&self, password: String) -> Result<String, HashingError> {
        self.run(move || hash(&password)).await
    }

    /// Checks the rules of passwords; see [`account::check_password`].
    pub(super) async fn check(&self, password: String, person: NewPerson) -> Tried<()> {
        let checked = self.run(move || {
            let NewPerson { email, name, tenant_name } = &person;
            Ok(account::check_password(&password, Person { email, name, tenant_name }))
        });
        checked.await?.map_err(|error| Failure::unacceptable("password", error))
    }

    /// Whether `password` is the one of `stored`; `None` is a user who does not exist and takes as long.
    pub(super) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, HashingError> {
        self.run(move || {
            // Who came through a provider has no password.
            let stored = stored.filter(|stored| !stored.is_empty());
            let text = stored.as_deref().unwrap_or(&NOBODY);
            let parsed = PasswordHash::new(text).map_err(|error| HashingError(error.to_string()))?;
            let matches = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
            Ok(matches && stored.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashingError> + Send + 'static,
    ) -> Result<T, HashingError> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.map_err(|error| HashingError(error.to_string()))?;
        // The permit goes with the work: a caller who gives up does not make room for one more.
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        task.await.map_err(|error| HashingError(error.to_string()))?
    }
}

fn hash(password: &str) -> Result<String, HashingError> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| HashingError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_user_who_exists_is_right() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("correct horses".into(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("a password that nobody has".into(), None).await.unwrap());
    }
}
