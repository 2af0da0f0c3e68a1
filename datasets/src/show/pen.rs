//! Drawing text on a picture.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

/// DejaVu Sans with Latin letters only. Its licence is in the same folder. Missing letters are drawn as
/// boxes.
pub const FONT: &[u8] = include_bytes!("font/DejaVuSans-latin.ttf");

/// A text style: font, size and colour.
#[derive(Clone)]
pub(super) struct Pen {
    font: FontRef<'static>,
    size: PxScale,
    colour: Rgb<u8>,
}

impl Pen {
    /// A pen for lines that are `size` pixels high.
    pub fn new(size: f32, colour: [u8; 3]) -> Self {
        let font = FontRef::try_from_slice(FONT).expect("the embedded font is a font");
        Pen { font, size: PxScale::from(size), colour: Rgb(colour) }
    }

    /// Height of a line in pixels.
    pub fn height(&self) -> u32 {
        self.font.as_scaled(self.size).height().ceil() as u32
    }

    /// Width of `text` in pixels.
    pub fn width(&self, text: &str) -> u32 {
        self.placed(text).last().map_or(0.0, |(_, _, end)| end).ceil() as u32
    }

    /// `text`, shortened with an ellipsis if it is wider than `room` pixels.
    pub fn elided(&self, text: &str, room: u32) -> String {
        if self.fits(text, room) {
            return text.to_owned();
        }
        let cut = |letters: usize| text.chars().take(letters).collect::<String>().trim_end().to_owned() + "…";
        // every letter is at least one pixel wide, and a name may be very long
        let most = (room as usize).min(text.chars().count());
        (0..most).rev().map(cut).find(|cut| self.fits(cut, room)).unwrap_or_default()
    }

    /// Joins `phrases` with commas into lines of at most `room` pixels. A phrase that is longer than a line
    /// is shortened.
    pub fn lines(&self, phrases: &[String], room: u32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for phrase in phrases {
            let joined = lines.last().map(|line| format!("{line}, {phrase}"));
            match (joined, lines.last_mut()) {
                // there must also be room for the comma
                (Some(joined), Some(last)) if self.fits(&format!("{joined},"), room) => *last = joined,
                (_, Some(last)) => {
                    last.push(',');
                    lines.push(self.elided(phrase, room));
                }
                (_, None) => lines.push(self.elided(phrase, room)),
            }
        }
        lines
    }

    /// Draws `text` with its top left corner at (`x`, `y`). Anything outside the canvas is clipped.
    pub fn write(&self, canvas: &mut RgbImage, text: &str, [x, y]: [u32; 2]) {
        let baseline = y as f32 + self.font.as_scaled(self.size).ascent();
        for (id, start, _) in self.placed(text) {
            let glyph = id.with_scale_and_position(self.size, point(x as f32 + start, baseline));
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, cover| {
                let (px, py) = (corner.x + dx as f32, corner.y + dy as f32);
                if px >= 0.0
                    && py >= 0.0
                    && let Some(pixel) = canvas.get_pixel_mut_checked(px as u32, py as u32)
                {
                    *pixel = blend(*pixel, self.colour, cover);
                }
            });
        }
    }

    /// The glyphs of `text`, each with its start and end position.
    fn placed(&self, text: &str) -> impl Iterator<Item = (ab_glyph::GlyphId, f32, f32)> {
        let font = self.font.as_scaled(self.size);
        let mut end = 0.0;
        let mut previous = None;
        text.chars().map(move |letter| {
            let id = font.glyph_id(if letter.is_control() { ' ' } else { letter });
            let start = end + previous.map_or(0.0, |previous| font.kern(previous, id));
            end = start + font.h_advance(id);
            previous = Some(id);
            (id, start, end)
        })
    }

    fn fits(&self, text: &str, room: u32) -> bool {
        self.width(text) <= room
    }
}

/// Blends the colour `over`, with opacity `cover` (0 to 1), onto the colour `under`.
pub(super) fn blend(under: Rgb<u8>, over: Rgb<u8>, cover: f32) -> Rgb<u8> {
    let cover = cover.clamp(0.0, 1.0);
    let mix = |channel: usize| f32::from(under[channel]) * (1.0 - cover) + f32::from(over[channel]) * cover;
    Rgb([0, 1, 2].map(|channel| mix(channel).round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_all_letters_in_use() {
        let font = FontRef::try_from_slice(FONT).unwrap();
        for sign in ('0'..='9').chain('a'..='z').chain("+−×°…,·".chars()) {
            assert_ne!(font.glyph_id(sign).0, 0, "{sign}");
        }
    }

    #[test]
    fn long_names_are_shortened_to_the_room() {
        let pen = Pen::new(14.0, [0; 3]);
        assert_eq!(pen.elided("short", 200), "short");
        for name in
            ["a name that goes on and on, and then goes on", "人物の名前はとても長い", &"w".repeat(100_000)]
        {
            let cut = pen.elided(name, 70);
            assert!(cut.ends_with('…') && cut.chars().count() > 3 && pen.width(&cut) <= 70, "{cut}");
            assert!(name.starts_with(cut.trim_end_matches('…')));
        }
        assert_eq!(pen.elided("name", 0), "");
    }

    #[test]
    fn lines_keep_every_phrase_whole_and_in_order() {
        let pen = Pen::new(14.0, [0; 3]);
        let phrases =
            ["rotation +37°", "translation +0.12 −0.03", "no flip", "blur 1.3 px"].map(str::to_owned);
        for room in [170, 250, 400, 10_000] {
            let lines = pen.lines(&phrases, room);
            assert_eq!(lines.join(" "), phrases.join(", "));
            assert!(lines.iter().all(|line| pen.width(line) <= room), "{lines:?} in {room}");
        }
        assert!(pen.lines(&[], 100).is_empty());
    }

    #[test]
    fn any_letter_anywhere_is_drawn_without_a_panic() {
        let mut canvas = RgbImage::from_pixel(40, 20, Rgb([255; 3]));
        let pen = Pen::new(14.0, [9, 9, 9]);
        for (text, place) in
            [("ÄÿΩ人\u{1f600}\u{0}\n\u{202e}", [0, 0]), ("gj", [38, 18]), ("x", [u32::MAX, u32::MAX])]
        {
            pen.write(&mut canvas, text, place);
        }
        let dark = canvas.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
        assert!((20..600).contains(&dark), "{dark} pixels of letters");
        assert!(canvas.pixels().all(|pixel| pixel[0] >= 9));
    }
}
