//! The MQTT front: TLS, identity, codec, access per packet; rumqttd's Router behind it.

pub mod sessions;
