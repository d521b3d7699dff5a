//! Small pictures of an hour in one JPEG, for scrubbing.
//!
//! Made of key pictures when asked for, at one picture each 20 s. The latest few are kept in memory and none on the
//! disk, so that nothing outlives the footage it shows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::relay::{SPRITE_COLUMNS, SPRITE_HEIGHT, SPRITE_ROWS, SPRITE_STEP_S, SPRITE_WIDTH};
use aivms_contract::time::UtcMillis;
use aivms_footage::track::{Tracks, VideoCodec};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::permit::Permit;
use crate::masks::Gate;
use crate::recorder::{Footage, Segment};

/// Sprites kept: some 300 KB each.
const KEPT: usize = 16;
/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;
/// Bytes on their way into the decoder: a few key pictures. When full, reading waits.
const MAX_WAITING_BYTES: u64 = 2 * 1024 * 1024;
/// Longest wait for one picture of the decoder.
const PICTURE_LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(5);
/// Bytes of a row of one small picture: red, green and blue.
const ROW_BYTES: usize = SPRITE_WIDTH as usize * 3;
/// Quality of the JPEG, 0 to 100.
const QUALITY: i32 = 70;

/// The sprites made last; a cheap handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Sprites(Arc<Mutex<VecDeque<Sprite>>>);

/// A sprite and what it shows.
type Sprite = (Key, Arc<[u8]>);

/// What a sprite shows: with more or less footage it is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    camera: CameraId,
    hour: UtcMillis,
    footage: (Option<UtcMillis>, Option<UtcMillis>),
}

impl Sprites {
    /// The sprite of the hour that `moment` is in; says in words why there is none.
    pub(super) async fn of_hour(
        self,
        footage: Footage,
        permit: Permit,
        moment: UtcMillis,
    ) -> Result<Arc<[u8]>, String> {
        let hour = UtcMillis::from_millis(moment.as_millis().div_euclid(HOUR_MS) * HOUR_MS);
        let made = tokio::task::spawn_blocking(move || self.made(&footage, &permit, hour));
        made.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn made(&self, footage: &Footage, permit: &Permit, hour: UtcMillis) -> Result<Arc<[u8]>, String> {
        let end = hour + Duration::from_millis(HOUR_MS.unsigned_abs());
        let segments = footage.segments(permit.camera(), hour, end);
        let (first, last) = (segments.first().map(|first| first.start), segments.last().map(|last| last.end));
        let key = Key { camera: permit.camera().clone(), hour, footage: (first, last) };
        if let Some(jpeg) = self.kept(&key) {
            return Ok(jpeg);
        }
        if segments.is_empty() {
            return Err(format!("{}: nothing is recorded in this hour", key.camera));
        }
        let jpeg: Arc<[u8]> = make(footage, &segments, hour)?.into();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that none is kept after the others were forgotten.
        if let Some((_, detail)) = permit.refusal() {
            return Err(detail);
        }
        // The same hour with less footage is of no use any more.
        kept.retain(|(other, _)| other.camera != key.camera || other.hour != key.hour);
        kept.push_back((key, Arc::clone(&jpeg)));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(jpeg)
    }

    /// Forgets those of a camera that may not be shown any more, as soon as it is so. Never ends.
    pub(super) async fn forget_hidden(&self, mut gate: Gate) {
        loop {
            gate.changed().await;
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|(key, _)| Permit::new(&gate, &key.camera).refusal().is_none());
        }
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn kept(&self, key: &Key) -> Option<Arc<[u8]>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(other, _)| other == key).map(|(_, jpeg)| Arc::clone(jpeg))
    }
}

fn make(footage: &Footage, segments: &[Segment], hour: UtcMillis) -> Result<Vec<u8>, String> {
    let mut canvas = Canvas::new();
    let mut decoder: Option<(Tracks, Graph)> = None;
    for segment in segments {
        // A damaged or deleted segment leaves its places black.
        if let Err(error) = draw(footage, segment, hour, &mut decoder, &mut canvas) {
            tracing::debug!(error, segment = %segment.key(), "a segment is left out of small pictures");
        }
    }
    if let Some((_, last)) = decoder {
        last.finish(&mut |place, picture| canvas.draw(place, picture));
    }
    canvas.into_jpeg()
}

