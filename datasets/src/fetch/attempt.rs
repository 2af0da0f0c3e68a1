//! One request for what is missing of a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use ureq::Body;
use ureq::http::header::CONTENT_RANGE;
use ureq::http::{Response, StatusCode};

use super::client::{Client, explained};
use super::watch::{Step, Watch};
use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::file_kind::{FileKind, HEAD};
use crate::output::parent_folder;
use crate::sources::Download;

/// Number of bytes that are written at a time.
const BUFFER: usize = 256 << 10;

/// One request, and where its answer goes.
pub(super) struct Attempt<'a> {
    pub client: &'a Client,
    pub file: &'a Download,
    /// The unfinished download.
    pub part: &'a File,
    pub path: &'a Path,
    pub watch: &'a dyn Watch,
}

/// How an attempt ended that found no final error.
pub(super) enum Outcome {
    Complete,
    /// The server could not be reached, with the reason.
    NoConnection(String),
    /// It answered, but not with the rest of the file.
    BrokenOff(String),
}

impl Attempt<'_> {
    /// Requests the missing bytes and appends them.
    ///
    /// # Errors
    /// What another attempt would not mend: a file that is not there, another file, a full disk.
    pub fn make(&self) -> Result<Outcome> {
        let mut there = self.length()?;
        match self.file.size.exact() {
            Some(all) if there == all => return Ok(Outcome::Complete),
            Some(all) if there > all => there = self.start_anew()?,
            _ => {}
        }
        let answer = match self.client.get(&self.client.address(self.file), there) {
            Ok(answer) => answer,
            Err(error) => return Ok(Outcome::NoConnection(explained(&error))),
        };
        let status = answer.status();
        match status {
            StatusCode::OK => {
                if there > 0 {
                    self.watch.say("the server cannot continue a download: it starts from the beginning");
                    self.start_anew()?;
                }
                let all = answer.body().content_length();
                self.receive(answer, 0, all)
            }
            StatusCode::PARTIAL_CONTENT => match content_range(&answer) {
                Some((start, all)) if start == there => self.receive(answer, there, all),
                _ => Err(self.refused("its server answered with another range than was asked for")),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.start_anew()?;
                Ok(Outcome::BrokenOff("the file is shorter than what is there of it".to_owned()))
            }
            StatusCode::TOO_MANY_REQUESTS => Ok(Outcome::BrokenOff(in_words(status))),
            _ if status.is_server_error() => Ok(Outcome::BrokenOff(in_words(status))),
            _ => Err(self.refused(&in_words(status))),
        }
    }

    /// Number of bytes that are there.
    pub fn length(&self) -> Result<u64> {
        self.part.metadata().map(|found| found.len()).map_err(Error::io(self.path))
    }

    fn start_anew(&self) -> Result<u64> {
        self.part.set_len(0).map(|()| 0).map_err(Error::io(self.path))
    }

    /// Appends the body, which begins at the byte `there` of a file of `all` bytes.
    fn receive(&self, answer: Response<Body>, there: u64, all: Option<u64>) -> Result<Outcome> {
        let mut body = answer.into_body().into_reader();
        self.check_length(there, all, &mut body)?;
        self.check_room(there, all)?;
        let mut part = self.part;
        part.seek(SeekFrom::Start(there)).map_err(Error::io(self.path))?;
        let (mut done, mut buffer) = (there, vec![0; BUFFER]);
        loop {
            self.watch.at(Step::Downloading, done, all);
            let broken = |cause: &str| {
                Ok(Outcome::BrokenOff(format!("the connection broke off after {}: {cause}", Bytes(done))))
            };
            match body.read(&mut buffer) {
                Ok(0) if all.is_some_and(|all| done < all) => return broken("the server closed it"),
                Ok(0) => return Ok(Outcome::Complete),
                Ok(count) => part.write_all(&buffer[..count]).map_err(|error| self.cannot_write(error))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return broken(&explained(&error.into())),
            }
            done = self.length()?;
        }
    }

    /// Refuses a file of another length before it is downloaded.
    fn check_length(&self, there: u64, all: Option<u64>, body: &mut dyn Read) -> Result<()> {
        let (Some(expected), Some(found)) = (self.file.size.exact(), all) else { return Ok(()) };
        if expected == found {
            return Ok(());
        }
        let mut kind = String::new();
        if there == 0 {
            let mut head = Vec::new();
            // whatever has come of it is enough
            let _ = body.take(HEAD as u64).read_to_end(&mut head);
            kind = format!(", {}", FileKind::of(&head));
        }
        Err(self.refused(&format!(
            "expected the published file of {expected} bytes, the server has one of {found}{kind}"
        )))
    }

    /// Refuses a download for which there is no room.
    fn check_room(&self, there: u64, all: Option<u64>) -> Result<()> {
        let Some(all) = all else { return Ok(()) };
        let folder = parent_folder(self.path);
        let found = rustix::fs::statvfs(folder).map_err(|error| Error::io(folder)(error.into()))?;
        let (needed, free) = (all.saturating_sub(there), found.f_bavail.saturating_mul(found.f_frsize));
        match needed <= free {
            true => Ok(()),
            false => {
                let [needed, free] = [needed, free].map(Bytes);
                let hint = "hint: make room, or give another --to";
                Err(Error::format(folder, format!("{needed} are to come, {free} are free\n{hint}")))
            }
        }
    }

    fn cannot_write(&self, error: io::Error) -> Error {
        let hint = "hint: what has come is kept; make room, and the same command continues it";
        Error::io(self.path)(io::Error::new(error.kind(), format!("{error}\n{hint}")))
    }

    fn refused(&self, reason: &str) -> Error {
        let hint = "hint: the address may have changed; `eqr-bench data list` names the page of the set. A file that \
                    was downloaded elsewhere is used if it lies in the folder";
        let folder = parent_folder(self.path).display();
        Error::Fetch { url: self.client.address(self.file), reason: format!("{reason}\n{hint} {folder}") }
    }
}

/// Start and length of the whole file, from `bytes 100-199/200`.
fn content_range(answer: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let text = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, all) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, all.parse().ok()))
}

/// `the server answers 404 Not Found`.
fn in_words(status: StatusCode) -> String {
    format!("the server answers {status}")
}
