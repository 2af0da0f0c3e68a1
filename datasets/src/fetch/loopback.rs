//! A web server on the loopback interface that does what a test tells it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// A request: its path, and the first byte that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub path: String,
    pub from: Option<usize>,
}

/// A server. It ends with the process.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server whose answer to each request, as sent, is that of `answer`, which also gets the number
    /// of requests before. The connection is closed after each answer.
    pub fn start(answer: impl Fn(usize, &Request) -> Vec<u8> + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else { continue };
                let before = {
                    let mut seen = seen.lock().expect("no thread panics with it");
                    seen.push(request.clone());
                    seen.len() - 1
                };
                // a client may have gone
                let _ = stream.write_all(&answer(before, &request));
            }
        });
        Server { address, requests }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no thread panics with it").clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let head: Vec<String> =
        lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let range = head.iter().find_map(|line| line.strip_prefix("range: bytes="));
    Some(Request { path, from: range.and_then(|range| range.trim_end_matches('-').parse().ok()) })
}

/// An answer without a body.
pub fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

/// The whole file, of which only the first `sent` bytes are sent.
pub fn whole(file: &[u8], sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len());
    [head.as_bytes(), &file[..sent]].concat()
}

/// What was asked for of the file.
pub fn rest(file: &[u8], request: &Request) -> Vec<u8> {
    let Some(from) = request.from else { return whole(file, file.len()) };
    let (all, last) = (file.len(), file.len() - 1);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{last}/{all}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        all - from
    );
    [head.as_bytes(), &file[from..]].concat()
}
