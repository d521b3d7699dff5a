//! A network camera.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::gst_rtsp::RTSPAuthMethod;
use gstreamer_rtsp_server::prelude::*;

use crate::clip::Clip;
use crate::media::{Faults, launch, play};

/// What every test camera's user is called.
pub const USER: &str = "viewer";
/// The password that every test camera asks for.
pub const PASSWORD: &str = "correct horse";

/// One stream of a camera.
pub struct Mount {
    path: String,
    launch: String,
    clips: Vec<Arc<Clip>>,
}

/// One camera; it goes with the value.
pub struct TestCamera {
    port: u16,
    faults: BTreeMap<String, Arc<Faults>>,
    server: rtsp::RTSPServer,
    main_loop: glib::MainLoop,
    source: Option<glib::SourceId>,
    thread: Option<JoinHandle<()>>,
}

impl Mount {
    /// Sends the first of `clips` over and over, until another one is selected; all are of one codec, with the same
    /// kind of sound.
    ///
    /// # Panics
    /// Without a clip.
    #[must_use]
    pub fn of_clips(path: &str, clips: &[Arc<Clip>]) -> Self {
        Self { path: path.to_owned(), launch: launch(&clips[0]), clips: clips.to_vec() }
    }

    /// Sends what a launch line makes, whose payloader is called `pay0`.
    #[must_use]
    pub fn live(path: &str, launch: &str) -> Self {
        Self { path: path.to_owned(), launch: format!("( {launch} )"), clips: Vec::new() }
    }
}

impl TestCamera {
    /// Starts a camera with these streams; port 0 for any.
    ///
    /// # Errors
    /// The port is not free.
    pub fn start(mounts: Vec<Mount>, port: u16) -> Result<Self> {
        gst::init()?;
        let context = glib::MainContext::new();
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.to_string());
        server.set_auth(Some(&digest()));
        if let Some(pool) = server.thread_pool() {
            // All clients on the thread of the main loop.
            pool.set_max_threads(0);
        }
        let points = server.mount_points().context("a server without mount points")?;
        let mut faults = BTreeMap::new();
        for mount in mounts {
            let of_mount: &Arc<Faults> = faults.entry(mount.path.clone()).or_default();
            points.add_factory(&mount.path, factory(&mount, of_mount));
        }
        let source = Some(server.attach(Some(&context)).context("the port is taken")?);
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let running = main_loop.clone();
        let thread = Some(std::thread::spawn(move || {
            let _ = context.with_thread_default(|| running.run());
        }));
        let port = u16::try_from(server.bound_port())?;
        Ok(Self { port, faults, server, main_loop, source, thread })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of one of its streams, without credentials.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }

    /// The faults of one of its streams.
    ///
    /// # Panics
    /// It has no such stream.
    #[must_use]
    pub fn faults(&self, path: &str) -> &Arc<Faults> {
        &self.faults[path]
    }

    /// The streams it has.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.faults.keys().map(String::as_str)
    }
}

impl Drop for TestCamera {
    /// Closes the port and every connection.
    fn drop(&mut self) {
        if let Some(source) = self.source.take().and_then(|source| self.main_loop.context().find_source_by_id(&source))
        {
            source.destroy();
        }
        // On the clients' own thread: a connection that is closed while another thread reads from it reads for ever.
        let (server, main_loop) = (self.server.clone(), self.main_loop.clone());
        self.main_loop.context().invoke(move || {
            server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
            main_loop.quit();
        });
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn digest() -> rtsp::RTSPAuth {
    let auth = rtsp::RTSPAuth::new();
    auth.set_supported_methods(RTSPAuthMethod::Digest);
    let token = rtsp::RTSPToken::builder().field("media.factory.role", "viewer").build();
    auth.add_digest(USER, PASSWORD, &token);
    auth
}

/// Each client gets its own media: shared media stalled in measurements with two clients.
fn factory(mount: &Mount, faults: &Arc<Faults>) -> rtsp::RTSPMediaFactory {
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_launch(&mount.launch);
    factory.set_shared(false);
    let role = gst::Structure::builder("viewer")
        .field("media.factory.access", true)
        .field("media.factory.construct", true)
        .build();
    factory.add_role_from_structure(&role);
    let (faults, clips) = (Arc::clone(faults), mount.clips.clone());
    factory.connect_media_configure(move |_, media| {
        let Ok(bin) = media.element().downcast::<gst::Bin>() else { return };
        if let Some(payloader) = bin.by_name("pay0") {
            faults.attach(&payloader);
        }
        if !clips.is_empty() {
            play(&bin, clips.clone(), Arc::clone(&faults));
        }
    });
    factory
}
