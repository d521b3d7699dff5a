//! The network between a camera and its clients, which a test can take away.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a blackhole looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// A way to a camera's port; it goes with the value.
pub struct Wire {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    blackhole: AtomicBool,
    over: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Wire {
    /// Lays a wire to `camera`'s port on loopback.
    ///
    /// # Errors
    /// There is no free port.
    pub fn to(camera: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, state) = (listener.local_addr()?.port(), Arc::<State>::default());
        let carried = Arc::clone(&state);
        // Ends with the first connection after the wire is gone.
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if carried.over.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&carried);
                std::thread::spawn(move || state.carry(near, camera));
            }
        });
        Ok(Self { port, state })
    }

    /// The near end.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Swallows everything while it lasts: connections stay open, new ones are taken, and no byte comes through.
    pub fn blackhole(&self, on: bool) {
        self.state.blackhole.store(on, Ordering::Relaxed);
        if !on {
            // What was in flight is lost with its connection, as when a route is gone for long.
            self.cut();
        }
    }

    /// Cuts every connection; new ones come through.
    pub fn cut(&self) {
        for connection in self.state.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn carry(self: &Arc<Self>, near: TcpStream, camera: u16) {
        self.wait();
        let Ok(far) = TcpStream::connect(("127.0.0.1", camera)) else { return };
        let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { return };
        {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.extend([&near, &far].iter().filter_map(|one| one.try_clone().ok()));
        }
        let state = Arc::clone(self);
        let back = std::thread::spawn(move || state.copy(far_again, near_again));
        self.copy(near, far);
        let _ = back.join();
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            self.wait();
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    fn wait(&self) {
        while self.blackhole.load(Ordering::Relaxed) && !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
    }
}
