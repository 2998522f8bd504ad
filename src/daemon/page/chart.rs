//! Bars as SVG that stands in the page: named and described for who cannot see it, coloured by the
//! style sheet for light and dark.

use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::Ranged as _;
use plotters::coord::types::RangedCoordi64;
use plotters::prelude::*;

/// Narrow enough for a phone: on a wide screen two stand side by side.
const SIZE: (u32, u32) = (420, 210);
/// Of the labels; their size is the style sheet's.
const FONT: (&str, i32) = ("sans-serif", 15);
/// Plotters multiplies heights; where they end is far beyond what anybody pays or stores.
const FARTHEST: i64 = i64::MAX / 1000;
/// Room for a letter of an axis' label.
const LETTER: usize = 8;
const LABELS_ACROSS: usize = 7;
const LABELS_UP: usize = 5;

/// Colours that are only names: `style.css` finds each by its value, and says how it looks.
const BAR: RGBColor = RGBColor(1, 0, 0);
const OPEN_BAR: RGBColor = RGBColor(2, 0, 0);
const TEXT: RGBColor = RGBColor(3, 0, 0);
const LINE: RGBColor = RGBColor(4, 0, 0);

/// One bar.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) height: i64,
    /// What of the height may still change: hatched, at the far end.
    pub(super) open: i64,
}

impl Bar {
    fn drawn(&self) -> i64 {
        self.height.clamp(-FARTHEST, FARTHEST)
    }

    /// Where what may still change begins.
    fn closed(&self) -> i64 {
        let (low, high) = (self.drawn().min(0), self.drawn().max(0));
        self.height.saturating_sub(self.open).clamp(low, high)
    }
}

/// A chart; its figures must stand in the page as text too.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// Unique on the page.
    pub(super) id: &'static str,
    pub(super) title: &'a str,
    /// What is to be seen, in a sentence.
    pub(super) description: &'a str,
    pub(super) bars: &'a [Bar],
    /// How a height is written at the axis.
    pub(super) label: fn(i64) -> String,
}

impl Chart<'_> {
    pub(super) fn render(&self) -> Markup {
        let (width, height) = SIZE;
        let drawn = self.draw().unwrap_or_else(|error| {
            tracing::error!("draw the chart {}: {error}", self.id);
            String::new()
        });
        let (title, description) = (format!("{}-title", self.id), format!("{}-desc", self.id));
        html! {
            svg.chart role="img" viewBox={ "0 0 " (width) " " (height) }
                aria-labelledby=(title) aria-describedby=(description) {
                title id=(title) { (self.title) }
                desc id=(description) { (self.description) }
                (PreEscaped(inside(&drawn)))
            }
        }
    }

    fn draw(&self) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
        let heights = || self.bars.iter().map(Bar::drawn);
        let highest = heights().max().unwrap_or(0).max(0);
        let lowest = heights().min().unwrap_or(0).min(0);
        // Some air above the highest.
        let top = highest.saturating_add(highest / 20).max(1);
        let heights = RangedCoordi64::from(lowest..top);
        let labels = heights.key_points(LABELS_UP).into_iter().map(self.label);
        let letters = labels.map(|label| label.chars().count()).max();
        let room = letters.unwrap_or(0) * LETTER + 12;
        let count = i32::try_from(self.bars.len()).unwrap_or(i32::MAX);

        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(4)
            .margin_top(8)
            .x_label_area_size(22)
            .y_label_area_size(u32::try_from(room).unwrap_or(u32::MAX))
            .build_cartesian_2d((0..(count - 1).max(0)).into_segmented(), heights)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(LABELS_ACROSS)
            .y_labels(LABELS_UP)
            .x_label_formatter(&|place| self.label_of(place))
            .y_label_formatter(&|height| (self.label)(*height))
            .label_style((FONT.0, FONT.1, &TEXT))
            .axis_style(LINE)
            .light_line_style(TRANSPARENT)
            .bold_line_style(LINE)
            .draw()?;
        chart.draw_series((0..count).zip(self.bars).flat_map(|(place, bar)| {
            let part = |colour: RGBColor, from, to| {
                let corners = [
                    (SegmentValue::Exact(place), from),
                    (SegmentValue::Exact(place + 1), to),
                ];
                let mut rectangle = Rectangle::new(corners, colour.filled());
                rectangle.set_margin(0, 0, 1, 1);
                rectangle
            };
            let closed = part(BAR, 0, bar.closed());
            let open = (bar.open != 0).then(|| part(OPEN_BAR, bar.closed(), bar.drawn()));
            [Some(closed), open].into_iter().flatten()
        }))?;
        area.present()?;
        drop(chart);
        drop(area);
        Ok(svg)
    }

    fn label_of(&self, place: &SegmentValue<i32>) -> String {
        let (SegmentValue::Exact(place) | SegmentValue::CenterOf(place)) = place else {
            return String::new();
        };
        let bar = usize::try_from(*place)
            .ok()
            .and_then(|at| self.bars.get(at));
        bar.map_or_else(String::new, |bar| bar.label.clone())
    }
}