fn draw(
    footage: &Footage,
    segment: &Segment,
    hour: UtcMillis,
    decoder: &mut Option<(Tracks, Graph)>,
    canvas: &mut Canvas,
) -> Result<(), String> {
    let places = places_in(segment, hour);
    if places.is_empty() {
        return Ok(());
    }
    let reader = footage.open(segment).map_err(|error| error.to_string())?;
    if let Some((_, other)) = decoder.take_if(|(tracks, _)| tracks.video != reader.tracks().video) {
        other.finish(&mut |place, picture| canvas.draw(place, picture));
    }
    if decoder.is_none() {
        *decoder = Some((reader.tracks().clone(), decoder_of(reader.tracks())?));
    }
    let Some((_, running)) = decoder else { return Ok(()) };
    for (place, fragment) in places {
        let fragment = reader.fragment(fragment).map_err(|error| error.to_string())?;
        if let Some(key) = fragment.video.into_iter().next() {
            running.push(place, key.data.to_vec(), &mut |place, picture| canvas.draw(place, picture))?;
        }
    }
    Ok(())
}

/// The places of the sprite that lie in a segment, each with the fragment whose key picture shows it.
fn places_in(segment: &Segment, hour: UtcMillis) -> Vec<(u32, usize)> {
    let places = 0..SPRITE_COLUMNS * SPRITE_ROWS;
    let shown = places.filter_map(|place| {
        let at = hour + Duration::from_secs(u64::from(place * SPRITE_STEP_S));
        if at < segment.start || at >= segment.end {
            return None;
        }
        let keys = segment.fragments.iter().enumerate().filter(|(_, info)| info.key);
        let before = keys.take_while(|(_, info)| info.wall <= at).last();
        before.map(|(fragment, _)| (place, fragment))
    });
    shown.collect()
}

/// The picture in the making: red, green and blue, row by row.
struct Canvas(Vec<u8>);

impl Canvas {
    fn new() -> Self {
        Self(vec![0; ROW_BYTES * (SPRITE_COLUMNS * SPRITE_ROWS * SPRITE_HEIGHT) as usize])
    }

    fn draw(&mut self, place: u32, picture: &[u8]) {
        let (column, row) = ((place % SPRITE_COLUMNS) as usize, (place / SPRITE_COLUMNS) as usize);
        let width = ROW_BYTES * SPRITE_COLUMNS as usize;
        for (line, pixels) in picture.chunks_exact(ROW_BYTES).take(SPRITE_HEIGHT as usize).enumerate() {
            let start = (row * SPRITE_HEIGHT as usize + line) * width + column * ROW_BYTES;
            self.0[start..start + ROW_BYTES].copy_from_slice(pixels);
        }
    }

    fn into_jpeg(self) -> Result<Vec<u8>, String> {
        let (width, height) = (SPRITE_COLUMNS * SPRITE_WIDTH, SPRITE_ROWS * SPRITE_HEIGHT);
        let caps = format!("video/x-raw,format=RGB,width={width},height={height},framerate=0/1");
        let caps: gst::Caps = caps.parse().map_err(|error| format!("{error}"))?;
        let encoder = format!("videoconvert ! jpegenc quality={QUALITY}");
        let graph = Graph::start(&encoder, &caps)?;
        let mut jpeg = Vec::new();
        graph.push(0, self.0, &mut |_, bytes| jpeg = bytes.to_vec())?;
        graph.finish(&mut |_, bytes| jpeg = bytes.to_vec());
        if jpeg.is_empty() { Err("small pictures can't be encoded".to_owned()) } else { Ok(jpeg) }
    }
}

