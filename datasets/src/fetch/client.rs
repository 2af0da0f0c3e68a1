//! The HTTP client: which address, how long to wait, and when to try again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use ureq::http::header::{ACCEPT_ENCODING, RANGE};
use ureq::{Agent, Body};

use super::attempt::{Attempt, Outcome};
use super::mirror::{Mirror, VARIABLE};
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::sources::Download;

/// Attempts in a row that bring nothing, after which a download ends.
const FUTILE_ATTEMPTS: u32 = 5;
/// Number of bytes that an attempt must bring not to be futile.
const WORTHWHILE: u64 = 1 << 20;
/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Time without a byte after which a connection is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// Time before the second attempt. It doubles with every futile attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Downloads from the publishers, or from a mirror.
pub struct Client {
    agent: Agent,
    mirror: Option<Mirror>,
    pub(super) pause: Duration,
}

impl Client {
    /// A client that uses the mirror in the environment variable `EQR_MIRROR`, and the proxies in
    /// `HTTPS_PROXY` and its like.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a mirror that is not the address of a web server.
    pub fn from_environment() -> Result<Client> {
        let mirror = std::env::var(VARIABLE).ok().filter(|address| !address.is_empty());
        Client::new(mirror.as_deref())
    }

    /// A client that uses this mirror.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a mirror that is not the address of a web server.
    pub fn new(mirror: Option<&str>) -> Result<Client> {
        let config = Agent::config_builder()
            .user_agent(concat!("eqr-bench/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        let mirror = mirror.map(Mirror::new).transpose()?;
        Ok(Client { agent: config.new_agent(), mirror, pause: PAUSE })
    }

    /// Where the file is downloaded from.
    pub(super) fn address(&self, file: &Download) -> String {
        self.mirror.as_ref().map_or_else(|| file.url.to_owned(), |mirror| mirror.of(file.url))
    }

    /// Requests a file from the byte `from`.
    pub(super) fn get(
        &self,
        address: &str,
        from: u64,
    ) -> std::result::Result<ureq::http::Response<Body>, ureq::Error> {
        // the checksum is of the file as published, so nothing may be compressed on the way
        let request = self.agent.get(address).header(ACCEPT_ENCODING, "identity");
        match from {
            0 => request.call(),
            _ => request.header(RANGE, format!("bytes={from}-")).call(),
        }
    }

    /// Downloads to `part`, which is the open file `path`, from where an earlier download stopped. A
    /// connection that breaks off is made again.
    pub(super) fn download(
        &self,
        file: &Download,
        part: &File,
        path: &Path,
        watch: &dyn Watch,
    ) -> Result<()> {
        let attempt = Attempt { client: self, file, part, path, watch };
        let mut most = attempt.length()?;
        let (mut futile, mut connected) = (0, false);
        loop {
            let (reason, answered) = match attempt.make()? {
                Outcome::Complete => return Ok(()),
                Outcome::NoConnection(reason) => (reason, false),
                Outcome::BrokenOff(reason) => (reason, true),
            };
            connected |= answered;
            let length = attempt.length()?;
            futile = if length >= most + WORTHWHILE { 0 } else { futile + 1 };
            most = most.max(length);
            // a host that has never answered will not answer in a second
            if !connected || futile == FUTILE_ATTEMPTS {
                return Err(self.given_up(&attempt, &reason, length));
            }
            let pause = self.pause * 2u32.pow(futile.saturating_sub(1));
            watch.say(&format!("{reason}; trying again in {} s", pause.as_secs()));
            sleep(pause);
        }
    }

    /// Says how to go on.
    fn given_up(&self, attempt: &Attempt, reason: &str, length: u64) -> Error {
        let folder = attempt.path.parent().unwrap_or(attempt.path).display();
        let mut reason = reason.to_owned();
        if length > 0 {
            let path = attempt.path.display();
            reason += &format!("\nhint: what has come is kept in {path}; the same command continues it");
        }
        let elsewhere = match self.mirror {
            Some(_) => format!("{VARIABLE} names this server"),
            None => format!("{VARIABLE} can name a mirror"),
        };
        reason += &format!(
            "\nhint: {elsewhere}; a file that was downloaded elsewhere and put into {folder} is used as well"
        );
        Error::Fetch { url: self.address(attempt.file), reason }
    }
}

/// Why there is no answer.
pub(super) fn explained(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "the host is not found".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}
