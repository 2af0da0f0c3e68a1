//! Small multiples of line charts as PNG, with fixed sizes, one embedded font, and colours that colour-blind
//! readers can distinguish.

use std::io::Cursor;
use std::ops::Range;

use anyhow::{Result, anyhow};
use eqr_datasets::show::FONT;
use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{RGBColor, register_font};

const FAMILY: &str = "eqr";

/// Figures are drawn at this multiple of their size and scaled down, as the rasteriser does not smooth thick
/// lines.
const OVERSAMPLING: u32 = 2;
/// Width and height of a panel.
const PANEL: (u32, u32) = (520, 390);
/// Maximum number of panels side by side.
const COLUMNS: usize = 3;
/// Height of the title.
const TITLE: u32 = 44;
/// Height of a legend line.
const LEGEND_LINE: u32 = 30;

/// Okabe and Ito's colours without the yellow, which is hard to see on white.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
];
/// Number of shapes of markers.
pub const MARKERS: usize = 5;

const GREY: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(228, 228, 228);

/// Panels under a title.
pub struct Figure {
    /// Heading.
    pub title: String,
    /// Whether a legend is drawn below the panels.
    pub legend: bool,
    /// Charts, drawn row by row.
    pub panels: Vec<Panel>,
}

/// A chart.
pub struct Panel {
    /// Heading.
    pub title: String,
    /// Name of the horizontal axis.
    pub x_label: &'static str,
    /// Name of the vertical axis.
    pub y_label: String,
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// A line through points, or a horizontal level.
pub struct Curve {
    /// Name in the legend.
    pub label: String,
    /// How it looks.
    pub style: Style,
    /// Points in the order of x. A floor or a ceiling has one point, whose y is the level.
    pub points: Vec<Point>,
}

/// A point of a curve. All values are finite.
pub struct Point {
    /// Horizontal coordinate.
    pub x: f64,
    /// Vertical coordinate.
    pub y: f64,
    /// Half the length of the error bar.
    pub spread: Option<f64>,
}

/// How a curve looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A method, by the index of its style.
    Method {
        /// Index.
        index: usize,
        /// Thickness.
        weight: Weight,
    },
    /// A dashed level.
    Floor,
    /// A dotted level.
    Ceiling,
}

/// Thickness of a method's line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Many points, without markers.
    Thin,
    /// Few points, each with a marker.
    Marked,
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Figure {
    /// The picture, or `None` if there is no panel.
    ///
    /// # Errors
    /// A failure of drawing or encoding.
    pub fn png(&self) -> Result<Option<Vec<u8>>> {
        if self.panels.is_empty() {
            return Ok(None);
        }
        register_font(FAMILY, FontStyle::Normal, FONT)
            .map_err(|_| anyhow!("the embedded font is damaged"))?;
        let (width, height) = self.size();
        let (wide, high) = (width * OVERSAMPLING, height * OVERSAMPLING);
        let mut pixels = vec![255; (wide * high * 3) as usize];
        self.draw(&BitMapBackend::with_buffer(&mut pixels, (wide, high)).into_drawing_area())?;
        let drawn =
            RgbImage::from_raw(wide, high, pixels).ok_or_else(|| anyhow!("the canvas has another size"))?;
        let mut png = Cursor::new(Vec::new());
        imageops::resize(&drawn, width, height, FilterType::Triangle).write_to(&mut png, ImageFormat::Png)?;
        Ok(Some(png.into_inner()))
    }

    fn columns(&self) -> usize {
        self.panels.len().clamp(1, COLUMNS)
    }

    /// Width and height in pixels.
    fn size(&self) -> (u32, u32) {
        let (columns, rows) = (self.columns() as u32, self.panels.len().div_ceil(self.columns()) as u32);
        (columns * PANEL.0, TITLE + rows * PANEL.1 + self.legend_height())
    }

    fn legend_height(&self) -> u32 {
        let lines = self.legend_entries().len().div_ceil(self.columns()) as u32;
        if self.legend { lines * LEGEND_LINE + LEGEND_LINE / 2 } else { 0 }
    }

    /// The first curve with each label, in the order of the panels.
    fn legend_entries(&self) -> Vec<&Curve> {
        let mut entries: Vec<&Curve> = vec![];
        for curve in self.panels.iter().flat_map(|panel| &panel.curves) {
            if entries.iter().all(|entry| entry.label != curve.label) {
                entries.push(curve);
            }
        }
        entries
    }

    fn draw(&self, area: &Area) -> Result<()> {
        area.fill(&WHITE)?;
        let (title, rest) = area.split_vertically(scaled(TITLE));
        title.draw_text(&self.title, &text(18.0), (scaled(14), scaled(14)))?;
        let (charts, legend) =
            rest.split_vertically(rest.dim_in_pixel().1 as i32 - scaled(self.legend_height()));
        let rows = self.panels.len().div_ceil(self.columns());
        for (panel, area) in self.panels.iter().zip(charts.split_evenly((rows, self.columns()))) {
            panel.draw(&area)?;
        }
        if self.legend { self.draw_legend(&legend) } else { Ok(()) }
    }

    fn draw_legend(&self, area: &Area) -> Result<()> {
        for (i, curve) in self.legend_entries().into_iter().enumerate() {
            let x = scaled(PANEL.0) * (i % self.columns()) as i32 + scaled(24);
            let y = scaled(LEGEND_LINE) * (i / self.columns()) as i32 + scaled(LEGEND_LINE / 2);
            let ends = [(x, y), (x + scaled(44), y)];
            area.draw(&stroke(curve.style, ends.to_vec()))?;
            if let Style::Method { index, weight: Weight::Marked } = curve.style {
                area.draw(&marker(index, (x + scaled(22), y)))?;
            }
            area.draw_text(
                &curve.label,
                &text(15.0).pos(Pos::new(HPos::Left, VPos::Center)),
                (x + scaled(54), y),
            )?;
        }
        Ok(())
    }
}

