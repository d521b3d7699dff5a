//! Manifests that lead elsewhere, and folders with what is not ours.

use super::*;

fn manifest(path: &str) -> String {
    let file = |path: &str| format!(r#"{{"path": {path:?}, "bytes": 1, "sha256": "00"}}"#);
    format!(
        r#"{{"format": 1, "program": "0", "made_at": "2026-11-22T13:05:00.000Z", "files": [{}, {}]}}"#,
        file(DATABASE),
        file(path)
    )
}

#[test]
fn a_manifest_never_leads_out_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &str| {
        std::fs::write(folder.path().join("manifest.json"), manifest(path)).unwrap();
        Manifest::read(folder.path()).map(|_| ()).map_err(|error| format!("{error:#}"))
    };
    read("data/ca-key.pem").unwrap();
    for path in ["/etc/passwd", "../cloud.db", "data/../../x", "data/a/b", "data/", "data/..", "other"] {
        assert!(read(path).unwrap_err().contains(path), "{path}");
    }
}

#[test]
fn a_backup_without_a_manifest_or_with_another_form_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(format!("{:#}", Manifest::read(folder.path()).unwrap_err()).contains("whole only with it"));
    let later = manifest("data/x").replace("\"format\": 1", "\"format\": 2");
    std::fs::write(folder.path().join("manifest.json"), later).unwrap();
    assert!(format!("{:#}", Manifest::read(folder.path()).unwrap_err()).contains("format 2"));
}

#[test]
fn what_is_on_its_way_is_left_out_and_what_is_not_ours_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["jwt-secret", "ca.pem", "jwt-secret.part"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    std::fs::create_dir(folder.path().join(UPLOADS)).unwrap();
    assert_eq!(data_files(folder.path()).unwrap(), ["ca.pem", "jwt-secret"]);
    std::fs::create_dir(folder.path().join("holiday")).unwrap();
    assert!(data_files(folder.path()).unwrap_err().to_string().contains("holiday"));
}

#[test]
fn for_postgresql_the_command_to_use_is_named_instead_without_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = crate::config::Secret::new("postgres://user:hush@host/name".into());
    let config = Config { database_url: Some(url), ..Config::default() };
    let place = folder.path().join("backup");
    for error in [backup(&config, &place).map(|_| ()).unwrap_err(), restore(&config, &place).map(|_| ()).unwrap_err()] {
        let error = format!("{error:#}");
        assert!((error.contains("pg_dump") || error.contains("pg_restore")) && !error.contains("hush"), "{error}");
    }
    assert!(!place.exists());
}
