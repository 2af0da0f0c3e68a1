//! The heat maps of an X-ray as one page that needs no network.

use maud::html;

use crate::cli::xray::picture::Picture;
use crate::report::page_shell;
use crate::report::xray::maps::{Heading, maps};

/// What the page begins with.
pub const BEGINNING: &str = "<!DOCTYPE html>";

/// The page.
pub fn page(picture: &Picture) -> String {
    let title = format!("X-ray of {}", picture.encoder);
    let body = html! {
        header {
            h1 { (title) }
            p.meta { (picture.line()) }
            @if let Some(description) = &picture.description { p.meta { (description.line()) } }
        }
        main { (maps(&picture.xray, Heading::H2)) }
        footer { "eqr-bench " (env!("CARGO_PKG_VERSION")) }
    };
    page_shell(&title, &body).into_string()
}
