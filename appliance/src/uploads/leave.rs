//! Keeps back what was made with other masks than its camera has now.

use aivms_appliance_core::uploads::FileKey;

use super::{Outgoing, Queue};
use crate::masks::{Gate, Leave};

impl Outgoing {
    /// Gives up what hides something else than is to be hidden now, holds what is of unknown cameras, and lets go again
    /// what is of known ones. Blocks.
    pub(super) fn sort_out(&self, gate: &Gate) {
        let keys: Vec<_> = self.queue().jobs.keys().copied().collect();
        for key in keys {
            self.may_leave(key, gate);
        }
    }

    /// Whether a file may leave now; one that never may is given up, one of an unknown camera is held. May block.
    pub(super) fn may_leave(&self, key: FileKey, gate: &Gate) -> bool {
        let leave = {
            let mut queue = self.queue();
            let Some(job) = queue.jobs.get(&key) else { return false };
            let leave = gate.leave(&job.camera, &job.hidden);
            match leave {
                Leave::Held => queue.hold(key),
                Leave::Now => queue.let_go(key),
                Leave::Never => {}
            }
            leave
        };
        if leave == Leave::Never {
            self.give_up(key, "the privacy masks of its camera have changed since it was made; ask for it again");
        }
        leave == Leave::Now
    }
}

impl Queue {
    pub(super) fn why_held(&self) -> Option<String> {
        let job = self.jobs.get(self.held.first()?)?;
        Some(format!("camera {} is not configured, so what its privacy masks hide is not known", job.camera))
    }

    fn hold(&mut self, key: FileKey) {
        self.plan.remove(key);
        self.held.insert(key);
    }

    fn let_go(&mut self, key: FileKey) {
        if self.held.remove(&key)
            && let Some(job) = self.jobs.get(&key)
        {
            self.plan.put(key, job.place(), job.bytes);
        }
    }
}
