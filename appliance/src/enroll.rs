//! Turns a one-time secret into a certificate, and a certificate into the next one.

use std::path::Path;

use aivms_contract::edge_api::{EnrollRequest, RenewRequest};
use aivms_contract::id::EdgeId;

use crate::cloud::{Cloud, CloudError};
use crate::config::Secret;
use crate::identity::{DeviceKey, Identity, IdentityError};

/// Says why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The secret was used before.
    #[error(
        "the edge secret of {edge} has been used already; rotate the edge's secret in the cloud and enrol again with \
         the new one (EDGE_SECRET, edge.secret)"
    )]
    Spent {
        /// The edge that wanted to enrol.
        edge: EdgeId,
    },
    /// The cloud knows the edge and its secret differently.
    #[error(
        "the cloud refused the edge secret of {edge} ({reason}); correct EDGE_ID and EDGE_SECRET (edge.id, \
         edge.secret), or rotate the edge's secret in the cloud and enrol again with the new one"
    )]
    Secret {
        /// The edge that wanted to enrol.
        edge: EdgeId,
        /// What the cloud said.
        reason: String,
    },
    /// The cloud could not be asked, or refused for another reason.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// Key or certificate could not be made, understood or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl EnrollError {
    /// Whether trying again with the same secret can never succeed.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Spent { .. } | Self::Secret { .. } => true,
            Self::Cloud(error) => error.is_final(),
            Self::Identity(_) => false,
        }
    }
}

/// Makes a key on this device, has it certified against the one-time secret and keeps both in `data_dir`.
///
/// # Errors
/// Nothing is kept then; an identity there before is still in use.
pub async fn enroll(cloud: &Cloud, edge: &EdgeId, secret: &Secret, data_dir: &Path) -> Result<Identity, EnrollError> {
    // Before the secret is spent: whether the result can be kept at all.
    check_writable(data_dir)?;
    let key = DeviceKey::generate()?;
    let request = EnrollRequest {
        edge_id: edge.clone(),
        edge_secret: secret.reveal().to_owned(),
        csr_pem: key.certificate_request()?,
    };
    let enrollment = cloud.enroll(&request).await.map_err(|error| secret_refused(edge, error))?;
    let identity = key.certified(enrollment)?;
    identity.store(data_dir)?;
    Ok(identity)
}

/// Has a new key certified by the power of the current certificate and keeps both in `data_dir`.
///
/// # Errors
/// The current identity is still in use then.
pub async fn renew(cloud: &Cloud, current: &Identity, data_dir: &Path) -> Result<Identity, EnrollError> {
    let key = DeviceKey::generate()?;
    let request = RenewRequest { csr_pem: key.certificate_request()? };
    let enrollment = cloud.renew(&current.bearer_token(cloud.time())?, &request).await?;
    let identity = key.certified(enrollment)?;
    identity.store(data_dir)?;
    Ok(identity)
}

fn secret_refused(edge: &EdgeId, error: CloudError) -> EnrollError {
    match error {
        CloudError::Refused { status, .. } if status.as_u16() == 409 => EnrollError::Spent { edge: edge.clone() },
        CloudError::Refused { status, reason } if matches!(status.as_u16(), 401 | 403 | 404) => {
            EnrollError::Secret { edge: edge.clone(), reason }
        }
        other => other.into(),
    }
}

fn check_writable(data_dir: &Path) -> Result<(), IdentityError> {
    let path = data_dir.join(".enroll-probe");
    let probe = || {
        std::fs::create_dir_all(data_dir)?;
        std::fs::write(&path, [])?;
        std::fs::remove_file(&path)
    };
    probe().map_err(|source| IdentityError::Disk { doing: "written", path: data_dir.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Authority, HttpServer, cloud_at};
    use std::sync::Arc;

    fn cloud_of(authority: &Arc<Authority>) -> HttpServer {
        let authority = Arc::clone(authority);
        HttpServer::answering(move |request| {
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            if body["edge_secret"].as_str().is_some_and(|secret| secret != "good") {
                return (401, r#"{"title":"Unauthorized","detail":"edge secret is not valid"}"#.to_owned());
            }
            let enrollment = authority.enroll(body["csr_pem"].as_str().unwrap(), "acme", "edge_1", 8883);
            (200, serde_json::to_string(&enrollment).unwrap())
        })
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_good_secret_becomes_an_identity_on_disk_and_renewal_replaces_key_and_certificate() {
        let (authority, dir) = (Arc::new(Authority::new()), tempfile::tempdir().unwrap());
        let server = cloud_of(&authority);
        let (cloud, edge) = (cloud_at(&server.url()), "edge_1".parse().unwrap());
        let data_dir = dir.path().join("made/on/demand");
        enroll(&cloud, &edge, &secret("good"), &data_dir).await.unwrap();
        let first = Identity::load(&data_dir).unwrap().expect("kept");
        assert_eq!(first.enrollment().edge_id, edge);

        renew(&cloud, &first, &data_dir).await.unwrap();
        let second = Identity::load(&data_dir).unwrap().expect("kept");
        assert_ne!(first.enrollment().certificate_pem, second.enrollment().certificate_pem);
        let renewal = &server.requests()[1];
        assert_eq!(renewal.path, "/api/edge/renew");
        assert!(renewal.header("authorization").unwrap().starts_with("Bearer ey"));
        assert!(!renewal.body.contains("secret"));
    }

    #[tokio::test]
    async fn a_wrong_secret_is_named_with_what_to_do_and_keeps_nothing() {
        let (authority, dir) = (Arc::new(Authority::new()), tempfile::tempdir().unwrap());
        let server = cloud_of(&authority);
        let edge = "edge_1".parse().unwrap();
        let result = enroll(&cloud_at(&server.url()), &edge, &secret("hush"), dir.path()).await;
        let error = result.expect_err("the secret is wrong");
        assert!(error.is_final());
        let message = error.to_string();
        assert!(message.contains("edge_1") && message.contains("rotate the edge's secret"), "{message}");
        assert!(!message.contains("hush"));
        assert!(Identity::load(dir.path()).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_folder_that_cant_be_written_does_not_spend_the_secret() {
        let (authority, dir) = (Arc::new(Authority::new()), tempfile::tempdir().unwrap());
        let server = cloud_of(&authority);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let edge = "edge_1".parse().unwrap();
        let result = enroll(&cloud_at(&server.url()), &edge, &secret("good"), &file).await;
        assert!(matches!(result, Err(EnrollError::Identity(IdentityError::Disk { .. }))));
        assert!(server.requests().is_empty());
    }
}
