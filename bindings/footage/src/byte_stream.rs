//! From what a file holds back to the byte stream that decoders take: the way of [`crate::access_unit`] backwards.

use crate::track::{VideoCodec, VideoTrack};

/// What stands in front of each NAL unit.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Turns a track's samples into access units of the byte stream (annex B), with the parameter sets in front of key
/// pictures.
#[derive(Debug, Clone)]
pub struct ByteStream {
    /// The parameter sets, each behind a start code.
    sets: Vec<u8>,
}

impl ByteStream {
    /// For the samples of a track. Of a record that is cut off, the sets before the cut are taken.
    #[must_use]
    pub fn of(track: &VideoTrack) -> Self {
        let mut sets = vec![];
        let mut rest = Reader(&track.config);
        let _ = match track.codec {
            VideoCodec::H264 => rest.avc_sets(&mut sets),
            VideoCodec::H265 => rest.hevc_sets(&mut sets),
        };
        Self { sets }
    }

    /// The access unit of a sample's data; what follows a damaged length is left out.
    #[must_use]
    pub fn unit(&self, data: &[u8], key: bool) -> Vec<u8> {
        let mut unit = Vec::with_capacity(data.len() + self.sets.len() + 32);
        if key {
            unit.extend_from_slice(&self.sets);
        }
        let mut rest = Reader(data);
        while let Some(nal) = rest.number(4).and_then(|bytes| rest.take(bytes)) {
            unit.extend_from_slice(&START_CODE);
            unit.extend_from_slice(nal);
        }
        unit
    }
}

/// What is left of some bytes.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, bytes: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, the highest first.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// An AVCDecoderConfigurationRecord: five bytes, then counted sequence sets, then counted picture sets.
    fn avc_sets(&mut self, sets: &mut Vec<u8>) -> Option<()> {
        self.take(5)?;
        for mask in [0x1f, 0xff] {
            for _ in 0..self.number(1)? & mask {
                self.set(sets)?;
            }
        }
        Some(())
    }

    /// A HEVCDecoderConfigurationRecord: 22 bytes, then lists of sets by their kind.
    fn hevc_sets(&mut self, sets: &mut Vec<u8>) -> Option<()> {
        self.take(22)?;
        for _ in 0..self.number(1)? {
            self.take(1)?;
            for _ in 0..self.number(2)? {
                self.set(sets)?;
            }
        }
        Some(())
    }

    fn set(&mut self, sets: &mut Vec<u8>) -> Option<()> {
        let bytes = self.number(2)?;
        let set = self.take(bytes)?;
        sets.extend_from_slice(&START_CODE);
        sets.extend_from_slice(set);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::geometry::FrameSize;
    use proptest::prelude::*;

    fn track(codec: VideoCodec, config: Vec<u8>) -> VideoTrack {
        VideoTrack { codec, frame: FrameSize { width: 16, height: 16 }, config: config.into() }
    }

    #[test]
    fn a_key_picture_comes_with_its_parameter_sets_and_others_come_alone() {
        let avc = vec![1, 0x42, 0, 0x1e, 0xff, 0xe1, 0, 2, 0x67, 7, 1, 0, 1, 0x68];
        let stream = ByteStream::of(&track(VideoCodec::H264, avc));
        let data = [0, 0, 0, 2, 0x65, 9, 0, 0, 0, 1, 0x65];
        let plain = [0, 0, 0, 1, 0x65, 9, 0, 0, 0, 1, 0x65];
        assert_eq!(stream.unit(&data, false), plain);
        let sets = [0, 0, 0, 1, 0x67, 7, 0, 0, 0, 1, 0x68];
        assert_eq!(stream.unit(&data, true), [&sets[..], &plain[..]].concat());
    }

    #[test]
    fn the_sets_of_h265_are_found_in_all_its_lists() {
        let mut hevc = vec![0; 22];
        hevc.extend([2, 0x20, 0, 1, 0, 1, 0x40, 0x21, 0, 2, 0, 1, 0x42, 0, 2, 0x43, 1]);
        let stream = ByteStream::of(&track(VideoCodec::H265, hevc));
        assert_eq!(stream.unit(&[], true), [0, 0, 0, 1, 0x40, 0, 0, 0, 1, 0x42, 0, 0, 0, 1, 0x43, 1]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_harm(config: Vec<u8>, data: Vec<u8>) {
            for codec in [VideoCodec::H264, VideoCodec::H265] {
                let unit = ByteStream::of(&track(codec, config.clone())).unit(&data, true);
                prop_assert!(unit.len() <= 3 * (config.len() + data.len()));
            }
        }
    }
}
