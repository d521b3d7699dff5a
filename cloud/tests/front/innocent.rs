//! An edge that does its work while others attack.

use aivms_contract::id::OutboxId;

use super::clients::EdgeClient;
use super::events::{detection, outbox};
use super::{Cloud, Credentials, Tenant};

/// An edge connected before the attack begins.
pub struct Innocent {
    pub tenant: Tenant,
    pub credentials: Credentials,
    client: EdgeClient,
    outbox: OutboxId,
    sent: u64,
}

impl Innocent {
    pub async fn start(cloud: &Cloud) -> Self {
        let tenant = cloud.tenant("innocent").await;
        let credentials = cloud.edge(&tenant).await;
        let client = EdgeClient::start(cloud.addr, &credentials).await;
        Self { tenant, credentials, client, outbox: outbox(), sent: 0 }
    }

    /// Publishes, is acknowledged, and another edge can connect and publish too.
    pub async fn is_served(&mut self, cloud: &Cloud) {
        self.sent += 1;
        self.client.publish(&detection(self.credentials.edge_id(), &self.outbox, self.sent)).await;
        self.client.stored_through(self.sent).await;
        let newcomer = cloud.edge(&self.tenant).await;
        let mut client = EdgeClient::start(cloud.addr, &newcomer).await;
        client.publish(&detection(newcomer.edge_id(), &outbox(), 1)).await;
        client.stored_through(1).await;
    }
}
