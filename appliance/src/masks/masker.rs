//! A camera's video in, the same with its mask burned in out.

use std::ops::Range;

use aivms_appliance_core::mask::MaskRaster;
use aivms_contract::time::MediaTime;

use super::encoder::{Encoder, Encoding};
use super::error::MaskError;
use super::gate::{Exportable, Masks};
use super::picture::{Picture, PictureDecoder};
use crate::pipeline::access_unit::{AccessUnit, StreamFormat};

/// Masks a stream of access units: decodes, blackens, encodes as H.264.
///
/// The units that come out have the times of those that went in, are shown in the order in which they come, and begin
/// with a key picture. A change of the picture's size begins with a key picture too. It works and may block in the
/// thread of its caller: keep it off the async runtime and off streaming threads. One 1080p picture takes some 10 ms of
/// processor time where the machine has no encoder of its own.
pub struct Masker {
    masks: Masks,
    encoding: Encoding,
    decoder: PictureDecoder,
    encoder: Option<(MaskRaster, Encoder)>,
    /// Pictures outside of it are left out.
    shown: Range<MediaTime>,
}

impl Masker {
    /// Starts to mask video of a format; the first unit pushed must be a key picture.
    ///
    /// # Errors
    /// There is no decoder for it, or no encoder at all.
    pub fn start(masks: &Masks, format: &StreamFormat, encoding: Encoding) -> Result<Self, MaskError> {
        super::find_encoder()?;
        let shown = MediaTime::ZERO..MediaTime::from_nanos(u64::MAX);
        Ok(Self { masks: masks.clone(), encoding, decoder: PictureDecoder::start(format)?, encoder: None, shown })
    }

    /// The same, leaving out what is shown at other times.
    #[must_use]
    pub fn showing(self, shown: Range<MediaTime>) -> Self {
        Self { shown, ..self }
    }

    /// Takes a unit and gives those that are ready, which may be none, or several.
    ///
    /// # Errors
    /// A pipeline has failed; nothing more comes out of this masker.
    pub fn push(&mut self, unit: &AccessUnit) -> Result<Vec<Exportable<AccessUnit>>, MaskError> {
        let pictures = self.decoder.push(unit)?;
        self.mask(pictures)
    }

    /// Gives what was still held back.
    ///
    /// # Errors
    /// A pipeline has failed.
    pub fn finish(mut self) -> Result<Vec<Exportable<AccessUnit>>, MaskError> {
        let rest = self.decoder.drain()?;
        let mut units = self.mask(rest)?;
        if let Some((_, encoder)) = self.encoder.take() {
            units.extend(encoder.finish()?.into_iter().map(|unit| self.masks.let_through(unit)));
        }
        Ok(units)
    }

    fn mask(&mut self, pictures: Vec<Picture>) -> Result<Vec<Exportable<AccessUnit>>, MaskError> {
        let mut units = vec![];
        for mut picture in pictures.into_iter().filter(|picture| self.shown.contains(&picture.at())) {
            if self.encoder.as_ref().is_none_or(|(raster, _)| raster.frame() != picture.frame()) {
                if let Some((_, old)) = self.encoder.take() {
                    units.extend(old.finish()?);
                }
                let raster = self.masks.raster(picture.frame());
                self.encoder = Some((raster, Encoder::start(&picture, self.encoding)?));
            }
            if let Some((raster, encoder)) = &mut self.encoder {
                picture.hide(raster);
                units.extend(encoder.push(picture)?);
            }
        }
        Ok(units.into_iter().map(|unit| self.masks.let_through(unit)).collect())
    }
}
