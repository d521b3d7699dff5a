//! What may leave the edge, and the only ways to make it.

use std::collections::BTreeMap;
use std::sync::Arc;

use aivms_appliance_core::mask::MaskRaster;
use aivms_contract::desired::Camera;
use aivms_contract::geometry::{FrameSize, Polygon};
use aivms_contract::id::CameraId;
use tokio::sync::watch;

use super::error::MaskError;
use super::picture::Picture;

type Known = BTreeMap<CameraId, Arc<[Polygon]>>;

/// Knows what must be hidden of which camera. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(watch::Receiver<Arc<Known>>);

/// Tells the gate what is configured. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GateKeeper(watch::Sender<Arc<Known>>);

/// How a camera's video may leave.
#[derive(Debug, Clone)]
pub enum Pass {
    /// As it is.
    Open(Unmasked),
    /// With parts of it hidden.
    Masked(Masks),
}

/// Proof that nothing of a camera is to be hidden.
#[derive(Debug, Clone)]
pub struct Unmasked(());

/// What is to be hidden of a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Masks(Arc<[Polygon]>);

/// Something that shows no more of a camera than may leave the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exportable<T> {
    held: T,
    masked: bool,
}

impl Gate {
    /// A gate that lets nothing pass until its keeper has told it of cameras.
    #[must_use]
    pub fn new() -> (GateKeeper, Self) {
        let (keeper, known) = watch::channel(Arc::new(Known::new()));
        (GateKeeper(keeper), Self(known))
    }

    /// How the camera's video may leave as long as [`Gate::changed`] does not end.
    ///
    /// # Errors
    /// The camera is not configured, so that nobody knows what to hide.
    pub fn pass(&self, camera: &CameraId) -> Result<Pass, MaskError> {
        let known = Arc::clone(&self.0.borrow());
        match known.get(camera) {
            None => Err(MaskError::UnknownCamera(camera.clone())),
            Some(masks) if masks.is_empty() => Ok(Pass::Open(Unmasked(()))),
            Some(masks) => Ok(Pass::Masked(Masks(Arc::clone(masks)))),
        }
    }

    /// Waits until masks, or the cameras, have changed since this handle was made or last waited: whoever sends goes on
    /// with what [`Gate::pass`] says then. Never ends once the keeper is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl GateKeeper {
    /// Makes the gate hide what these cameras' masks say.
    pub fn set<'a>(&self, cameras: impl IntoIterator<Item = &'a Camera>) {
        let masks = |camera: &Camera| (camera.id.clone(), camera.privacy_masks.clone().into());
        let known: Known = cameras.into_iter().map(masks).collect();
        self.0.send_if_modified(|now| {
            let is_new = **now != known;
            *now = Arc::new(known);
            is_new
        });
    }
}

impl Pass {
    /// Whether something is to be hidden.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        matches!(self, Self::Masked(_))
    }

    /// Makes a decoded picture exportable, hiding what is to be hidden.
    #[must_use]
    pub fn picture(&self, mut picture: Picture) -> Exportable<Picture> {
        match self {
            Self::Open(unmasked) => unmasked.let_through(picture),
            Self::Masked(masks) => {
                picture.hide(&masks.raster(picture.frame()));
                Exportable { held: picture, masked: true }
            }
        }
    }
}

impl Unmasked {
    /// Lets something of this camera leave as it is.
    #[must_use]
    pub fn let_through<T>(&self, held: T) -> Exportable<T> {
        Exportable { held, masked: false }
    }
}

impl Masks {
    pub(super) fn raster(&self, frame: FrameSize) -> MaskRaster {
        MaskRaster::new(&self.0, frame)
    }

    /// Lets out what the masker has blackened and encoded.
    pub(super) fn let_through<T>(&self, masked: T) -> Exportable<T> {
        Exportable { held: masked, masked: true }
    }
}

impl<T> Exportable<T> {
    /// Whether a mask is burned into it.
    #[must_use]
    pub fn masked(&self) -> bool {
        self.masked
    }

    /// What may leave.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.held
    }

    /// What may leave.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.held
    }

    /// Brings it into another form, as a picture into a file. Nothing of the camera may come in that way.
    pub fn into_form<U>(self, form: impl FnOnce(T) -> U) -> Exportable<U> {
        Exportable { held: form(self.held), masked: self.masked }
    }
}

impl<T, E> Exportable<Result<T, E>> {
    /// Puts the error outside.
    ///
    /// # Errors
    /// That which it holds.
    pub fn transpose(self) -> Result<Exportable<T>, E> {
        let masked = self.masked;
        self.held.map(|held| Exportable { held, masked })
    }
}
