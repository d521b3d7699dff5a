//! What is said of a cloud before, at and after its first start.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::ca::CertificateAuthority;
use crate::clock;
use crate::store::Store;

async fn checks(folder: &Path, more: &str) -> Vec<Check> {
    let file = folder.join("cloud.toml");
    let settings = format!("database_path = '{0}/cloud.db'\nclip_upload_dir = '{0}/clips'\n{more}", folder.display());
    std::fs::write(&file, settings).unwrap();
    examine(Some(&file), |_| None).await
}

#[track_caller]
fn of<'a>(checks: &'a [Check], subject: &str) -> &'a Check {
    checks.iter().find(|check| check.subject == subject).unwrap_or_else(|| panic!("{subject} in {checks:?}"))
}

#[tokio::test]
async fn a_wrong_setting_is_all_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let found = checks(folder.path(), "bogus = 1").await;
    assert!(matches!(&found[..], [check] if check.verdict == Verdict::Fail && check.finding.contains("bogus")));
    assert_eq!(render(&found).1, Verdict::Fail);
}

#[tokio::test]
async fn a_cloud_that_never_started_has_nothing_broken_and_gets_nothing_made() {
    let folder = tempfile::tempdir().unwrap();
    let found = checks(folder.path(), "").await;
    assert!(found.iter().all(|check| check.verdict < Verdict::Fail), "{found:?}");
    assert_eq!(of(&found, "database").verdict, Verdict::Warn);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the settings are there");
}

#[tokio::test]
async fn a_cloud_at_work_is_well_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("cloud.db.d");
    let store = Store::open_sqlite(&folder.path().join("cloud.db")).unwrap();
    CertificateAuthority::open(&data, clock::now()).unwrap();
    let found = checks(folder.path(), "").await;
    for subject in ["settings", "database", "keys and secrets", "CA's certificate"] {
        assert_eq!(of(&found, subject).verdict, Verdict::Ok, "{found:?}");
    }
    drop(store);

    std::fs::set_permissions(data.join("ca-key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(data.join("ca.pem"), "nothing").unwrap();
    std::fs::write(folder.path().join("cloud.db"), "nothing").unwrap();
    let found = checks(folder.path(), "").await;
    for (subject, word) in [("database", "cloud.db"), ("keys and secrets", "chmod 600"), ("CA's certificate", "backup")]
    {
        let check = of(&found, subject);
        assert!(check.verdict == Verdict::Fail && check.finding.contains(word), "{check:?}");
    }
    let (shown, worst) = render(&found);
    assert!(worst == Verdict::Fail && shown.lines().all(|line| !line.ends_with(' ')), "{shown}");
}

#[tokio::test]
async fn a_mail_server_that_is_not_there_is_named() {
    crate::run::install_crypto_provider();
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let more = format!("smtp_host = '127.0.0.1'\n[smtp]\nport = {port}\ntls = 'none'\nfrom = 'a@example.com'");
    let found = checks(folder.path(), &more).await;
    let check = of(&found, "mail server");
    assert!(check.verdict == Verdict::Fail && check.finding.contains("127.0.0.1"), "{check:?}");
}
