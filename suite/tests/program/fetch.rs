//! `data fetch`: what a user sees when a set cannot be downloaded, from a server on the loopback interface.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{PROGRAM, is_refusal, output, stderr};
use crate::loopback::{Request, Server, rest, status, whole};

/// The program with a mirror, and without the proxies of this machine.
fn fetch(here: &Path, mirror: &str, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    for proxy in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    output(command.args(["data", "fetch"]).args(args).env("EQR_MIRROR", mirror).current_dir(here))
}

fn refused(here: &Path, mirror: &str, args: &[&str], says: &[&str]) {
    is_refusal(&fetch(here, mirror, args), says);
}

#[test]
fn another_file_than_the_published_one_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let server = Server::start(|_, request| rest(b"<!DOCTYPE html><html></html>", request));
    let says = [
        "licence: none stated by its author",
        "/~kriz/cifar-10-binary.tar.gz: expected the published file of 170052171 bytes",
        "the server has one of 28, an HTML page",
        "used if it lies in the folder ./cifar10",
    ];
    refused(here, &server.address, &["cifar10"], &says);
    let path = "/~kriz/cifar-10-binary.tar.gz".to_owned();
    assert_eq!(server.requests(), [Request { path, from: None }]);
    assert!(!here.join("cifar10.h5").exists());
}

/// No checksum of 3DIEBench is published, so the server may send anything but a page.
#[test]
fn a_download_that_was_stopped_is_continued_by_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let content: Vec<u8> = b"archive ".repeat(1000);
    let first = content.clone();
    let broken = Server::start(move |before, _| match before {
        0 => whole(&first, 3000),
        _ => status("404 Not Found"),
    });
    let says = ["the connection broke off after 3.00 kB", "trying again in 1 s", "404 Not Found"];
    refused(here, &broken.address, &["3diebench", "--no-pack"], &says);
    assert_eq!(std::fs::read(here.join("3diebench/3DIEBench.tar.gz.part")).unwrap(), content[..3000]);
    let all = content.clone();
    let server = Server::start(move |_, request| match request.path.ends_with(".npy") {
        true => status("403 Forbidden"),
        false => rest(&all, request),
    });
    let says = [
        "3DIEBench.tar.gz: downloaded; no checksum is published",
        "train_images.npy: the server answers 403",
    ];
    refused(here, &server.address, &["3diebench", "--no-pack"], &says);
    assert_eq!(server.requests()[0].from, Some(3000));
    assert_eq!(std::fs::read(here.join("3diebench/3DIEBench.tar.gz")).unwrap(), content);
}

#[test]
fn a_server_that_is_not_there_and_a_wrong_mirror_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    refused(
        here,
        &address,
        &["dtd"],
        &["dtd-r1.0.1.tar.gz: connection refused", "hint: EQR_MIRROR names this server"],
    );
    refused(
        here,
        "http://no.invalid",
        &["dtd"],
        &["dtd-r1.0.1.tar.gz: failed to lookup address information"],
    );
    refused(here, "mirror.local", &["dtd"], &["EQR_MIRROR: expected an address such as http://"]);
    std::fs::write(here.join("dtd.h5"), "mine").unwrap();
    refused(here, &address, &["dtd"], &["dtd.h5: an existing file that is not a pack"]);
}

#[test]
fn a_full_disk_keeps_what_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let content: Vec<u8> = b"archive ".repeat(20_000);
    let server = Server::start(move |_, request| rest(&content, request));
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" data fetch 3diebench";
    let mut command = Command::new("bash");
    command.args(["-c", script, PROGRAM]).env("EQR_MIRROR", &server.address).env("NO_PROXY", "*");
    let full = output(command.current_dir(here));
    let message = stderr(&full);
    assert_eq!(full.status.code(), Some(2), "{message}");
    assert!(message.contains("make room, and the same command continues it"), "{message}");
    assert_eq!(here.join("3diebench/3DIEBench.tar.gz.part").metadata().unwrap().len(), 100 << 10);
}

#[test]
fn sets_that_need_an_account_say_where_and_what_and_which_command_follows() {
    let folder = tempfile::tempdir().unwrap();
    let says = [
        "registered users only",
        "https://image-net.org/download-images.php",
        "ILSVRC2012_img_train.tar",
        "`eqr-bench data pack imagenet FOLDER --out imagenet.h5`",
    ];
    refused(folder.path(), "", &["imagenet"], &says);
    refused(folder.path(), "", &["class-folders"], &["possible values: cifar10, cifar100, food101"]);
}
