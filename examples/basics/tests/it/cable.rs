//! A cable between two programs that can be cut.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) struct Cable {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    sockets: Vec<TcpStream>,
}

impl Cable {
    /// Leads to this address.
    pub(crate) fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cable = Self {
            address: listener.local_addr().unwrap().to_string(),
            state: Arc::default(),
        };
        let (state, target) = (cable.state.clone(), target.to_owned());
        thread::spawn(move || {
            for near in listener.incoming() {
                let mut state = state.lock().unwrap();
                if !state.cut {
                    state.join(near.unwrap(), TcpStream::connect(&target).unwrap());
                }
            }
        });
        cable
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = true;
        for socket in state.sockets.drain(..) {
            // It may be over already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().cut = false;
    }
}

impl State {
    fn join(&mut self, near: TcpStream, far: TcpStream) {
        for (from, to) in [(&near, &far), (&far, &near)] {
            let [mut from, mut to] = [from, to].map(|socket| socket.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        self.sockets.extend([near, far]);
    }
}
