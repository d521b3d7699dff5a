//! Who a certificate speaks for: one SAN URI `urn:aivms:tenant:<tenant>:edge:<edge>` or `:operator:<id>`.

use std::fmt;
use std::str::FromStr;

use crate::id::{EdgeId, IdError, OperatorId, TenantId};

/// A certified identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// What it is within the tenant.
    pub role: Role,
}

/// What an identity is within its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// An appliance: publishes its own up topics, receives its own down topics.
    Edge(EdgeId),
    /// A person's or tool's MQTT client: reads live messages of its tenant.
    Operator(OperatorId),
}

/// Says why a URI is not an identity of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of the form `urn:aivms:tenant:<tenant>:<edge|operator>:<id>`.
    #[error("must have the form urn:aivms:tenant:<tenant>:<edge|operator>:<id>")]
    Shape,
    /// A part is not an identifier.
    #[error("{0}")]
    Id(#[from] IdError),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Edge(edge) => write!(f, "urn:aivms:tenant:{}:edge:{edge}", self.tenant),
            Role::Operator(operator) => write!(f, "urn:aivms:tenant:{}:operator:{operator}", self.tenant),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let parts: Vec<_> = text.strip_prefix("urn:aivms:tenant:").ok_or(IdentityError::Shape)?.split(':').collect();
        let [tenant, role, id] = parts[..] else { return Err(IdentityError::Shape) };
        let role = match role {
            "edge" => Role::Edge(id.parse()?),
            "operator" => Role::Operator(id.parse()?),
            _ => return Err(IdentityError::Shape),
        };
        Ok(Self { tenant: tenant.parse()?, role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_printed_identity_reads_back(tenant in "[a-z0-9_-]{1,64}", id in "[a-z0-9_-]{1,59}", is_edge: bool) {
            let role = if is_edge { Role::Edge(format!("edge_{id}").parse().unwrap()) } else { Role::Operator(id.parse().unwrap()) };
            let identity = Identity { tenant: tenant.parse().unwrap(), role };
            prop_assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }

    #[test]
    fn other_uris_are_refused() {
        for text in [
            "urn:aivms:tenant:a:edge:x",
            "urn:aivms:tenant:a:edge:edge_x:more",
            "urn:aivms:tenant::edge:edge_x",
            "https://x",
            "urn:aivms:tenant:a:admin:b",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }
}
