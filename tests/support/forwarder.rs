//! A forwarded port, as container engines and tunnels have it. It can do what networks do: hold bytes back, deliver them
//! late or few at a time, lose those of one direction, and lose connections without one of the ends noticing. Where we are
//! root, the kernel can also lose every packet on the way to it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What becomes of the bytes of one direction, on connections old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They are forwarded.
    Open,
    /// They are held back until the flow changes; the connection stays open.
    Stalled,
    /// Each piece comes this much later.
    Late(Duration),
    /// So many come at a time, with a pause after each.
    Dripping(usize, Duration),
    /// They are lost, and so is whatever follows on the same connection: half of it is dead, and neither end hears of it.
    Lost,
}

/// Forwards a port of 127.0.0.1 to another one.
#[derive(Debug)]
pub struct Forwarder {
    port: u16,
    link: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    pairs: Mutex<Vec<Pair>>,
    /// To the server, and to clients.
    flows: Mutex<[Flow; 2]>,
    /// Connections in which nothing gets through any more, by the port that the server sees.
    stalled: Mutex<Vec<u16>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pair {
    client: TcpStream,
    server: TcpStream,
    /// The server is not told any more.
    is_cut: bool,
}

/// An index into [`Link::flows`].
const UP: usize = 0;
const DOWN: usize = 1;

impl Forwarder {
    /// Begins to forward to `port`.
    pub fn to(port: u16) -> Self {
        Self::on("127.0.0.1", port)
    }

    /// The same, on another address of this machine.
    pub fn on(address: &str, port: u16) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let flows = Mutex::new([Flow::Open; 2]);
        let link = Arc::new(Link {
            pairs: Mutex::default(),
            flows,
            stalled: Mutex::default(),
            changed: Condvar::new(),
        });
        let known = Arc::clone(&link);
        // Ends with the test process: nobody else knows the port.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                known.connect(client, server);
            }
        });
        Self { port: own, link }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on this becomes of what is sent to the server, and of what is sent to clients.
    pub fn set(&self, up: Flow, down: Flow) {
        *self.link.flows.lock().unwrap() = [up, down];
        self.link.changed.notify_all();
    }

    /// From now on nothing gets through a single connection, which stays open: that of which the server sees this port.
    pub fn stall(&self, port: u16) {
        self.link.stalled.lock().unwrap().push(port);
    }

    /// Clients lose their connections, and the server hears nothing of it. New ones are let through.
    pub fn cut(&self) -> usize {
        self.close(|pair| {
            pair.is_cut = true;
            let _ = pair.client.shutdown(Shutdown::Both);
        })
    }

    /// Both ends lose their connections. New ones are let through.
    pub fn cut_both(&self) -> usize {
        self.close(|pair| {
            for end in [&pair.client, &pair.server] {
                let _ = end.shutdown(Shutdown::Both);
            }
        })
    }

    fn close(&self, close: impl FnMut(&mut Pair)) -> usize {
        let mut pairs = self.link.pairs.lock().unwrap();
        pairs.iter_mut().for_each(close);
        pairs.len()
    }
}

impl Link {
    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for end in [&client, &server] {
            end.set_nodelay(true).unwrap();
        }
        let (to, from) = (client.try_clone().unwrap(), client.try_clone().unwrap());
        let (up, down) = (server.try_clone().unwrap(), server.try_clone().unwrap());
        let port = server.local_addr().unwrap().port();
        let at = {
            let mut pairs = self.pairs.lock().unwrap();
            pairs.push(Pair { client, server, is_cut: false });
            pairs.len() - 1
        };
        let link = Arc::clone(self);
        std::thread::spawn(move || {
            let is_lost = link.copy(&from, &up, UP, port);
            let pair = &link.pairs.lock().unwrap()[at];
            if !pair.is_cut && !is_lost {
                let _ = pair.server.shutdown(Shutdown::Write);
            }
        });
        let link = Arc::clone(self);
        std::thread::spawn(move || {
            if !link.copy(&down, &to, DOWN, port) {
                let _ = to.shutdown(Shutdown::Both);
            }
        });
    }

    /// Until one of the two is gone; says nothing to the other one. Returns whether the direction was lost.
    fn copy(&self, mut from: &TcpStream, to: &TcpStream, direction: usize, port: u16) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut is_lost = false;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // Neither end learns that the other one has closed it.
            while self.stalled.lock().unwrap().contains(&port) {
                std::thread::park();
            }
            is_lost |= self.flow(direction) == Flow::Lost;
            if !is_lost && self.forward(&buffer[..count], to, direction).is_err() {
                break;
            }
        }
        is_lost || self.flow(direction) == Flow::Lost
    }

    /// What becomes of bytes, once it is not that they are held back.
    fn flow(&self, direction: usize) -> Flow {
        let flows = self.flows.lock().unwrap();
        self.changed.wait_while(flows, |flows| flows[direction] == Flow::Stalled).unwrap()[direction]
    }

    fn forward(&self, mut bytes: &[u8], mut to: &TcpStream, direction: usize) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (count, pause) = match self.flow(direction) {
                Flow::Open | Flow::Stalled | Flow::Lost => (bytes.len(), Duration::ZERO),
                Flow::Late(by) => {
                    std::thread::sleep(by);
                    (bytes.len(), Duration::ZERO)
                }
                Flow::Dripping(count, pause) => (count.min(bytes.len()), pause),
            };
            to.write_all(&bytes[..count])?;
            bytes = &bytes[count..];
            std::thread::sleep(pause);
        }
        Ok(())
    }
}

/// No packet reaches an address of this machine while this lives, and nobody is told.
#[derive(Debug)]
pub struct Dark(String);

impl Dark {
    /// `None` where we may not say so to the kernel.
    pub fn fall(address: &str) -> Option<Self> {
        route("add", address).then(|| Self(address.to_owned()))
    }
}

impl Drop for Dark {
    fn drop(&mut self) {
        route("del", &self.0);
    }
}

fn route(what: &str, address: &str) -> bool {
    let mut ip = Command::new("ip");
    ip.args(["route", what, "blackhole", address, "table", "local"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ip.status().is_ok_and(|status| status.success())
}