impl Panel {
    fn draw(&self, area: &Area) -> Result<()> {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, text(17.0))
            .margin(scaled(10))
            .margin_right(scaled(22))
            .x_label_area_size(scaled(40))
            .y_label_area_size(scaled(66))
            .build_cartesian_2d(self.x_range(), self.y_range())?;
        chart
            .configure_mesh()
            .x_labels(8)
            .y_labels(7)
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(OVERSAMPLING))
            .axis_style(GREY.stroke_width(OVERSAMPLING))
            .label_style(text(13.0))
            .axis_desc_style(text(14.0))
            .x_desc(self.x_label)
            .y_desc(&self.y_label)
            .x_label_formatter(&|x| without_rounding_error(*x))
            .y_label_formatter(&|y| without_rounding_error(*y))
            .draw()?;
        self.curves.iter().try_for_each(|curve| self.draw_curve(&mut chart, curve))
    }

    fn draw_curve(&self, chart: &mut Chart, curve: &Curve) -> Result<()> {
        let Style::Method { index, weight } = curve.style else { return self.draw_level(chart, curve) };
        let points: Vec<(f64, f64)> = curve.points.iter().map(|point| (point.x, point.y)).collect();
        chart.plotting_area().draw(&stroke(curve.style, points.clone()))?;
        for (at, point) in points.iter().zip(&curve.points) {
            if let Some(spread) = point.spread {
                let bar = vec![(at.0, at.1 - spread), (at.0, at.1 + spread)];
                chart
                    .plotting_area()
                    .draw(&PathElement::new(bar, colour(index).stroke_width(OVERSAMPLING)))?;
            }
            if weight == Weight::Marked {
                chart.plotting_area().draw(&marker(index, *at))?;
            }
        }
        Ok(())
    }

    fn draw_level(&self, chart: &mut Chart, curve: &Curve) -> Result<()> {
        let Range { start, end } = self.x_range();
        for point in &curve.points {
            chart.plotting_area().draw(&stroke(curve.style, vec![(start, point.y), (end, point.y)]))?;
        }
        Ok(())
    }

    fn x_range(&self) -> Range<f64> {
        let (low, high) = extent(self.points().map(|point| point.x));
        let low = low.min(0.0);
        low..if high > low { high + 0.02 * (high - low) } else { low + 1.0 }
    }

    fn y_range(&self) -> Range<f64> {
        let ends =
            |point: &Point| [point.y - point.spread.unwrap_or(0.0), point.y + point.spread.unwrap_or(0.0)];
        let (low, high) = extent(self.points().flat_map(ends));
        let largest = low.abs().max(high.abs());
        let margin = match high - low {
            span if span > 1e-9 * largest => 0.06 * span,
            _ if largest > 0.0 => 0.5 * largest,
            _ => 0.5,
        };
        low - margin..high + margin
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.curves.iter().flat_map(|curve| &curve.points)
    }
}

