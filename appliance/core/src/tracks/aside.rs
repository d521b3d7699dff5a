//! Numbers of objects that a camera leaves out: no tracks yet, but they need a name when somebody asks about them.

use aivms_contract::time::MediaTime;

use super::TrackBook;

/// An object's number, kept until it becomes a track or is no longer seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aside {
    tracker: u64,
    number: u64,
    at: MediaTime,
}

impl TrackBook {
    /// The number of an object that is left out of the newest frame: of its track, if it is one, or that which its
    /// track will have.
    pub fn number_of(&mut self, tracker: u64) -> u64 {
        let (now, lost_after) = (self.newest.unwrap_or_default(), self.settings.lost_after);
        self.aside.retain(|aside| now.since(aside.at) <= lost_after);
        if let Some(track) = self.live.iter().find(|track| track.tracker == Some(tracker)) {
            return track.number;
        }
        if let Some(aside) = self.aside.iter_mut().find(|aside| aside.tracker == tracker) {
            aside.at = now;
            return aside.number;
        }
        self.opened += 1;
        self.aside.push(Aside { tracker, number: self.opened, at: now });
        self.opened
    }

    /// The number for a new track.
    pub(super) fn new_number(&mut self, tracker: u64) -> u64 {
        let (now, lost_after) = (self.newest.unwrap_or_default(), self.settings.lost_after);
        let place = self.aside.iter().position(|aside| aside.tracker == tracker);
        match place.map(|place| self.aside.swap_remove(place)) {
            Some(aside) if now.since(aside.at) <= lost_after => aside.number,
            _ => {
                self.opened += 1;
                self.opened
            }
        }
    }
}
