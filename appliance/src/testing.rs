//! What several tests need: a certificate authority in memory, an HTTP server, and waiting for a condition.

pub(crate) mod footage;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aivms_contract::edge_api::Enrollment;
use aivms_contract::identity::{Identity, Role};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use crate::cloud::Cloud;
use crate::config;

/// A certificate authority like the cloud's.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key in PEM of a server called `localhost`, valid for ten days from `in_days` from now on.
    pub(crate) fn server(&self, in_days: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        set_validity(&mut params, in_days, in_days + 10);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Answers a certificate request as the cloud does.
    pub(crate) fn enroll(&self, csr_pem: &str, tenant: &str, edge: &str, mqtt_port: u16) -> Enrollment {
        self.enroll_aged(csr_pem, tenant, edge, mqtt_port, 0)
    }

    /// Answers a certificate request as the cloud did some days ago.
    pub(crate) fn enroll_aged(
        &self,
        csr_pem: &str,
        tenant: &str,
        edge: &str,
        mqtt_port: u16,
        age_days: i64,
    ) -> Enrollment {
        let (tenant_id, edge_id) = (tenant.parse().unwrap(), edge.parse().unwrap());
        let identity = Identity { tenant: tenant_id, role: Role::Edge(edge_id) };
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
        request.params.subject_alt_names = vec![SanType::URI(identity.to_string().as_str().try_into().unwrap())];
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        set_validity(&mut request.params, -age_days, 90 - age_days);
        Enrollment {
            tenant_id: tenant.parse().unwrap(),
            edge_id: edge.parse().unwrap(),
            certificate_pem: request.signed_by(&self.issuer).unwrap().pem(),
            ca_pem: self.pem(),
            mqtt_host: "localhost".to_owned(),
            mqtt_port,
            not_after: crate::clock::now() + Duration::from_secs(90 * 86_400),
        }
    }
}

/// Makes a certificate valid between two days, counted from now.
fn set_validity(params: &mut CertificateParams, from_days: i64, to_days: i64) {
    let at = |days: i64| {
        let seconds = crate::clock::now().as_millis() / 1000 + days * 86_400;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap())
    };
    params.not_before = at(from_days);
    params.not_after = at(to_days);
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(90), "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A client of the cloud at `url`.
pub(crate) fn cloud_at(url: &str) -> Cloud {
    Cloud::new(&config::Cloud {
        url: url.parse().unwrap(),
        ca_file: None,
        backup_after: Duration::from_secs(30),
        ack_timeout: Duration::from_secs(20),
    })
    .unwrap()
}

/// A request an [`HttpServer`] got.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    pub(crate) path: String,
    pub(crate) body: String,
    headers: Vec<(String, String)>,
}

impl HttpRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An HTTP server on a free port of this machine, one request per connection.
pub(crate) struct HttpServer {
    port: u16,
    requests: Arc<Mutex<Vec<HttpRequest>>>,
    date: Arc<Mutex<Option<String>>>,
}

impl HttpServer {
    /// Answers each request with the status and body `answer` gives.
    pub(crate) fn answering(answer: impl Fn(&HttpRequest) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server =
            Self { port: listener.local_addr().unwrap().port(), requests: Arc::default(), date: Arc::default() };
        let (requests, date) = (Arc::clone(&server.requests), Arc::clone(&server.date));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read_request(&stream) else { continue };
                let (status, body) = answer(&request);
                requests.lock().unwrap().push(request);
                let date = date.lock().unwrap().as_ref().map(|date| format!("date: {date}\r\n")).unwrap_or_default();
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{date}connection: close\r\n\r\n");
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        server
    }

    pub(crate) fn with_date(self, date: &str) -> Self {
        *self.date.lock().unwrap() = Some(date.to_owned());
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests answered so far.
    pub(crate) fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<HttpRequest> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = HttpRequest { path, body: String::new(), headers };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
