//! A forwarded port, as container engines and tunnels have it; it can also lose everybody's connection
//! without the server noticing, as a network does.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Forwards a port of 127.0.0.1 to another one.
#[derive(Debug)]
pub struct Forwarder {
    port: u16,
    pairs: Arc<Mutex<Vec<Pair>>>,
}

#[derive(Debug)]
struct Pair {
    client: TcpStream,
    server: TcpStream,
    /// The server is not told any more.
    is_cut: bool,
}

impl Forwarder {
    /// Begins to forward to `port`.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let pairs: Arc<Mutex<Vec<Pair>>> = Arc::default();
        let known = Arc::clone(&pairs);
        // Ends with the test process: nobody else knows the port.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for end in [&client, &server] {
                    end.set_nodelay(true).unwrap();
                }
                let (to, from) = (client.try_clone().unwrap(), client.try_clone().unwrap());
                let (up, down) = (server.try_clone().unwrap(), server.try_clone().unwrap());
                let all = Arc::clone(&known);
                let at = {
                    let mut all = all.lock().unwrap();
                    all.push(Pair { client, server, is_cut: false });
                    all.len() - 1
                };
                std::thread::spawn(move || {
                    copy(&from, &up);
                    let pair = &all.lock().unwrap()[at];
                    if !pair.is_cut {
                        let _ = pair.server.shutdown(Shutdown::Write);
                    }
                });
                std::thread::spawn(move || {
                    copy(&down, &to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port: own, pairs }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Clients lose their connections, and the server hears nothing of it. New ones are let through.
    pub fn cut(&self) -> usize {
        let mut pairs = self.pairs.lock().unwrap();
        for pair in pairs.iter_mut() {
            pair.is_cut = true;
            let _ = pair.client.shutdown(Shutdown::Both);
        }
        pairs.len()
    }
}

/// Until one of the two is gone; says nothing to the other one.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
