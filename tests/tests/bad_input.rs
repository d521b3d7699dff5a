//! Bad input: each fault gives one clear message that names the field or camera and what to do, and the rest runs on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aivms_tests::api::Api;
use aivms_tests::edge_client::EdgeIdentity;
use aivms_tests::faulty::{Answering, SmallDisk};
use aivms_tests::site::{Appliance, Cloud, Watch};
use aivms_tests::{fixtures, ledger, wait};
use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Exit code of wrong settings.
const EX_CONFIG: i32 = 78;
/// Longest wait for what takes a moment.
const SOON: Duration = Duration::from_secs(30);

/// A program that must refuse its settings.
struct Refused<'a> {
    program: &'a str,
    settings: &'a str,
    cameras: &'a str,
    variable: (&'a str, &'a str),
    /// What its message must hold.
    says: &'a [&'a str],
}

impl Refused<'_> {
    fn check(&self) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("settings.toml");
        fs::write(&file, self.settings)?;
        fs::write(directory.path().join("cameras.json"), self.cameras)?;
        let output = Command::new(fixtures::program(self.program)?)
            .args(["run", "--config"])
            .arg(&file)
            .current_dir(&directory)
            .env(self.variable.0, self.variable.1)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(EX_CONFIG), "{:?} after: {text}", output.status);
        ensure!(text.trim_end().lines().count() == 1, "not one line:\n{text}");
        for part in self.says {
            ensure!(text.contains(part), "{part:?} is not in: {text}");
        }
        ensure!(!text.contains("hush") && !text.contains("4711"), "the secret is in: {text}");
        Ok(())
    }
}

/// Settings of an appliance whose only fault is the one to be told.
const NONE: (&str, &str) = ("AIVMS_TEST", "");
const NO_CAMERA: &str = r#"{"cameras": []}"#;

#[test]
fn wrong_settings_end_the_appliance_with_one_line_that_names_file_and_field() -> Result<()> {
    let model = "[edge]\nid = 'edge_1'\n[detection]\nmodel = 'gone.onnx'\n";
    let settings: [(&str, (&str, &str), &[&str]); 7] = [
        ("[detection]\nfsp = 3\n", NONE, &["settings.toml", "detection.fsp", "unknown field", "`fps`"]),
        ("dta_dir = 'x'\n", NONE, &["settings.toml", "dta_dir", "`data_dir`"]),
        ("[edge]\nid = 'edge_1'\nsecret = 'hush-hush\n", NONE, &["settings.toml", "line 3"]),
        ("[edge]\nsecret = 4711\n", NONE, &["settings.toml", "edge.secret", "quotation marks"]),
        ("", ("DETECTION_FPS", "fast"), &["DETECTION_FPS", "must be a number", "fast"]),
        ("", ("CLOUD_URL", "http://192.0.2.7"), &["CLOUD_URL", "use https"]),
        (model, NONE, &["gone.onnx", "No such file", "DETECTION_MODEL"]),
    ];
    for (settings, variable, says) in settings {
        Refused { program: "aivms-appliance", settings, cameras: NO_CAMERA, variable, says }.check()?;
    }
    Ok(())
}