/// Smallest and largest value; 0 and 0 if there are none.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.map(|value| (value, value)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0.0, 0.0))
}

/// A coordinate of the mesh in its shortest form.
fn without_rounding_error(value: f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

fn scaled(pixels: u32) -> i32 {
    (pixels * OVERSAMPLING) as i32
}

fn text(size: f64) -> TextStyle<'static> {
    (FAMILY, size * f64::from(OVERSAMPLING)).into_text_style(&(1, 1)).color(&BLACK)
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// The line through `points`: solid for a method, broken for a level.
fn stroke<'a, C: Clone + 'a>(style: Style, points: Vec<C>) -> DynElement<'a, BitMapBackend<'a>, C> {
    let broken = |dash: u32, gap: u32| {
        let style = GREY.stroke_width(2 * OVERSAMPLING);
        DashedPathElement::new(points.clone(), dash * OVERSAMPLING, gap * OVERSAMPLING, style).into_dyn()
    };
    match style {
        Style::Method { index, weight: Weight::Thin } => {
            PathElement::new(points, colour(index).stroke_width(3)).into_dyn()
        }
        Style::Method { index, weight: Weight::Marked } => {
            PathElement::new(points, colour(index).stroke_width(4)).into_dyn()
        }
        Style::Floor => broken(9, 6),
        Style::Ceiling => broken(2, 4),
    }
}

/// Neighbouring indices have different shapes, so that lines differ in more than their colour.
fn marker<'a, C: Clone + 'a>(index: usize, at: C) -> DynElement<'a, BitMapBackend<'a>, C> {
    let (r, style) = (scaled(5), colour(index).filled());
    let shape = |corners: &[(i32, i32)]| {
        (EmptyElement::at(at.clone()) + Polygon::new(corners.to_vec(), style)).into_dyn()
    };
    match index % MARKERS {
        0 => Circle::new(at, r, style).into_dyn(),
        1 => shape(&[(-r, -r), (r, -r), (r, r), (-r, r)]),
        2 => shape(&[(0, -r - 2), (r + 2, r), (-r - 2, r)]),
        3 => shape(&[(0, -r - 4), (r + 4, 0), (0, r + 4), (-r - 4, 0)]),
        _ => shape(&[(0, r + 2), (r + 2, -r), (-r - 2, -r)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(label: &str, index: usize, points: &[(f64, f64, Option<f64>)]) -> Curve {
        let points = points.iter().map(|&(x, y, spread)| Point { x, y, spread }).collect();
        Curve { label: label.to_owned(), style: Style::Method { index, weight: Weight::Marked }, points }
    }

    fn panel(curves: Vec<Curve>) -> Panel {
        Panel { title: "rotation".to_owned(), x_label: "steps", y_label: "R2".to_owned(), curves }
    }

    #[test]
    fn ranges_hold_every_error_bar_and_are_never_empty() {
        let found = panel(vec![curve("Ours", 0, &[(10.0, 0.5, Some(0.2)), (20.0, 0.6, None)])]);
        let (x, y) = (found.x_range(), found.y_range());
        assert!(x.start == 0.0 && x.end > 20.0 && y.start < 0.3 && y.end > 0.7, "{x:?} {y:?}");
        for level in [0.0, 1e-300, -1e300, 0.5] {
            let found = panel(vec![curve("Ours", 0, &[(5.0, level, None)])]);
            let (x, y) = (found.x_range(), found.y_range());
            assert!(x.start < x.end && y.start < level && level < y.end, "{level}: {x:?} {y:?}");
        }
    }

    #[test]
    fn a_label_is_explained_once_and_gives_the_picture_its_height() {
        let points = [(0.0, 1.0, None)];
        let panels = vec![
            panel(vec![curve("Ours", 0, &points), curve("VICReg", 1, &points)]),
            panel(vec![curve("Ours", 0, &points)]),
        ];
        let mut figure = Figure { title: "tiny".to_owned(), legend: true, panels };
        let labels: Vec<&str> = figure.legend_entries().iter().map(|entry| entry.label.as_str()).collect();
        assert_eq!(labels, ["Ours", "VICReg"]);
        assert_eq!(figure.size(), (2 * PANEL.0, TITLE + PANEL.1 + LEGEND_LINE + LEGEND_LINE / 2));
        figure.legend = false;
        assert_eq!(figure.size().1, TITLE + PANEL.1);
        figure.panels.clear();
        assert!(figure.png().unwrap().is_none());
    }
}
