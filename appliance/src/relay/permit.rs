//! Whether a camera's video may be shown. Nothing is encoded for those who look, so that no mask can be burned in: only
//! what may leave as it is does.

use aivms_contract::id::CameraId;
use aivms_contract::relay::EndReason;

use super::live::Ended;
use super::outlet::Gone;
use crate::masks::Gate;

/// Asks the gate about one camera. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    gate: Gate,
    camera: CameraId,
}

impl Permit {
    pub(super) fn new(gate: &Gate, camera: &CameraId) -> Self {
        Self { gate: gate.clone(), camera: camera.clone() }
    }

    pub(super) fn camera(&self) -> &CameraId {
        &self.camera
    }

    /// Shows until the camera's video may not be shown any more; then says why.
    pub(super) async fn during(&self, showing: impl Future<Output = Result<Ended, Gone>>) -> Result<Ended, Gone> {
        tokio::select! {
            biased;
            refusal = self.refused() => Ok(refusal),
            ended = showing => ended,
        }
    }

    async fn refused(&self) -> Ended {
        let mut gate = self.gate.clone();
        loop {
            if let Some(refusal) = self.refusal() {
                return refusal;
            }
            gate.changed().await;
        }
    }

    /// Why the camera's video may not be shown at the moment; also when nobody knows what to hide of it.
    pub(super) fn refusal(&self) -> Option<Ended> {
        match self.gate.pass(&self.camera) {
            Ok(pass) if !pass.is_masked() => None,
            Ok(_) => {
                let detail = format!("{}: has a privacy mask, with which it can't be shown yet", self.camera);
                Some((EndReason::Masked, detail))
            }
            Err(error) => Some((EndReason::UnknownCamera, error.to_string())),
        }
    }
}
