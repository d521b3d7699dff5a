//! The device's own connection: hears what it is told, and answers.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS, TlsConfiguration, Transport};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cloud::{Cloud, SOON};
use crate::device::{Device, now_s};

/// An edge that is connected until it is dropped.
pub(crate) struct MqttEdge {
    client: AsyncClient,
    topics: String,
    told: mpsc::UnboundedReceiver<(String, Value)>,
    stored: mpsc::UnboundedReceiver<()>,
    connection: JoinHandle<()>,
}

impl Drop for MqttEdge {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl MqttEdge {
    /// Connects and subscribes to everything it is told.
    pub(crate) async fn connect(cloud: &Cloud, device: &Device) -> Self {
        let mut options = MqttOptions::new("edge", "localhost", cloud.mqtt_port());
        let tls = TlsConfiguration::Simple {
            ca: device.ca_pem.clone().into_bytes(),
            alpn: None,
            client_auth: Some((device.certificate_pem.clone().into_bytes(), device.key_pem().into_bytes())),
        };
        options.set_transport(Transport::tls_with_config(tls)).set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(64 * 1024, 64 * 1024);
        let (client, mut events) = AsyncClient::new(options, 100);
        let topics = format!("aivms/v1/{}/{}", device.tenant_id, device.edge_id);
        client.subscribe(format!("{topics}/down/+"), QoS::AtLeastOnce).await.unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let (store, stored) = mpsc::unbounded_channel();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let connection = tokio::spawn(async move {
            let mut ready = Some(ready);
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Incoming::SubAck(_)) => drop(ready.take().map(|ready| ready.send(()))),
                    Event::Incoming(Incoming::PubAck(_)) => drop(store.send(())),
                    Event::Incoming(Incoming::Publish(publish)) => {
                        let kind = publish.topic.rsplit('/').next().unwrap().to_owned();
                        drop(tell.send((kind, serde_json::from_slice(&publish.payload).unwrap())));
                    }
                    _ => {}
                }
            }
        });
        tokio::time::timeout(SOON, is_ready).await.unwrap().expect("the subscription is granted");
        Self { client, topics, told, stored, connection }
    }

    /// The next message of this kind.
    pub(crate) async fn told(&mut self, kind: &str) -> Value {
        loop {
            let told = tokio::time::timeout(SOON, self.told.recv()).await.unwrap_or_else(|_| panic!("no {kind}"));
            match told {
                Some((known, value)) if known == kind => return value,
                Some(_) => {}
                None => panic!("the connection has ended"),
            }
        }
    }

    /// Says something and waits until the cloud has it.
    pub(crate) async fn say(&mut self, kind: &str, message: &Value) {
        let topic = format!("{}/up/{kind}", self.topics);
        self.client.publish(topic, QoS::AtLeastOnce, false, message.to_string()).await.unwrap();
        tokio::time::timeout(SOON, self.stored.recv()).await.unwrap().expect("it is acknowledged");
    }

    /// Answers a command it was told.
    pub(crate) async fn answer(&mut self, command: &Value, outcome: &str, data: Value) {
        let at = jiff::Timestamp::from_second(i64::try_from(now_s()).unwrap()).unwrap().to_string();
        let answer = json!({ "id": command["id"], "at": at, "outcome": outcome, "reason": "as told", "data": data });
        self.say("results", &answer).await;
    }
}
