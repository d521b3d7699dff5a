//! `nvstreammux` as it was before the new one: scales every input to one size and makes batches of what waits.
//!
//! A batch is pushed when it is full or when the time-out since its first picture is over. It holds the pictures of
//! the inputs in turn, so with fewer inputs than places an input may have several. A batch's memory is its NV12
//! pictures one behind the other, in the order of the frames' `batch_id`.

mod imp;
mod push;
mod queue;
mod sink;

use gstreamer as gst;
use gstreamer::glib;

glib::wrapper! {
    /// `nvstreammux`.
    pub(crate) struct Mux(ObjectSubclass<imp::Mux>) @extends gst::Element, gst::Object;
}

/// Names of the events that tell the elements behind of an input, each with the field [`SOURCE`].
pub(crate) mod news {
    /// An input was added.
    pub(crate) const PAD_ADDED: &str = "nvevent-pad-added";
    /// An input was released.
    pub(crate) const PAD_DELETED: &str = "nvevent-pad-deleted";
    /// An input's stream has ended.
    pub(crate) const STREAM_EOS: &str = "nvevent-stream-eos";
    /// Number of the input.
    pub(crate) const SOURCE: &str = "source-id";
}
