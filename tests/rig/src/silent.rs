//! Cameras that are no cameras.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// A camera that agrees to everything and then sends nothing, from the moment it is first played.
///
/// # Errors
/// There is no free port.
pub fn silent_camera() -> io::Result<u16> {
    let (listener, port) = mute_host()?;
    // Ends with the test's process.
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer_requests(&connection));
        }
    });
    Ok(port)
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

/// A host that takes connections and never says a word, while the listener lives.
///
/// # Errors
/// There is no free port.
pub fn mute_host() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}
