//! Sizes both sides hold to.

/// Largest MQTT packet in bytes, either way.
pub const MAX_PACKET_BYTES: usize = 64 * 1024;
/// Largest payload of a durable message in bytes; leaves room for topic and header in a packet.
pub const MAX_PAYLOAD_BYTES: usize = 60 * 1024;
/// Longest MQTT keep-alive in seconds; 0 (none) is refused.
pub const MAX_KEEP_ALIVE_S: u16 = 300;
/// Most envelopes in one HTTPS batch.
pub const MAX_BATCH_EVENTS: usize = 500;
