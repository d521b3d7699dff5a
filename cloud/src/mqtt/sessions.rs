//! Who is connected now, and the way to end a connection.

use crate::store::Fingerprint;

/// The live MQTT sessions of this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {}

impl Sessions {
    /// Ends every session that uses one of these certificates. Called after the certificates were withdrawn in the
    /// store; a session that was being set up checks the store again after entering the list, which closes the race.
    pub fn end(&self, _certificates: &[Fingerprint]) {
        unimplemented!()
    }
}
