//! What may leave the edge, and the only ways to make it.

use std::collections::BTreeMap;
use std::sync::Arc;

use aivms_appliance_core::mask::MaskRaster;
use aivms_contract::desired::Camera;
use aivms_contract::geometry::{FrameSize, Polygon};
use aivms_contract::id::CameraId;
use tokio::sync::watch;

use super::error::MaskError;
use super::hidden::Hidden;
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
pub struct Masks {
    polygons: Arc<[Polygon]>,
    hidden: Hidden,
}

/// Something that shows no more of a camera than may leave the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exportable<T> {
    held: T,
    hidden: Hidden,
}

/// Whether something that was made earlier may leave now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It hides what is to be hidden now.
    Now,
    /// Nobody knows what is to be hidden of its camera, which is not configured.
    Held,
    /// It was made with other masks than its camera has now.
    Never,
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
            Some(masks) => Ok(Pass::Masked(Masks::new(Arc::clone(masks)))),
        }
    }

    /// Whether something of the camera that hides `hidden` may leave now. Of a camera without masks anything may.
    #[must_use]
    pub fn leave(&self, camera: &CameraId, hidden: &Hidden) -> Leave {
        match self.pass(camera) {
            Err(_) => Leave::Held,
            Ok(Pass::Open(_)) => Leave::Now,
            Ok(Pass::Masked(masks)) if masks.hidden == *hidden => Leave::Now,
            Ok(Pass::Masked(_)) => Leave::Never,
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
                Exportable { held: picture, hidden: masks.hidden.clone() }
            }
        }
    }
}

impl Unmasked {
    /// Lets something of this camera leave as it is.
    #[must_use]
    pub fn let_through<T>(&self, held: T) -> Exportable<T> {
        Exportable { held, hidden: Hidden::default() }
    }
}

impl Masks {
    fn new(polygons: Arc<[Polygon]>) -> Self {
        let hidden = Hidden::by(&polygons);
        Self { polygons, hidden }
    }

    pub(super) fn raster(&self, frame: FrameSize) -> MaskRaster {
        MaskRaster::new(&self.polygons, frame)
    }

    /// Lets out what the masker has blackened and encoded.
    pub(crate) fn let_through<T>(&self, masked: T) -> Exportable<T> {
        Exportable { held: masked, hidden: self.hidden.clone() }
    }
}

impl<T> Exportable<T> {
    /// Whether a mask is burned into it.
    #[must_use]
    pub fn masked(&self) -> bool {
        self.hidden != Hidden::default()
    }

    /// Which masks are burned into it.
    #[must_use]
    pub fn hidden(&self) -> &Hidden {
        &self.hidden
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
        Exportable { held: form(self.held), hidden: self.hidden }
    }
}

impl<T, E> Exportable<Result<T, E>> {
    /// Puts the error outside.
    ///
    /// # Errors
    /// That which it holds.
    pub fn transpose(self) -> Result<Exportable<T>, E> {
        let hidden = self.hidden;
        self.held.map(|held| Exportable { held, hidden })
    }
}
