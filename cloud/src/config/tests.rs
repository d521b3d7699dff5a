//! What a settings file and the environment may say, and how mistakes are told.

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cloud.toml");
    std::fs::write(&path, text).unwrap();
    let variable = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
    Config::load(Some(&path), variable).map_err(|error| error.to_string())
}

#[test]
fn the_shipped_example_reads_and_says_what_the_defaults_are() {
    let example = Config::from_toml(include_str!("../../cloud.example.toml")).unwrap();
    let mut shown = format!("{example:?}");
    shown = shown.replace("data_dir: Some(\"./cloud.db.d\")", "data_dir: None");
    assert_eq!(shown, format!("{:?}", Config::default()));
}

#[test]
fn an_unknown_key_is_refused_with_file_and_key() {
    for (text, key) in [
        ("databse_path = 'x'", "databse_path"),
        ("[http]\nbnd = '0.0.0.0:1'", "http.bnd"),
        ("[mqtt]\nbind = 'here'", "mqtt.bind"),
        ("edge_timeout_seconds = 'soon'", "edge_timeout_seconds"),
    ] {
        let error = load(text, &[]).unwrap_err();
        assert!(error.contains("cloud.toml") && error.contains(key), "{error}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_an_empty_variable_is_none() {
    let config = load("database_path = 'a.db'\nsmtp_host = 'mail'", &[("DATABASE_PATH", "b.db"), ("SMTP_HOST", "")]);
    let config = config.unwrap();
    assert_eq!((config.database_path.to_str(), config.smtp_host.as_deref()), (Some("b.db"), Some("mail")));
    assert_eq!(config.data_dir().to_str(), Some("b.db.d"));
    let error = load("", &[("EDGE_TIMEOUT_SECONDS", "soon")]).unwrap_err();
    assert!(error.contains("EDGE_TIMEOUT_SECONDS"), "{error}");
}

#[test]
fn a_database_url_is_taken_from_the_environment_and_its_password_never_shown() {
    let config = load("", &[("DATABASE_URL", "postgres://aivms:hush-hush@db/cloud")]).unwrap();
    assert_eq!(config.postgres().unwrap().unwrap().to_string(), "PostgreSQL aivms@db/cloud");
    assert!(!format!("{config:?} {}", config.to_toml().unwrap()).contains("hush"));
    assert!(load("", &[]).unwrap().postgres().unwrap().is_none());
}

#[test]
fn a_database_url_that_is_wrong_or_beside_a_file_is_refused_without_its_password() {
    let url = ("DATABASE_URL", "postgres://aivms:hush-hush@db/cloud");
    for (text, variables, part) in [
        ("database_path = 'other.db'", vec![url], "database_path"),
        ("", vec![url, ("DATABASE_PATH", "other.db")], "database_path"),
        ("database_url = 'mysql://hush-hush@db/cloud'", vec![], "postgres://"),
        ("database_url = 'postgres://aivms:hush-hush@db'", vec![], "database"),
    ] {
        let error = load(text, &variables).unwrap_err();
        assert!(error.contains("database_url") && error.contains(part) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn a_short_signing_secret_is_refused_and_no_secret_is_ever_printed() {
    let error = load("", &[("JWT_SECRET", "short-but-secret")]).unwrap_err();
    assert!(error.contains("JWT_SECRET") && !error.contains("short-but-secret"), "{error}");
    let config = load("", &[("JWT_SECRET", "0123456789012345678901234567890123456789")]).unwrap();
    assert!(!format!("{config:?}").contains("0123456789"));
}

#[test]
fn a_mistake_beside_a_secret_is_told_without_the_secret() {
    for text in ["\njwt_secret = 'hush-hush", "\njwt_secret = hush-hush", "\njwt_secret = ['hush-hush']"] {
        let error = load(text, &[]).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
        assert!(error.contains("line 2") || error.contains("jwt_secret"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_place_of_clips_that_is_no_bucket_is_refused_by_its_key() {
    let error = load("[media]\nurl = 'file:///clips'", &[]).unwrap_err();
    assert!(error.contains("media.url") && error.contains("clip_upload_dir"), "{error}");
    let bucket = load("[media]\nurl = 's3://clips/site'\ntenant_gib = 2", &[]).unwrap().media_settings();
    assert_eq!((bucket.bucket.unwrap().as_str(), bucket.quota_bytes), ("s3://clips/site", 2 << 30));
}

#[test]
fn half_a_tls_setting_is_refused() {
    let error = load("[http]\ntls_certificate = 'a.pem'", &[]).unwrap_err();
    assert!(error.contains("http.tls_key"), "{error}");
}

#[test]
fn shown_settings_are_a_settings_file_and_hold_no_secret() {
    let hidden = "0123456789012345678901234567890123456789";
    let environment = [("JWT_SECRET", hidden), ("WEBHOOK_URL", "https://hooks.example.com/T0/hush-hush")];
    let shown = load("[http]\ntrusted_proxies = ['10.0.0.1']", &environment).unwrap().to_toml().unwrap();
    assert!(!shown.contains(hidden) && !shown.contains("hush"), "{shown}");
    assert!(shown.contains("jwt_secret") && shown.contains("10.0.0.1"), "what is set is shown: {shown}");
    assert_eq!(Config::from_toml(&shown).unwrap().to_toml().unwrap(), shown);
}

#[test]
fn a_mail_server_without_a_sender_and_wrong_words_about_notifications_are_named() {
    let error = load("smtp_host = 'mail'", &[]).unwrap().smtp_settings().unwrap_err().to_string();
    assert!(error.contains("smtp.from"), "{error}");
    let from = ("SMTP_FROM", "alerts@example.com");
    let settings = load("", &[("SMTP_HOST", "mail"), ("SMTP_PORT", "2525"), from]).unwrap().smtp_settings().unwrap();
    assert_eq!(settings.map(|smtp| (smtp.host, smtp.port)), Some(("mail".into(), Some(2525))));
    for (text, key) in [
        ("[notifications]\nallowed_networks = ['10.0.0.0']", "notifications.allowed_networks"),
        ("[notifications]\nwebhook_secret = 'hush-hush'", "notifications.webhook_secret"),
        ("[notifications]\npush_contact = 'me'", "notifications.push_contact"),
        ("[notifications]\nmails_at_once = 0", "mails_at_once"),
        ("[smtp]\ntls = 'maybe'", "smtp.tls"),
    ] {
        let error = load(text, &[]).unwrap_err();
        assert!(error.contains(key) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn figures_are_shown_to_a_network_only_with_a_token() {
    let error = load("[metrics]\nbind = '0.0.0.0:9464'", &[]).unwrap_err();
    assert!(error.contains("metrics.token") && error.contains("0.0.0.0:9464"), "{error}");
    for text in [
        "",
        "[metrics]\nbind = '127.0.0.1:9464'",
        "[metrics]\nbind = '[::1]:9464'",
        "[metrics]\nbind = '0.0.0.0:9464'\ntoken = '0123456789abcdef'",
    ] {
        load(text, &[]).unwrap();
    }
    let error = load("[metrics]\ntoken = 'hush'", &[]).unwrap_err();
    assert!(error.contains("metrics.token") && !error.contains("hush"), "{error}");
}

#[test]
fn limits_of_calls_that_can_not_be_are_refused_by_their_key_and_zero_is_none() {
    let config = load("[calls]\nper_second = 0\ntenant_per_second = 7", &[]).unwrap().calls;
    assert_eq!((config.per_caller(), config.per_tenant().map(|pace| pace.per_second.get())), (None, Some(7)));
    for (text, key) in [
        ("at_once = 0", "calls.at_once"),
        ("tenant_at_once = 0", "calls.tenant_at_once"),
        ("per_second = 1000001", "calls.per_second"),
        ("tenant_per_second = -1", "calls.tenant_per_second"),
        ("per_minute = 1", "calls.per_minute"),
    ] {
        let error = load(&format!("[calls]\n{text}"), &[]).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}
