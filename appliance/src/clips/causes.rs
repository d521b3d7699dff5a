//! Why there is no footage of a span, as far as the footage itself tells.

use aivms_contract::clip::Missing;
use aivms_contract::footage::GapCause;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::cutter::Causes;
use crate::recorder::Footage;

/// Without a ledger only this is known: what lies before the oldest footage has been deleted, and otherwise there was no
/// video to record.
impl Causes for Footage {
    fn causes(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Vec<Missing> {
        let oldest = self.oldest(camera).unwrap_or(to).clamp(from, to);
        let spans = [(from, oldest, GapCause::Deleted), (oldest, to, GapCause::Camera)];
        let missing = spans.into_iter().filter(|(start, end, _)| end > start);
        missing.map(|(start, end, cause)| Missing { start, end, cause }).collect()
    }
}
