//! `nvtracker`: gives the objects of every input their numbers, with the edge's own tracker in the place of NVIDIA's
//! library, so that both engines can be compared.
//!
//! As the real one it takes the objects out that it does not confirm, moves the others to where it believes them, and
//! does nothing to frames without detection but, when it is configured to look at pixels (NvDCF), add what it followed.
//! It looks at none: it moves those objects on at their last speed. It never tells of tracks that have ended, which
//! the engine does not ask for (`outputTerminatedTracks`).

mod config;
mod follow;
mod imp;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_base as gst_base;

glib::wrapper! {
    /// `nvtracker`.
    pub(crate) struct Tracker(ObjectSubclass<imp::Tracker>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}
