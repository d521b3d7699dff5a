//! What the elements here share: templates, descriptions, properties that are taken and have no effect.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

/// How the elements introduce themselves.
pub(crate) fn metadata(name: &str, class: &str) -> gst::subclass::ElementMetadata {
    gst::subclass::ElementMetadata::new(name, class, "Stand-in for NVIDIA's element, for tests", "AIVMS")
}

pub(crate) fn template(
    name: &str,
    direction: gst::PadDirection,
    presence: gst::PadPresence,
    caps: &str,
) -> gst::PadTemplate {
    let caps = caps.parse().expect("the caps of a template are right");
    gst::PadTemplate::new(name, direction, presence, &caps).expect("a template's name has at most one number")
}

pub(crate) fn always(caps: [&str; 2]) -> Vec<gst::PadTemplate> {
    let [sink, src] = caps;
    vec![
        template("sink", gst::PadDirection::Sink, gst::PadPresence::Always, sink),
        template("src", gst::PadDirection::Src, gst::PadPresence::Always, src),
    ]
}

pub(crate) fn uint(name: &str, default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name).default_value(default).build()
}

pub(crate) fn int(name: &str, range: std::ops::RangeInclusive<i32>, default: i32) -> glib::ParamSpec {
    let (minimum, maximum) = range.into_inner();
    glib::ParamSpecInt::builder(name).minimum(minimum).maximum(maximum).default_value(default).build()
}

pub(crate) fn boolean(name: &str, default: bool) -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder(name).default_value(default).build()
}

pub(crate) fn text(name: &str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name).build()
}

/// What an element's properties were set to.
#[derive(Default)]
pub(crate) struct Values(Mutex<BTreeMap<String, Setting>>);

#[derive(Debug, Clone)]
enum Setting {
    Uint(u32),
    Int(i32),
    Boolean(bool),
    Text(Option<String>),
}

impl Values {
    pub(crate) fn set(&self, spec: &glib::ParamSpec, value: &glib::Value) {
        if let Some(setting) = Setting::of(value) {
            lock(&self.0).insert(spec.name().to_owned(), setting);
        }
    }

    pub(crate) fn get(&self, spec: &glib::ParamSpec) -> glib::Value {
        self.find(spec.name()).map_or_else(|| spec.default_value().clone(), Setting::into_value)
    }

    /// A number that has been set.
    pub(crate) fn uint(&self, name: &str) -> Option<u32> {
        if let Some(Setting::Uint(number)) = self.find(name) { Some(number) } else { None }
    }

    /// A signed number that has been set.
    pub(crate) fn int(&self, name: &str) -> Option<i32> {
        if let Some(Setting::Int(number)) = self.find(name) { Some(number) } else { None }
    }

    /// A text that has been set.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        if let Some(Setting::Text(text)) = self.find(name) { text } else { None }
    }

    fn find(&self, name: &str) -> Option<Setting> {
        lock(&self.0).get(name).cloned()
    }
}

impl Setting {
    fn of(value: &glib::Value) -> Option<Self> {
        let number = || value.get().ok().map(Self::Uint).or_else(|| value.get().ok().map(Self::Int));
        number().or_else(|| value.get().ok().map(Self::Boolean)).or_else(|| value.get().ok().map(Self::Text))
    }

    fn into_value(self) -> glib::Value {
        match self {
            Self::Uint(number) => number.to_value(),
            Self::Int(number) => number.to_value(),
            Self::Boolean(on) => on.to_value(),
            Self::Text(text) => text.to_value(),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts of an element's class that only list things.
macro_rules! describe {
    ($name:literal, $class:literal, [$sink:expr, $src:expr]) => {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: std::sync::OnceLock<gst::subclass::ElementMetadata> = std::sync::OnceLock::new();
            Some(METADATA.get_or_init(|| $crate::elements::metadata($name, $class)))
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: std::sync::OnceLock<Vec<gst::PadTemplate>> = std::sync::OnceLock::new();
            TEMPLATES.get_or_init(|| $crate::elements::always([$sink, $src]))
        }
    };
}
pub(crate) use describe;

/// An element whose properties are only kept.
macro_rules! keep_properties {
    ($($spec:expr),*) => {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: std::sync::OnceLock<Vec<glib::ParamSpec>> = std::sync::OnceLock::new();
            PROPERTIES.get_or_init(|| vec![$($spec),*])
        }

        fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
            self.values.set(spec, value);
        }

        fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
            self.values.get(spec)
        }
    };
}
pub(crate) use keep_properties;
