//! The caps feature that stands for the GPU's memory, and an element that adds or takes it away.

use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_base as gst_base;

use crate::elements::{always, metadata};

/// Memory that only NVIDIA's elements read.
pub(crate) const FEATURE: &str = "memory:NVMM";
/// Pictures in any memory.
pub(crate) const ANY_MEMORY: &str = "video/x-raw; video/x-raw(memory:NVMM)";
/// Pictures as the muxer gives them.
pub(crate) const BATCHED: &str = "video/x-raw(memory:NVMM), format=NV12";

glib::wrapper! {
    /// Lets pictures through unchanged, and accepts and announces either kind of memory on both sides.
    pub(crate) struct Relabel(ObjectSubclass<imp::Relabel>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// The same caps, once in ordinary memory and once in the GPU's.
fn either(caps: &gst::Caps) -> gst::Caps {
    let relabelled = |features: gst::CapsFeatures| {
        caps.iter().map(move |structure| (structure.to_owned(), features.clone())).collect::<gst::Caps>()
    };
    let mut both = relabelled(gst::CapsFeatures::new_empty());
    both.merge(relabelled(gst::CapsFeatures::new([FEATURE])));
    both
}

mod imp {
    use super::{ANY_MEMORY, OnceLock, always, either, glib, gst, gst_base, metadata};
    use gstreamer_base::subclass::prelude::*;

    #[derive(Default)]
    pub(crate) struct Relabel;

    #[glib::object_subclass]
    impl ObjectSubclass for Relabel {
        const NAME: &'static str = "AivmsStandinRelabel";
        type Type = super::Relabel;
        type ParentType = gst_base::BaseTransform;
    }

    impl ObjectImpl for Relabel {}
    impl GstObjectImpl for Relabel {}

    impl ElementImpl for Relabel {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
            Some(METADATA.get_or_init(|| metadata("Memory relabeller", "Filter/Video")))
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
            TEMPLATES.get_or_init(|| always([ANY_MEMORY, ANY_MEMORY]))
        }
    }

    impl BaseTransformImpl for Relabel {
        const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
        const PASSTHROUGH_ON_SAME_CAPS: bool = true;
        const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

        fn transform_caps(
            &self,
            _: gst::PadDirection,
            caps: &gst::Caps,
            filter: Option<&gst::Caps>,
        ) -> Option<gst::Caps> {
            let caps = either(caps);
            Some(filter.map_or(caps.clone(), |filter| filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First)))
        }

        fn transform_ip(&self, _: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
            Ok(gst::FlowSuccess::Ok)
        }
    }
}
