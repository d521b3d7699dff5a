//! A network camera for tests: a real RTSP server on loopback, with Digest authentication and faults on demand.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::gst_rtsp::RTSPAuthMethod;
use gstreamer_rtsp_server::prelude::*;

/// What every test camera's user is called.
pub(crate) const USER: &str = "viewer";
/// The password that every test camera asks for.
pub(crate) const PASSWORD: &str = "correct horse";

/// A live picture of 320x240 at 15 per second, with a key picture each second.
pub(crate) const TEST_PICTURE: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! \
    openh264enc gop-size=15 ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1";

/// One camera; it goes with the value.
pub(crate) struct RtspCamera {
    pub(crate) port: u16,
    frozen: Arc<AtomicBool>,
    server: rtsp::RTSPServer,
    main_loop: glib::MainLoop,
    source: Option<glib::SourceId>,
    thread: Option<JoinHandle<()>>,
}

impl RtspCamera {
    /// Starts a camera that sends what `launch` makes, at `/main`; port 0 for any.
    pub(crate) fn start(launch: &str, port: u16) -> Self {
        gst::init().unwrap();
        let (context, frozen) = (glib::MainContext::new(), Arc::new(AtomicBool::new(false)));
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.to_string());
        server.set_auth(Some(&digest()));
        server.mount_points().unwrap().add_factory("/main", factory(launch, &frozen));
        let source = Some(server.attach(Some(&context)).expect("the port is free"));
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let running = main_loop.clone();
        let thread = Some(std::thread::spawn(move || {
            let _ = context.with_thread_default(|| running.run());
        }));
        let port = u16::try_from(server.bound_port()).unwrap();
        Self { port, frozen, server, main_loop, source, thread }
    }

    /// The URL without credentials.
    pub(crate) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/main", self.port)
    }

    /// Keeps the session alive but sends no more pictures, or sends them again.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
    }
}

impl Drop for RtspCamera {
    /// Closes the port and every connection.
    fn drop(&mut self) {
        let source = self.source.take().unwrap();
        if let Some(source) = self.main_loop.context().find_source_by_id(&source) {
            source.destroy();
        }
        self.server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        self.main_loop.quit();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn digest() -> rtsp::RTSPAuth {
    let auth = rtsp::RTSPAuth::new();
    auth.set_supported_methods(RTSPAuthMethod::Digest);
    let token = rtsp::RTSPToken::builder().field("media.factory.role", "viewer").build();
    auth.add_digest(USER, PASSWORD, &token);
    auth
}

/// Each client gets its own media: shared media stalled in measurements with two clients.
fn factory(launch: &str, frozen: &Arc<AtomicBool>) -> rtsp::RTSPMediaFactory {
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_launch(&format!("( {launch} )"));
    factory.set_shared(false);
    let role = gst::Structure::builder("viewer")
        .field("media.factory.access", true)
        .field("media.factory.construct", true)
        .build();
    factory.add_role_from_structure(&role);
    let frozen = Arc::clone(frozen);
    factory.connect_media_configure(move |_, media| {
        let payloader = media.element().downcast::<gst::Bin>().unwrap().by_name("pay0").unwrap();
        let frozen = Arc::clone(&frozen);
        payloader.static_pad("src").unwrap().add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |_, _| {
                if frozen.load(Ordering::Relaxed) { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
            },
        );
    });
    factory
}

/// A camera that agrees to everything and then sends nothing, from the moment it is first played.
pub(crate) fn silent_camera() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || answer_requests(&connection.unwrap()));
        }
    });
    port
}

fn answer_requests(mut connection: &TcpStream) {
    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=silent\r\nt=0 0\r\na=control:*\r\n\
        m=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n";
    let mut lines = BufReader::new(connection).lines();
    loop {
        let request: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(first) = request.first() else { return };
        let method = first.split(' ').next().unwrap_or_default();
        let sequence = request.iter().find(|line| line.starts_with("CSeq:")).cloned().unwrap_or_default();
        let (headers, body) = match method {
            "OPTIONS" => ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".to_owned(), ""),
            "DESCRIBE" => (format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", SDP.len()), SDP),
            "SETUP" => ("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n".to_owned(), ""),
            _ => ("Session: 1\r\n".to_owned(), ""),
        };
        if write!(connection, "RTSP/1.0 200 OK\r\n{sequence}\r\n{headers}\r\n{body}").is_err() {
            return;
        }
    }
}

/// A host that takes connections and never says a word.
pub(crate) fn mute_host() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}
