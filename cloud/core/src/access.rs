//! What an MQTT identity may publish and subscribe: default deny, by shape.
