//! How much of everything one edge's relay takes, and how long it waits.

use std::time::Duration;

/// Most viewers of one edge; one more is told to come back later.
pub const MAX_VIEWERS: usize = 64;
/// Most streams of one edge. An edge sends each over a line that is seldom fast.
pub const MAX_STREAMS: usize = 32;
/// Most requests an edge has not answered; one more is told to come back later.
pub const MAX_REQUESTS: usize = 32;
/// Most fragments a playing viewer may be owed; what it grants beyond is cut.
pub const MAX_CREDIT: u32 = 16;
/// Largest init frame in bytes, head and all; those of real cameras have about one thousand. A stream with a larger
/// one is closed.
pub const MAX_INIT_BYTES: usize = 64 * 1024;
/// Longest `mime` of a stream in bytes; one with a longer is closed.
pub const MAX_MIME_BYTES: usize = 256;
/// Longest reason in bytes why a stream is over; a longer one is left out.
pub const MAX_DETAIL_BYTES: usize = 2 * 1024;
/// Most bytes of playback that wait for all viewers of one edge; with more, the one for whom most waits is sent away.
pub const MAX_ALL_PLAYBACK_BYTES: usize = 256 * 1024 * 1024;
/// How long a camera goes on sending after its last viewer left: whoever comes back meanwhile has a picture at once.
pub const GRACE: Duration = Duration::from_secs(2);
/// How often an edge that is needed and not connected is called.
pub const CALL_EVERY: Duration = Duration::from_secs(5);
/// How long viewers wait for an edge before they are told that it is away.
pub const EDGE_WAIT: Duration = Duration::from_secs(20);