/// Decodes single key pictures and makes them small.
fn decoder_of(tracks: &Tracks) -> Result<Graph, String> {
    let (media_type, format, decoder) = match tracks.video.codec {
        VideoCodec::H264 => ("video/x-h264", "avc", "h264parse ! avdec_h264"),
        VideoCodec::H265 => ("video/x-h265", "hvc1", "h265parse ! avdec_h265"),
    };
    let caps = gst::Caps::builder(media_type)
        .field("stream-format", format)
        .field("alignment", "au")
        .field("codec_data", gst::Buffer::from_slice(tracks.video.config.to_vec()))
        .build();
    let graph = format!(
        "{decoder} ! videoconvert ! videoscale add-borders=true ! \
         video/x-raw,format=RGB,width={SPRITE_WIDTH},height={SPRITE_HEIGHT},pixel-aspect-ratio=1/1"
    );
    Graph::start(&graph, &caps)
}

/// Told of each buffer that comes out: the number of the one that went in, and its bytes.
type Take<'a> = &'a mut dyn FnMut(u32, &[u8]);

/// A small pipeline; what goes in under a number comes out under it.
struct Graph {
    pipeline: gst::Element,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
}

impl Graph {
    fn start(elements: &str, caps: &gst::Caps) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("small pictures can't be made: {error}");
        let graph = format!("appsrc name=in ! {elements} ! appsink name=out sync=false");
        let pipeline = gst::parse::launch(&graph).map_err(|error| failed(&error))?;
        let bin = pipeline.downcast_ref::<gst::Bin>().ok_or_else(|| failed(&"no pipeline"))?;
        let source = bin.by_name("in").and_then(|element| element.downcast::<gst_app::AppSrc>().ok());
        let sink = bin.by_name("out").and_then(|element| element.downcast::<gst_app::AppSink>().ok());
        let (Some(source), Some(sink)) = (source, sink) else { return Err(failed(&"no ends")) };
        source.set_caps(Some(caps));
        source.set_format(gst::Format::Time);
        // Pushing waits for the decoder, so that not all of an hour lies in memory.
        source.set_max_bytes(MAX_WAITING_BYTES);
        source.set_block(true);
        let started = pipeline.set_state(gst::State::Playing).map(|_| ());
        let graph = Self { pipeline, source, sink };
        started.map(|()| graph).map_err(|error| failed(&error))
    }

    fn push(&self, number: u32, bytes: Vec<u8>, take: Take<'_>) -> Result<(), String> {
        let mut buffer = gst::Buffer::from_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            let at = gst::ClockTime::from_seconds(number.into());
            buffer.set_pts(at);
            buffer.set_dts(at);
            buffer.set_duration(gst::ClockTime::SECOND);
        }
        self.source
            .push_buffer(buffer)
            .map_err(|_| "small pictures can't be made: the decoder has ended".to_owned())?;
        while self.pull(gst::ClockTime::ZERO, take) {}
        Ok(())
    }

    /// Takes what is still in it.
    fn finish(self, take: Take<'_>) {
        let _ = self.source.end_of_stream();
        while self.pull(PICTURE_LIMIT, take) {}
    }

    fn pull(&self, wait: gst::ClockTime, take: Take<'_>) -> bool {
        let Some(sample) = self.sink.try_pull_sample(wait) else { return false };
        let Some(buffer) = sample.buffer() else { return true };
        let number = buffer.pts().and_then(|at| u32::try_from(at.seconds()).ok());
        if let (Some(number), Ok(bytes)) = (number, buffer.map_readable()) {
            take(number, &bytes);
        }
        true
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_picture_lands_in_its_place_and_the_whole_is_a_jpeg_of_the_size_told() {
        gst::init().unwrap();
        let mut canvas = Canvas::new();
        canvas.draw(SPRITE_COLUMNS + 1, &vec![255; ROW_BYTES * SPRITE_HEIGHT as usize]);
        let width = ROW_BYTES * SPRITE_COLUMNS as usize;
        let pixel = |x: u32, y: u32| canvas.0[y as usize * width + x as usize * 3];
        let (x, y) = (SPRITE_WIDTH, SPRITE_HEIGHT);
        assert_eq!(
            [pixel(x, y), pixel(2 * x - 1, 2 * y - 1), pixel(x - 1, y), pixel(x, y - 1), pixel(2 * x, y)],
            [255, 255, 0, 0, 0]
        );
        let jpeg = canvas.into_jpeg().unwrap();
        assert_eq!(jpeg[..2], [0xff, 0xd8]);
        assert!(jpeg.len() > 1_000);
    }
}