#[test]
fn wrong_cameras_and_polygons_end_the_appliance_with_one_line_that_names_the_field() -> Result<()> {
    let zone = |polygon: &str| {
        format!(
            r#"{{"cameras": [{{"id": "gate", "url": "file:///v", "zones": [{{"id": "z", "polygon": {polygon}}}]}}]}}"#
        )
    };
    let polygon = "cameras[0].zones[0].polygon";
    let cameras: [(String, &[&str]); 8] = [
        (zone("[[0, 0], [1, 1]]"), &[polygon, "3 to 64 corners, has 2"]),
        (zone("[[0, 0], [1, 1], [1, 0], [0, 1]]"), &[polygon, "corner 0", "corner 2", "in order around the zone"]),
        (zone("[[0, 0], [1.5, 1], [1, 0]]"), &[polygon, "corner 1", "from 0 to 1"]),
        (zone("[[0, 0], [0, \"x\"], [1, 0]]"), &["cameras[0].zones[0].polygon[1][1]", "expected f64"]),
        (r#"{"cameras": [{"id": "gate", "url": "file:///v", "zone": []}]}"#.into(), &["cameras[0].zone", "`zones`"]),
        (r#"{"cameras": [{"id": "gate", "url": "http://u:hush@h/"}]}"#.into(), &["cameras[0].url", "use rtsp://"]),
        (r#"{"cameras": [{"id": "gate", "url": "rtsp://h/", "password": 4711}]}"#.into(), &["cameras[0].password"]),
        (r#"{"cameras": [{"id": "a", "url": "file:///v"}, {"id": "a", "url": "file:///v"}]}"#.into(), &["\"a\""]),
    ];
    for (cameras, says) in &cameras {
        let says: Vec<_> = says.iter().copied().chain(["cameras.json"]).collect();
        Refused { program: "aivms-appliance", settings: "", cameras, variable: NONE, says: &says }.check()?;
    }
    Ok(())
}

#[test]
fn wrong_settings_end_the_cloud_with_one_line_that_names_file_and_field() -> Result<()> {
    let settings: [(&str, (&str, &str), &[&str]); 5] = [
        ("[http]\nbnd = 'x'\n", NONE, &["settings.toml", "http.bnd", "unknown field", "`bind`"]),
        ("[mqtt]\nbind = 'here'\n", NONE, &["settings.toml", "mqtt.bind"]),
        ("\njwt_secret = 'hush-hush\n", NONE, &["settings.toml", "line 2"]),
        ("jwt_secret = 4711\n", NONE, &["settings.toml", "jwt_secret", "quotation marks"]),
        ("", ("JWT_SECRET", "hush"), &["JWT_SECRET", "at least 32 bytes", "openssl"]),
    ];
    for (settings, variable, says) in settings {
        Refused { program: "aivms-cloud", settings, cameras: NO_CAMERA, variable, says }.check()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_spent_secrets_are_told_as_such_and_stop_nobody_else() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&cloud.base, "secret-test").await?;
    let (status, problem) = sign_in(&cloud, "owner@secret-test.example", "hush-hush").await?;
    ensure!(status == 401 && problem["detail"] == "e-mail address or password is wrong", "{status} {problem}");

    let watch = Watch { settings: "[reporting]\nheartbeat_s = 1\nhealth_s = 1\n".into(), ..Watch::nothing() };
    let mut edge = Appliance::register(&directory.path().join("edge"), &api, &cloud.base).await?;
    let mut wrong = edge.twin(&directory.path().join("wrong"), &cloud.base)?;
    wrong.edge_secret = "hush-hush".into();
    // Before the right secret is spent: afterwards the cloud says that, whatever is shown.
    wrong.up(&watch)?;
    let cause = wait::until("a cause in the status", SOON, async || {
        wrong.check_alive()?;
        Ok(wrong.status()?["link"]["cause"].as_str().map(str::to_owned))
    });
    let cause = cause.await?;
    let refused = format!("the cloud refused the edge secret of {}", edge.edge_id());
    ensure!(cause.contains(&refused) && cause.contains("EDGE_SECRET"), "{cause}");
    ensure!(wrong.status()?["link"]["state"] == "not_enrolled", "{}", wrong.status()?);
    let told = lines_with(&wrong.log(), "ERROR")?;
    ensure!(told.len() == 1 && told[0].contains(&refused), "{told:?}");

    edge.up(&watch)?;
    ledger::wait_for_stored(&cloud, 3).await?;
    let spent = edge.twin(&directory.path().join("spent"), &cloud.base)?;
    spent.configure(&watch)?;
    let (code, text) = spent.ask(&["enroll"])?;
    ensure!(code == Some(1) && text.lines().count() == 1, "{code:?} {text}");
    ensure!(text.contains(edge.edge_id()) && text.contains("has been used already; rotate"), "{text}");
    let mut logs = [wrong.log(), cloud.log()].map(|log| fs::read_to_string(log).unwrap_or_default()).concat();
    logs.push_str(&text);
    ensure!(!logs.contains("hush-hush") && !logs.contains(&edge.edge_secret), "a secret was printed");
    runs_on(&mut cloud, &mut edge).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_off_is_told_once_with_what_to_do_and_the_appliance_runs_on() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let real = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&real.base, "clock-test").await?;
    let cloud = Answering::cloud_of_2100().await?;
    let url = format!("http://{}", cloud.address());
    let mut edge = Appliance::register(&directory.path().join("edge"), &api, &url).await?;
    edge.up(&Watch::nothing())?;
    let problem = wait::until("a clock problem in the status", SOON, async || {
        edge.check_alive()?;
        Ok(edge.status()?["clock_problem"].as_str().map(str::to_owned))
    });
    let problem = problem.await?;
    ensure!(problem.contains("days behind the cloud's") && problem.ends_with("set it (NTP)"), "{problem}");
    let told = lines_with(&edge.log(), "days behind the cloud's")?;
    ensure!(told.len() == 1, "{told:?}");
    let (code, text) = edge.ask(&["doctor"])?;
    let clock = text.lines().find(|line| line.contains("FAIL  clock")).with_context(|| text.clone())?;
    ensure!(code == Some(1) && clock.contains("set it (NTP)"), "{code:?} {text}");
    edge.check_alive()
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_that_fail_are_named_beside_one_that_goes_on_and_no_log_holds_a_secret() -> Result<()> {
    const PASSWORD: &str = "hush-camera-4711";
    let directory = tempfile::tempdir()?;
    let mut cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    cloud.kill()?;
    cloud.log_filter = Some("debug");
    cloud.up().await?;
    let api = Api::register(&cloud.base, "camera-test").await?;
    let (locked, silent) = (Answering::unauthorized_camera().await?, Answering::silent_camera().await?);
    let mut watch = Watch::people_walking()?;
    let cameras = watch.cameras["cameras"].as_array_mut().context("cameras")?;
    cameras.push(json!({"id": "locked", "url": format!("rtsp://admin:{PASSWORD}@{}/", locked.address())}));
    cameras.push(json!({"id": "locked-too", "url": format!("rtsp://{}/", locked.address()), "username": "admin", "password": PASSWORD}));
    cameras.push(json!({"id": "silent", "url": format!("rtsp://{}/", silent.address())}));
    cameras.push(json!({"id": "nowhere", "url": "rtsp://127.0.0.1:1/"}));
    cameras.push(json!({"id": "no-file", "url": "file:///nonexistent/video.mp4"}));
    let mut edge = Appliance::register(&directory.path().join("edge"), &api, &cloud.base).await?;
    edge.log_filter = "debug";
    edge.up(&watch)?;

    let expected = [
        ("locked", "answers 401: check username and password"),
        ("locked-too", "answers 401: check username and password"),
        ("silent", "cannot be reached: check its power, its network and the address in its url"),
        ("nowhere", "cannot be reached: check its power, its network and the address in its url"),
        ("no-file", "does not exist: correct the url"),
    ];
    wait::until("a cause for each camera", SOON * 3, async || {
        edge.check_alive()?;
        let status = edge.status()?;
        let all =
            expected.iter().all(|(camera, says)| cause_of(&status, camera).is_some_and(|cause| cause.contains(says)));
        ensure!(all, "{}", status["health"]["cameras"]);
        Ok(Some(()))
    })
    .await?;
    for (camera, says) in expected {
        let named = format!("camera {camera}");
        let cause = cause_of(&edge.status()?, camera).unwrap_or_default();
        ensure!(cause.contains(&named) && cause.contains(says), "{camera}: {cause}");
        ensure!(!lines_with(&edge.log(), says)?.is_empty(), "{camera} is not in the log");
    }
    ledger::wait_for_stored(&cloud, 5).await?;
    runs_on(&mut cloud, &mut edge).await?;
    let (code, text) = edge.ask(&["doctor"])?;
    ensure!(code == Some(1), "{code:?}\n{text}");
    for (camera, says) in expected {
        let line = text.lines().find(|line| line.contains(&format!("FAIL  camera {camera} ")));
        ensure!(line.is_some_and(|line| line.contains(says)), "{camera}:\n{text}");
    }
    ensure!(text.lines().any(|line| line.starts_with("ok    camera gate")), "{text}");

    let data = directory.path().join("edge/data");
    let mut secrets = vec![
        PASSWORD.to_owned(),
        edge.edge_secret.clone(),
        "correct horse battery".to_owned(),
        api.token().to_owned(),
        fs::read_to_string(directory.path().join("cloud/cloud.db.d/jwt-secret"))?.trim().to_owned(),
    ];
    secrets.extend(private_keys(&directory.path().join("cloud/cloud.db.d"))?);
    let cloud_keys = secrets.len();
    secrets.extend(private_keys(&data.join("identity"))?);
    ensure!(cloud_keys > 5 && secrets.len() > cloud_keys, "the keys were not found, so nothing is proved");
    let mut shown = vec![("doctor".to_owned(), text.into_bytes())];
    let written = [
        cloud.log(),
        edge.log(),
        cloud.database(),
        cloud.database().with_extension("db-wal"),
        data.join("run/status.json"),
    ];
    for path in written {
        shown.push((path.display().to_string(), fs::read(&path)?));
    }
    for (place, bytes) in &shown {
        let text = String::from_utf8_lossy(bytes);
        ensure!(secrets.iter().all(|secret| !text.contains(secret)), "{place} holds a secret");
        ensure!(!text.contains("eyJ"), "{place} holds a token");
        ensure!(!text.contains("PRIVATE KEY"), "{place} holds a key");
    }
    Ok(())
}

/// Only the superuser may mount a small disk; for others the tests of outbox and ingest hold this promise alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_either_side_is_told_once_and_nothing_is_lost() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (cloud_dir, edge_dir) = (directory.path().join("cloud"), directory.path().join("edge"));
    let Some(cloud_disk) = SmallDisk::mount(&directory.path().join("cloud-disk"))? else { return Ok(()) };
    let edge_disk = SmallDisk::mount(&directory.path().join("edge-disk"))?.context("a second disk")?;
    fs::create_dir_all(&cloud_dir)?;
    fs::create_dir_all(&edge_dir)?;
    fs::create_dir(edge_disk.path().join("data"))?;
    std::os::unix::fs::symlink(cloud_disk.path().join("cloud.db"), cloud_dir.join("cloud.db"))?;
    std::os::unix::fs::symlink(edge_disk.path().join("data"), edge_dir.join("data"))?;

    let mut cloud = Cloud::start(&cloud_dir, None).await?;
    let api = Api::register(&cloud.base, "disk-test").await?;
    let mut edge = Appliance::register(&edge_dir, &api, &cloud.base).await?;
    edge.up(&Watch { settings: "[reporting]\nheartbeat_s = 1\nhealth_s = 1\n".into(), ..Watch::nothing() })?;
    ledger::wait_for_stored(&cloud, 3).await?;

    cloud_disk.fill()?;
    let told = told_in(&cloud.log(), "ERROR", "can't be stored").await?;
    ensure!(
        told.contains("disk is full") && told.contains("database_path") && told.contains("free some room"),
        "{told}"
    );
    api.get("/api/tenant/edges").await.context("reading needs no room")?;
    // Tries are counted in the database, so that nobody guesses while it can't be written.
    let (status, _) = sign_in(&cloud, "owner@disk-test.example", "correct horse battery").await?;
    ensure!(status == 503, "a sign-in that can't be counted: {status}");
    let refused = api.register_edge("no room").await.err().context("an edge needs room")?.to_string();
    ensure!(refused.contains("503") && refused.contains("can't write its database"), "{refused}");
    cloud.check_alive()?;
    edge.check_alive()?;
    cloud_disk.relieve()?;
    runs_on(&mut cloud, &mut edge).await?;

    edge_disk.fill()?;
    let told = told_in(&edge.log(), "ERROR", "events wait in memory").await?;
    ensure!(told.contains("disk is full") && told.contains("outbox") && told.contains("free some room"), "{told}");
    wait::until("a status of the full disk", SOON, async || {
        let (_, text) = edge.ask(&["status"])?;
        ensure!(text.contains("FULL, free some room"), "{text}");
        Ok(Some(()))
    })
    .await?;
    edge.check_alive()?;
    cloud.check_alive()?;
    let told = lines_with(&edge.log(), "ERROR")?;
    ensure!(told.len() == 1, "{told:#?}");
    edge_disk.relieve()?;
    runs_on(&mut cloud, &mut edge).await
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_oversized_and_foreign_packets_close_that_connection_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&cloud.base, "packet-test").await?;
    let mut edge = Appliance::register(&directory.path().join("edge"), &api, &cloud.base).await?;
    edge.up(&Watch { settings: "[reporting]\nheartbeat_s = 1\nhealth_s = 1\n".into(), ..Watch::nothing() })?;
    ledger::wait_for_stored(&cloud, 2).await?;
    let attacker = EdgeIdentity::enroll(&api, &cloud.base, "attacker").await?;
    let connect = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04evil".to_vec();
    let foreign = format!("aivms/v1/{}/{}/up/health", attacker.tenant, edge.edge_id());
    let publish = |topic: &str| {
        let body = [&[0, u8::try_from(topic.len()).unwrap_or(0)], topic.as_bytes(), b"{}"].concat();
        [&[0x30, u8::try_from(body.len()).unwrap_or(0)], body.as_slice()].concat()
    };
    let attacks: [(&str, Vec<u8>); 5] = [
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a second CONNECT", [connect.clone(), connect.clone()].concat()),
        ("a packet of a reserved type", [connect.as_slice(), b"\xf0\x00"].concat()),
        // The length alone says 256 MiB.
        ("an oversized packet", [connect.as_slice(), b"\x32\xff\xff\xff\x7f"].concat()),
        ("the topic of another edge", [connect.as_slice(), &publish(&foreign)].concat()),
    ];
    let before = lines_with(&cloud.log(), "MQTT: connected")?.len();
    for (name, bytes) in attacks {
        let closed = tokio::time::timeout(SOON, say_and_wait_for_the_end(&attacker, &bytes)).await;
        ensure!(closed.is_ok(), "{name} leaves the connection open");
        cloud.check_alive()?;
    }
    runs_on(&mut cloud, &mut edge).await?;
    let victim = lines_with(&cloud.log(), "disconnected")?;
    ensure!(victim.iter().all(|line| !line.contains(edge.edge_id())), "the innocent edge was cut: {victim:?}");
    ensure!(lines_with(&cloud.log(), "MQTT: connected")?.len() > before, "no attacker came as far as CONNECT");
    Ok(())
}

/// Says `bytes` over the attacker's own TLS connection and reads until the cloud closes it.
async fn say_and_wait_for_the_end(attacker: &EdgeIdentity, bytes: &[u8]) -> Result<()> {
    let tcp = TcpStream::connect(attacker.address).await?;
    let name = ServerName::try_from(attacker.server_name.clone())?;
    let mut stream = tokio_rustls::TlsConnector::from(attacker.tls.clone()).connect(name, tcp).await?;
    // The cloud may close before all is said.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    while stream.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    Ok(())
}

/// Waits until events kept after now are stored.
async fn runs_on(cloud: &mut Cloud, edge: &mut Appliance) -> Result<()> {
    let before = ledger::stored(&cloud.database())?.len();
    wait::until("further events", SOON, async || {
        cloud.check_alive()?;
        edge.check_alive()?;
        Ok((ledger::stored(&cloud.database())?.len() >= before + 3).then_some(()))
    })
    .await
}

async fn sign_in(cloud: &Cloud, email: &str, password: &str) -> Result<(u16, Value)> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let request = http.post(format!("{}/api/auth/login", cloud.base));
    let answer = request.json(&json!({"email": email, "password": password})).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

fn cause_of(status: &Value, camera: &str) -> Option<String> {
    let cameras = status["health"]["cameras"].as_array()?;
    let camera = cameras.iter().find(|found| found["camera_id"] == camera)?;
    Some(camera["cause"].as_str()?.to_owned())
}

fn lines_with(log: &Path, part: &str) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    Ok(text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect())
}

/// Waits for a line with both parts.
async fn told_in(log: &Path, level: &str, part: &str) -> Result<String> {
    let look = async || Ok(lines_with(log, part)?.into_iter().find(|line| line.contains(level)));
    wait::until(part, SOON, look).await
}

/// The second line of each private key in PEM below a folder: enough to find the key, and in no public text.
fn private_keys(folder: &Path) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            keys.extend(private_keys(&path)?);
        } else if let Ok(text) = fs::read_to_string(&path)
            && text.contains("PRIVATE KEY")
        {
            let lines = text.lines().skip_while(|line| !line.contains("PRIVATE KEY"));
            keys.extend(lines.skip(1).take_while(|line| !line.starts_with('-')).skip(1).take(1).map(str::to_owned));
        }
    }
    Ok(keys)
}
