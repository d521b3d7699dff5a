//! Sends the outbox over MQTT, over HTTPS when MQTT can't connect.