/// The drawing without its outermost element, which the page writes itself.
fn inside(svg: &str) -> &str {
    let (_, rest) = svg.split_once('>').unwrap_or_default();
    rest.rsplit_once("</svg>").map_or("", |(inside, _)| inside)
}

/// What `style.css` fills an open bar with; once on a page that has one.
pub(super) fn hatching() -> Markup {
    html! {
        svg.defs aria-hidden="true" width="0" height="0" {
            defs {
                pattern #hatching patternUnits="userSpaceOnUse" width="5" height="5"
                    patternTransform="rotate(45)" {
                    rect.ground width="5" height="5" {}
                    rect.stripe width="2.5" height="5" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::STYLE;
    use super::*;

    fn chart(heights: &[i64]) -> String {
        let bars: Vec<_> = heights
            .iter()
            .map(|height| Bar {
                label: "11-30".to_owned(),
                height: *height,
                open: 0,
            })
            .collect();
        let chart = Chart {
            id: "it",
            title: "a title",
            description: "a description",
            bars: &bars,
            label: |height| height.to_string(),
        };
        chart.render().into_string()
    }

    #[test]
    fn every_colour_is_one_that_the_style_sheet_knows() {
        let drawn = chart(&[1, 2, 3]);
        for name in ["fill=\"#", "stroke=\"#"] {
            for (_, rest) in drawn.match_indices(name).map(|(at, _)| drawn.split_at(at)) {
                let attribute = &rest[..name.len() + 7];
                assert!(STYLE.contains(&format!("[{attribute}]")), "{attribute}");
            }
        }
        for colour in [BAR, OPEN_BAR] {
            let RGBColor(red, ..) = colour;
            assert!(STYLE.contains(&format!("[fill=\"#0{red}0000\"]")));
        }
        assert!(!drawn.contains("style="), "the policy forbids it: {drawn}");
    }

    #[test]
    fn what_may_still_change_is_the_far_end_of_a_bar() {
        let closed = |height, open| {
            let label = String::new();
            Bar {
                label,
                height,
                open,
            }
            .closed()
        };
        assert_eq!(closed(10, 0), 10);
        assert_eq!(closed(10, 3), 7);
        assert_eq!(closed(10, 10), 0);
        // Credits among them: no part is higher than the whole, nor below nothing.
        assert_eq!(closed(10, -3), 10);
        assert_eq!(closed(10, 13), 0);
        assert_eq!(closed(-10, -4), -6);
        assert_eq!(closed(i64::MIN, i64::MAX), -FARTHEST);
    }

    #[test]
    fn any_heights_can_be_drawn() {
        for heights in [
            &[][..],
            &[0],
            &[0, 0, 0],
            &[i64::MAX, 1],
            &[i64::MIN, i64::MAX],
            &[-5, 3],
        ] {
            let drawn = chart(heights);
            let bars = drawn.matches("fill=\"#010000\"").count();
            assert_eq!(bars, heights.len(), "{heights:?}: {drawn}");
        }
    }
}
