//! A site's copy of the publishers' hosts.

use crate::error::{Error, Result};

/// The environment variable with the address of the mirror.
pub(super) const VARIABLE: &str = "EQR_MIRROR";

/// The address of a mirror. It takes the place of scheme and host: with `http://mirror.local/data`, the file
/// `https://www.cs.toronto.edu/~kriz/x.tar.gz` is `http://mirror.local/data/~kriz/x.tar.gz`.
#[derive(Clone, Debug)]
pub(super) struct Mirror(String);

impl Mirror {
    /// # Errors
    /// [`Error::Invalid`] for an address that is not of a web server.
    pub fn new(address: &str) -> Result<Mirror> {
        let base = address.trim().trim_end_matches('/');
        let host = ["http://", "https://"].iter().find_map(|scheme| base.strip_prefix(scheme));
        match host {
            Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(Mirror(base.to_owned())),
            _ => Err(Error::Invalid(format!(
                "{VARIABLE}: expected an address such as http://mirror.local/data, found {address:?}"
            ))),
        }
    }

    /// The address of the file that its publisher has at `url`.
    pub fn of(&self, url: &str) -> String {
        let without_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = without_scheme.find('/').map_or("", |slash| &without_scheme[slash..]);
        format!("{}{path}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_takes_the_place_of_the_host() {
        let mirror = Mirror::new(" https://mirror.local:8080/data// ").unwrap();
        assert_eq!(mirror.of("http://a.org/~b/c.tar.gz"), "https://mirror.local:8080/data/~b/c.tar.gz");
        for bad in ["", "mirror.local", "ftp://mirror.local", "http://", "http:///data"] {
            assert!(
                Mirror::new(bad).unwrap_err().to_string().starts_with("EQR_MIRROR: expected an"),
                "{bad}"
            );
        }
    }
}
