//! Names of GLib and GStreamer that the generated modules use, as their own crates define them.

// Our own header needs fewer of them than an SDK's.
#![allow(non_camel_case_types, unused_imports, dead_code)]

pub(crate) use core::ffi::{c_char as gchar, c_double as gdouble, c_float as gfloat, c_int as gint, c_uint as guint};
pub(crate) use glib_sys::{GList, GRecMutex, gboolean, gpointer};
pub(crate) use gstreamer_sys::GstMeta;

pub(crate) type gint64 = i64;
pub(crate) type guint64 = u64;
pub(crate) type guint16 = u16;
