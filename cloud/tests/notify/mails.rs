//! Mails through a real mail server: what they hold, and what becomes of those it does not take.

use std::time::{Duration, Instant};

use aivms_cloud::clock;
use aivms_cloud::config::{Config, Secret};
use aivms_cloud::notify::mail::{Mail, MailError, Mailer, SmtpSettings, SmtpTls};
use aivms_cloud::store::DeliveryState;
use aivms_cloud_core::notify::preferences::Preferences;
use aivms_contract::alert::Severity;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::site::Site;
use crate::smtp::MailServer;

fn through(port: u16) -> impl FnOnce(&mut Config) {
    move |config| {
        config.smtp_host = Some("127.0.0.1".into());
        config.smtp.port = Some(port);
        config.smtp.tls = SmtpTls::None;
        config.smtp.from = Some("AIVMS <alerts@vms.example.com>".into());
    }
}

#[tokio::test]
async fn an_alert_is_mailed_with_its_thread_and_a_way_out() {
    let server = MailServer::start(&[]);
    let site = Site::with(vec![443], through(server.port)).await;
    site.mail_list(&["guard@example.com"]).await;
    let preferences = Preferences {
        mail: true,
        time_zone: Some("Europe/Berlin".to_owned().try_into().unwrap()),
        ..Preferences::default()
    };
    site.store.set_preferences(site.owner.tenant, site.owner.key, preferences, clock::now()).await.unwrap();
    site.tell(site.alert("Person <b>in</b> loading-bay\r\nBcc: evil@example.com", Severity::Critical)).await;
    let mails = server.wait_for(2).await;
    let guard = mails.iter().find(|mail| mail.to == ["guard@example.com"]).unwrap();
    let owner = mails.iter().find(|mail| mail.to == [site.owner.email.clone()]).unwrap();
    assert_eq!(
        (guard.from.as_str(), guard.header("From").as_str()),
        ("alerts@vms.example.com", "AIVMS <alerts@vms.example.com>")
    );
    assert!(guard.header("Subject").starts_with("Critical: Person"), "{}", guard.data);
    assert_eq!(guard.header("Bcc"), "");
    assert!(guard.header("In-Reply-To").starts_with("<incident-"), "{}", guard.data);
    assert_eq!(guard.header("In-Reply-To"), owner.header("References"));
    let link = guard.header("List-Unsubscribe");
    assert!(link.starts_with("<https://vms.example.com/api/notifications/unsubscribe?token="), "{link}");
    assert_eq!(guard.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    for part in ["text/plain", "text/html", "Night watch", "Gate / dock"] {
        assert!(guard.data.contains(part), "{part} in {}", guard.data);
    }
    assert!(owner.data.contains("(Europe/Berlin)") && guard.data.contains("(UTC)"));
    let log = site.wait_for_log(|log| log.iter().all(|mail| mail.state == DeliveryState::Delivered)).await;
    let ids: Vec<String> = log.iter().map(|mail| format!("<{}@vms.example.com>", mail.id)).collect();
    assert!(ids.contains(&guard.header("Message-ID")), "{ids:?}");
}

#[tokio::test]
async fn a_storm_is_a_few_mails_that_tell_of_everything() {
    let server = MailServer::start(&[]);
    let site = Site::with(vec![443], |config| {
        through(server.port)(config);
        config.notifications.digest_seconds = 3;
    })
    .await;
    site.mail_list(&["guard@example.com"]).await;
    for number in 0..60 {
        site.tell(site.alert(&format!("alert-{number:02}."), Severity::Warning)).await;
    }
    let log = site.wait_for_log(|log| log.iter().all(|mail| mail.state == DeliveryState::Delivered)).await;
    let mails = server.taken();
    assert!(mails.len() <= 5 + 7, "{} mails", mails.len());
    assert_eq!(log.len(), 60);
    let all: String = mails.iter().map(|mail| mail.data.replace("=\r\n", "")).collect();
    for number in 0..60 {
        assert!(all.contains(&format!("alert-{number:02}.")), "{number}");
    }
    assert!(mails.iter().any(|mail| mail.header("Subject").contains("alerts, up to warning")));
}

#[tokio::test]
async fn mails_refused_for_now_come_later_and_those_refused_for_good_never() {
    let server = MailServer::start(&[]);
    let site = Site::with(vec![443], through(server.port)).await;
    site.mail_list(&["later@example.com", "never@example.com", "slow@example.com", "at-once@example.com"]).await;
    site.tell(site.alert("x", Severity::Info)).await;
    let log = site.wait_for_log(|log| log.iter().all(|mail| mail.state != DeliveryState::Waiting)).await;
    let of = |address: &str| log.iter().find(|mail| mail.receiver == format!("mail:{address}@example.com")).unwrap();
    for address in ["later", "slow", "at-once"] {
        assert_eq!(of(address).state, DeliveryState::Delivered, "{address}");
    }
    let never = of("never");
    assert_eq!((never.state, never.attempts), (DeliveryState::Failed, 1));
    assert!(never.last_error.as_ref().unwrap().contains("550"), "{never:?}");
    assert_eq!(of("later").attempts, 1, "one try failed");
    let mut to: Vec<String> = server.taken().into_iter().flat_map(|mail| mail.to).collect();
    to.sort();
    assert_eq!(to, ["at-once@example.com", "later@example.com", "slow@example.com"]);
}

#[tokio::test]
async fn a_mail_that_hangs_delays_no_other() {
    let server = MailServer::start(&[]);
    let site = Site::with(vec![443], through(server.port)).await;
    site.mail_list(&["hang@example.com", "guard@example.com"]).await;
    let begun = Instant::now();
    for _ in 0..3 {
        site.tell(site.alert("x", Severity::Info)).await;
    }
    server.wait_for(2).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(server.taken().iter().all(|mail| mail.to == ["guard@example.com"]));
}

#[tokio::test]
async fn without_a_mail_server_the_log_says_what_is_missing() {
    let site = Site::with(vec![443], |_| {}).await;
    site.mail_list(&["guard@example.com"]).await;
    site.tell(site.alert("x", Severity::Info)).await;
    let log = site.wait_for_log(|log| log[0].state == DeliveryState::Failed).await;
    assert!(log[0].last_error.as_ref().unwrap().contains("smtp_host"), "{log:?}");
}

#[tokio::test]
async fn a_mailer_signs_in_over_tls_and_says_nothing_in_the_clear() {
    aivms_cloud::run::install_crypto_provider();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("mail.crt"), folder.path().join("mail.key"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let arguments = [certificate.to_str().unwrap(), key.to_str().unwrap(), "hush-hush"];
    let server = MailServer::start(&arguments);
    let plain = MailServer::start(&[]);
    let settings = |port, password: &str, ca| SmtpSettings {
        host: "localhost".into(),
        port: Some(port),
        tls: SmtpTls::Starttls,
        ca,
        user: Some("alerts".into()),
        password: Some(Secret::new(password.into())),
        from: "alerts@vms.example.com".into(),
    };
    let mail = Mail { to: "guard@example.com".into(), subject: "Hi".into(), text: "there".into(), ..Mail::default() };
    let send = async |settings| Mailer::new(&settings).unwrap().send(&mail).await;
    send(settings(server.port, "hush-hush", Some(certificate.clone()))).await.unwrap();
    let taken = server.wait_for(1).await.pop().unwrap();
    assert!(taken.tls && taken.authenticated);
    for (settings, reason) in [
        (settings(server.port, "wrong", Some(certificate.clone())), "a wrong password"),
        (settings(server.port, "hush-hush", None), "a certificate that nobody vouches for"),
        (settings(plain.port, "hush-hush", Some(certificate.clone())), "a server that offers no TLS"),
        (settings(1, "hush-hush", Some(certificate)), "no server"),
    ] {
        let begun = Instant::now();
        let error = send(settings).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(20), "{reason}: {error}");
        assert!(matches!(error, MailError::Server(_)), "{reason}: {error}");
        assert!(!error.to_string().contains("hush-hush"), "{error}");
    }
    assert_eq!((server.taken().len(), plain.taken().len()), (1, 0));
}

#[tokio::test]
async fn mails_about_accounts_are_sent_once_and_forgotten() {
    let server = MailServer::start(&[]);
    let site = Site::with(vec![443], through(server.port)).await;
    let database = rusqlite::Connection::open(&site.config.database_path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    for to in ["guest@example.com", "never@example.com"] {
        let sql = "insert into outgoing_mail (recipient, subject, body_text, created_at, due_at, expires_at)
                   values (?1, 'Join Acme', 'https://vms.example.com/join?secret', 0, 0, 9000000000000)";
        database.execute(sql, [to]).unwrap();
    }
    let mailer = Mailer::new(&site.config.smtp_settings().unwrap().unwrap()).unwrap();
    // Two processes.
    for _ in 0..2 {
        let (store, mailer, stop) = (site.store.clone(), Some(mailer.clone()), site.stop.clone());
        tokio::spawn(aivms_cloud::notify::outgoing::send_mails(store, mailer, stop));
    }
    let mail = server.wait_for(1).await.pop().unwrap();
    assert!(mail.to == ["guest@example.com"] && mail.data.contains("join?secret"), "{mail:?}");
    let begun = Instant::now();
    let left = "select count(*) from outgoing_mail where sent_at is null and failed_at is null or body_text <> ''";
    while database.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap() > 0 {
        assert!(begun.elapsed() < crate::site::SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.taken().len(), 1);
}
