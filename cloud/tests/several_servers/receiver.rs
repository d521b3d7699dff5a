//! A receiver of webhooks that can hold its answers back, and knows which connection each message came over.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poem::http::HeaderMap;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::{Data, RemoteAddr};
use poem::{Body, EndpointExt, Route, Server, handler};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

/// What came in one request.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The path: which channel it is for.
    pub path: String,
    pub id: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The other end of the connection.
    pub from: SocketAddr,
    /// Whether it was answered with 200, not held back.
    pub taken: bool,
}

/// The receiver; it ends with the test.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    seen: Mutex<Vec<Message>>,
    /// While true, nobody gets an answer.
    holds: watch::Sender<bool>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(State { seen: Mutex::default(), holds: watch::Sender::new(false) });
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let port = acceptor.local_addr()[0].as_socket_addr().unwrap().port();
        let app = Route::new().at("/:channel", poem::post(take)).data(Arc::clone(&state));
        tokio::spawn(Server::new_with_acceptor(acceptor).run(app));
        Self { port, state }
    }

    /// Answers nobody from now on.
    pub(crate) fn hold(&self) {
        self.state.holds.send_replace(true);
    }

    /// Answers again what comes; what was held back never gets an answer.
    pub(crate) fn go_on(&self) {
        self.state.holds.send_replace(false);
    }

    pub(crate) fn seen(&self) -> Vec<Message> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Messages that are held back now.
    pub(crate) fn held(&self) -> Vec<Message> {
        self.seen().into_iter().filter(|message| !message.taken).collect()
    }

    /// The ids that were taken.
    pub(crate) fn taken(&self) -> BTreeSet<String> {
        self.seen().into_iter().filter(|message| message.taken).map(|message| message.id).collect()
    }
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[handler]
async fn take(
    poem::web::Path(path): poem::web::Path<String>,
    headers: &HeaderMap,
    from: &RemoteAddr,
    body: Body,
    state: Data<&Arc<State>>,
) -> poem::http::StatusCode {
    let body = body.into_vec().await.unwrap();
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let from = *from.as_socket_addr().unwrap();
    // As long as a real one takes, so that there is always something on its way.
    sleep(Duration::from_millis(fastrand::u64(50..200))).await;
    let taken = !*state.holds.borrow();
    state.seen.lock().unwrap().push(Message { path, id, headers: headers.clone(), body, from, taken });
    if !taken {
        std::future::pending::<()>().await;
    }
    poem::http::StatusCode::OK
}
