use std::cell::RefCell;
use std::net::TcpListener;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::loopback::{Request, Server, rest, status, whole};
use super::*;
use crate::sources::Size;

/// Hears everything.
#[derive(Default)]
struct Log(RefCell<Vec<String>>);

impl Watch for Log {
    fn at(&self, step: Step, done: u64, all: Option<u64>) {
        assert!(all.is_none_or(|all| done <= all), "{step:?}: {done} of {all:?}");
    }

    fn say(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }
}

/// A file that is larger than a buffer.
fn content() -> Vec<u8> {
    (0..700_000u32).flat_map(|number| number.to_le_bytes()).collect()
}

fn published(content: &[u8]) -> Download {
    let sum: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Download {
        url: "https://data.example/~set/tiny.bin",
        size: Size::Exact(content.len() as u64),
        sha256: Some(Box::leak(sum.into_boxed_str())),
    }
}

/// Downloads from `address`. Returns what was said, and the result.
fn fetched(file: &Download, folder: &TempDir, address: &str) -> (String, Result<PathBuf>) {
    let mut client = Client::new(Some(address)).unwrap();
    client.pause = Duration::ZERO;
    let log = Log::default();
    let result = fetch(file, folder.path(), &client, &log);
    (log.0.take().join("\n"), result)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn request(from: Option<usize>) -> Request {
    Request { path: "/~set/tiny.bin".to_owned(), from }
}

#[test]
fn a_file_is_downloaded_once() {
    let (content, folder) = (content(), TempDir::new().unwrap());
    let file = published(&content);
    let served = content.clone();
    let server = Server::start(move |_, request| rest(&served, request));
    let (said, path) = fetched(&file, &folder, &server.address);
    assert!(said.ends_with("tiny.bin: downloaded, with the published checksum"), "{said}");
    assert!(fs::read(path.unwrap()).unwrap() == content);
    let (said, path) = fetched(&file, &folder, &server.address);
    assert!(said.ends_with("tiny.bin: there already, with the published checksum"), "{said}");
    assert_eq!((names(&folder), server.requests()), (vec!["tiny.bin".to_owned()], vec![request(None)]));
    fs::write(path.unwrap(), b"mine").unwrap();
    let (_, refused) = fetched(&file, &folder, &server.address);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("which is not the published one: expected 2800000 bytes, found 4: a text file"));
    assert_eq!(fs::read(folder.path().join("tiny.bin")).unwrap(), b"mine");
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let (content, folder) = (content(), TempDir::new().unwrap());
    let served = content.clone();
    let server = Server::start(move |before, request| match before {
        0 => whole(&served, 2_000_000),
        _ => rest(&served, request),
    });
    let (said, path) = fetched(&published(&content), &folder, &server.address);
    assert!(said.starts_with("the connection broke off after 2.00 MB: "), "{said}");
    assert!(fs::read(path.unwrap()).unwrap() == content);
    assert_eq!(server.requests(), [request(None), request(Some(2_000_000))]);
}

#[test]
fn a_server_that_cannot_continue_starts_from_the_beginning() {
    let (content, folder) = (content(), TempDir::new().unwrap());
    fs::write(folder.path().join("tiny.bin.part"), b"something else").unwrap();
    let served = content.clone();
    let server = Server::start(move |_, _| whole(&served, served.len()));
    let (said, path) = fetched(&published(&content), &folder, &server.address);
    assert!(
        said.starts_with("the server cannot continue a download: it starts from the beginning"),
        "{said}"
    );
    assert!(fs::read(path.unwrap()).unwrap() == content);
    assert_eq!(server.requests(), [request(Some(14))]);
}

#[test]
fn a_server_that_breaks_off_again_and_again_is_given_up_and_what_has_come_is_kept() {
    let (content, folder) = (content(), TempDir::new().unwrap());
    let served = content.clone();
    let server = Server::start(move |before, request| match before {
        0 => whole(&served, 1_500_000),
        _ => rest(&served[..served.len() - 1], request)[..200].to_vec(),
    });
    let without_length = Download { size: Size::About(3_000_000), ..published(&content) };
    let (_, result) = fetched(&without_length, &folder, &server.address);
    let reason = result.unwrap_err().to_string();
    assert!(reason.contains("tiny.bin.part; the same command continues it"), "{reason}");
    assert!(reason.contains("EQR_MIRROR names this server"), "{reason}");
    // the first attempt was worth it
    assert_eq!(server.requests().len(), 6);
    assert_eq!(names(&folder), ["tiny.bin.part"]);
}

#[test]
fn busy_servers_are_asked_again_and_others_are_not() {
    for (line, requests) in [("503 Service Unavailable", 5), ("404 Not Found", 1), ("403 Forbidden", 1)] {
        let folder = TempDir::new().unwrap();
        let server = Server::start(move |_, _| status(line));
        let (_, result) = fetched(&published(b"x"), &folder, &server.address);
        let reason = result.unwrap_err().to_string();
        let said = format!("{}/~set/tiny.bin: the server answers {line}\nhint: ", server.address);
        assert!(reason.starts_with(&said), "{reason}");
        assert_eq!(server.requests().len(), requests, "{line}");
    }
}

#[test]
fn another_file_is_named_and_not_taken() {
    let page = b"<!DOCTYPE html><html><body>Please log in</body></html>";
    let server = Server::start(move |_, request| rest(page, request));
    let refused = |file: &Download| {
        let folder = TempDir::new().unwrap();
        let reason = fetched(file, &folder, &server.address).1.unwrap_err().to_string();
        (reason, names(&folder))
    };
    // of another length: before it is downloaded
    let (reason, _) = refused(&published(&content()));
    let said = "expected the published file of 2800000 bytes, the server has one of 54, an HTML page";
    assert!(reason.contains(said), "{reason}");
    // of the same length
    let (reason, left) = refused(&published(&[b'x'; 54]));
    assert!(reason.contains("expected SHA-256 ") && reason.contains(": an HTML page"), "{reason}");
    assert_eq!(left, ["tiny.bin.wrong"]);
    // of unknown length and checksum
    let (reason, left) = refused(&Download { size: Size::About(50), sha256: None, ..published(b"") });
    assert!(
        reason.contains("another file than the published one: found an HTML page of 54 bytes"),
        "{reason}"
    );
    assert_eq!(left, ["tiny.bin.wrong"]);
}

#[test]
fn a_host_that_does_not_answer_is_asked_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for (address, says) in [
        (address.as_str(), "connection refused"),
        ("http://no.invalid", "failed to lookup address information: "),
    ] {
        let folder = TempDir::new().unwrap();
        let (said, result) = fetched(&published(b"x"), &folder, address);
        let reason = result.unwrap_err().to_string();
        assert!(reason.starts_with(&format!("{address}/~set/tiny.bin: {says}")), "{reason}");
        assert_eq!(said, "");
    }
}

#[test]
fn one_process_downloads_a_file_at_a_time() {
    let folder = TempDir::new().unwrap();
    let part = open_locked(&folder.path().join("tiny.bin.part")).unwrap();
    let (_, result) = fetched(&published(b"x"), &folder, "http://127.0.0.1:9");
    assert!(result.unwrap_err().to_string().contains("another process is downloading this file"));
    drop(part);
}
