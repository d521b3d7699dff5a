//! MQTT 3.1.1 packets on a byte stream: rumqttc's packet types behind the checks they leave out.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::Packet;
use rumqttc::mqttbytes::{Error, PacketType, check};

/// Says why a client's bytes are no packet this server accepts.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    /// The packet says that it is longer than allowed; nothing of it has been kept.
    #[error("a packet of {0} bytes, which is too long")]
    TooLong(usize),
    /// Not a packet of MQTT 3.1.1.
    #[error("malformed packet: {0}")]
    Malformed(String),
}

/// Takes the next whole packet off `buffer`; `None` when more bytes are needed.
///
/// # Errors
/// The stream can't be read on: what follows has no known beginning.
pub(super) fn read_packet(buffer: &mut BytesMut, max_bytes: usize) -> Result<Option<Packet>, CodecError> {
    let header = match check(buffer.iter(), max_bytes) {
        Ok(header) => header,
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(Error::PayloadSizeLimitExceeded(bytes)) => return Err(CodecError::TooLong(bytes)),
        Err(error) => return Err(malformed(error)),
    };
    let kind = header.packet_type().map_err(malformed)?;
    check_flags(buffer[0] & 0x0f, kind)?;
    let length = header.frame_length();
    let bare = matches!(kind, PacketType::PingReq | PacketType::PingResp | PacketType::Disconnect);
    if bare && length != 2 {
        return Err(CodecError::Malformed(format!("{kind:?} with a body")));
    }
    Packet::read(buffer, max_bytes).map(Some).map_err(malformed)
}

/// Appends `packet` to `buffer`.
///
/// # Errors
/// The packet is longer than `max_bytes` or has no packet id where it needs one.
pub(super) fn write_packet(packet: &Packet, buffer: &mut BytesMut, max_bytes: usize) -> Result<(), CodecError> {
    packet.write(buffer, max_bytes).map(drop).map_err(malformed)
}

/// The four flag bits are fixed for all packets but PUBLISH (MQTT 3.1.1 §2.2.2).
fn check_flags(flags: u8, kind: PacketType) -> Result<(), CodecError> {
    let fixed = match kind {
        PacketType::Publish => return Ok(()),
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        _ => 0,
    };
    if flags == fixed { Ok(()) } else { Err(CodecError::Malformed(format!("flags {flags:04b} in {kind:?}"))) }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn malformed(error: Error) -> CodecError {
    CodecError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rumqttc::mqttbytes::QoS;
    use rumqttc::mqttbytes::v4::{Publish, Subscribe, Unsubscribe};

    use super::*;

    const MAX: usize = 1024;

    fn read_all(bytes: &[u8]) -> Result<Vec<Packet>, CodecError> {
        let mut buffer = BytesMut::from(bytes);
        let mut packets = Vec::new();
        while let Some(packet) = read_packet(&mut buffer, MAX)? {
            packets.push(packet);
        }
        Ok(packets)
    }

    #[test]
    fn a_packet_too_long_is_refused_before_its_body_arrives() {
        assert!(matches!(read_all(&[0x30, 0xff, 0xff, 0xff, 0x7f]), Err(CodecError::TooLong(268_435_455))));
        assert!(matches!(read_all(&[0x30, 0x81, 0x08]), Err(CodecError::TooLong(1025))));
        assert!(matches!(read_all(&[0x30, 0x80, 0x08]), Ok(packets) if packets.is_empty()));
    }

    #[test]
    fn reserved_bits_and_bodies_where_none_belong_are_malformed() {
        for bytes in [
            &[0x00, 0x00][..],
            &[0xf0, 0x00],
            &[0xc1, 0x00],
            &[0xc0, 0x01, 0x00],
            &[0xe0, 0x02, 0x00, 0x00],
            &[0x80, 0x06, 0x00, 0x01, 0x00, 0x01, b'a', 0x00],
            &[0x82, 0x02, 0x00, 0x01],
            &[0x32, 0x05, 0x00, 0x01, b'a', 0x00, 0x00],
            &[0x36, 0x05, 0x00, 0x01, b'a', 0x00, 0x01],
            &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
        ] {
            assert!(matches!(read_all(bytes), Err(CodecError::Malformed(_))), "{bytes:02x?}");
        }
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let publish = ("[a-z/]{1,20}", proptest::collection::vec(any::<u8>(), 0..300), 1u16.., any::<bool>()).prop_map(
            |(topic, payload, pkid, once)| {
                let mut publish = Publish::new(topic, if once { QoS::AtMostOnce } else { QoS::AtLeastOnce }, payload);
                publish.pkid = if once { 0 } else { pkid };
                Packet::Publish(publish)
            },
        );
        let subscribe = ("[a-z/+#]{1,20}", 1u16..).prop_map(|(filter, pkid)| {
            Packet::Subscribe(Subscribe { pkid, ..Subscribe::new(filter, QoS::AtLeastOnce) })
        });
        let unsubscribe = ("[a-z/+#]{1,20}", 1u16..)
            .prop_map(|(topic, pkid)| Packet::Unsubscribe(Unsubscribe { pkid, topics: vec![topic] }));
        prop_oneof![publish, subscribe, unsubscribe, Just(Packet::PingReq), Just(Packet::Disconnect)]
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in_however_the_stream_is_cut(
            packets in proptest::collection::vec(packet(), 0..10),
            cuts in proptest::collection::vec(1usize..50, 1..40),
        ) {
            let mut stream = BytesMut::new();
            for packet in &packets {
                write_packet(packet, &mut stream, MAX).unwrap();
            }
            let (mut buffer, mut read, mut cuts) = (BytesMut::new(), Vec::new(), cuts.into_iter().cycle());
            while !stream.is_empty() {
                let length = cuts.next().unwrap_or(1).min(stream.len());
                buffer.extend_from_slice(&stream.split_to(length));
                while let Some(packet) = read_packet(&mut buffer, MAX).unwrap() {
                    read.push(packet);
                }
            }
            prop_assert_eq!(read, packets);
        }

        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_a_packet(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            drop(read_all(&bytes));
        }

        #[test]
        fn nearly_right_bytes_do_not_make_it_panic(
            packets in proptest::collection::vec(packet(), 1..5),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut stream = BytesMut::new();
            for packet in &packets {
                write_packet(packet, &mut stream, MAX).unwrap();
            }
            for (index, value) in changes {
                let at = index.index(stream.len());
                stream[at] = value;
            }
            drop(read_all(&stream));
        }
    }
}
