//! Joins boxes of successive frames into tracks, in the manner of ByteTrack.
