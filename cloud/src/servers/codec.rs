//! WebSocket messages between two processes: a length, a kind and the content of each.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use poem::web::websocket::Message;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// The longest message in bytes: an edge's longest frame with its kind, and some room.
const MAX_BYTES: usize = aivms_contract::relay::MAX_FRAME_BYTES + 1_024;

/// The longest greeting in bytes; nobody knows yet who sends it.
const MAX_GREETING_BYTES: usize = 16 * 1_024;

const TEXT: u8 = 0;
const BINARY: u8 = 1;
const PING: u8 = 2;
const PONG: u8 = 3;
const CLOSE: u8 = 4;

/// Writes and reads messages.
#[derive(Debug)]
pub(crate) struct MessageCodec(LengthDelimitedCodec);

impl Default for MessageCodec {
    fn default() -> Self {
        Self(LengthDelimitedCodec::builder().max_frame_length(MAX_BYTES).new_codec())
    }
}

impl MessageCodec {
    /// Reads short messages only.
    pub(super) fn for_greetings() -> Self {
        Self(LengthDelimitedCodec::builder().max_frame_length(MAX_GREETING_BYTES).new_codec())
    }

    /// Reads long ones, too, from now on.
    pub(super) fn take_frames(&mut self) {
        self.0.set_max_frame_length(MAX_BYTES);
    }
}

impl Encoder<Message> for MessageCodec {
    type Error = io::Error;

    fn encode(&mut self, message: Message, into: &mut BytesMut) -> io::Result<()> {
        let (kind, content) = match message {
            Message::Text(text) => (TEXT, text.into_bytes()),
            Message::Binary(bytes) => (BINARY, bytes),
            Message::Ping(bytes) => (PING, bytes),
            Message::Pong(bytes) => (PONG, bytes),
            Message::Close(None) => (CLOSE, Vec::new()),
            Message::Close(Some((code, reason))) => {
                (CLOSE, [&u16::from(code).to_be_bytes(), reason.as_bytes()].concat())
            }
        };
        let mut bytes = BytesMut::with_capacity(content.len() + 1);
        bytes.put_u8(kind);
        bytes.extend_from_slice(&content);
        self.0.encode(bytes.freeze(), into)
    }
}

impl Decoder for MessageCodec {
    type Item = Message;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Message>> {
        self.0.decode(from)?.map(|bytes| read(bytes.freeze())).transpose()
    }
}

fn read(mut bytes: Bytes) -> io::Result<Message> {
    let wrong = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).map_err(|_| wrong("a text that is not UTF-8"));
    if bytes.is_empty() {
        return Err(wrong("a message without a kind"));
    }
    match bytes.get_u8() {
        TEXT => text(bytes).map(Message::Text),
        BINARY => Ok(Message::Binary(bytes.to_vec())),
        PING => Ok(Message::Ping(bytes.to_vec())),
        PONG => Ok(Message::Pong(bytes.to_vec())),
        CLOSE if bytes.len() < 2 => Ok(Message::Close(None)),
        CLOSE => {
            let code = bytes.get_u16();
            Ok(Message::Close(Some((code.into(), text(bytes)?))))
        }
        kind => Err(wrong(&format!("a message of kind {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use poem::web::websocket::CloseCode;
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        let code = prop_oneof![Just(CloseCode::Normal), Just(CloseCode::Policy), Just(CloseCode::Reserved(4_000))];
        prop_oneof![
            any::<String>().prop_map(Message::Text),
            bytes().prop_map(Message::Binary),
            bytes().prop_map(Message::Ping),
            bytes().prop_map(Message::Pong),
            Just(Message::Close(None)),
            (code, any::<String>()).prop_map(|close| Message::Close(Some(close))),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            messages in prop::collection::vec(message(), 0..8), cut in 1_usize..50,
        ) {
            let (mut writer, mut sent) = (MessageCodec::default(), BytesMut::new());
            for message in messages.clone() {
                writer.encode(message, &mut sent).unwrap();
            }
            let (mut reader, mut there, mut read) = (MessageCodec::default(), BytesMut::new(), Vec::new());
            for piece in sent.chunks(cut) {
                there.extend_from_slice(piece);
                while let Some(message) = reader.decode(&mut there).unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut reader, mut there) = (MessageCodec::default(), BytesMut::from(&bytes[..]));
            while let Ok(Some(_)) = reader.decode(&mut there) {}
        }
    }
}
