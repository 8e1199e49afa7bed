//! Charts, drawn by plotters as SVG. It knows colours and no style sheet, so each part is drawn in a
//! colour that stands for its role, and the style sheet puts the theme's in its place: one drawing for
//! light and dark. Beside every chart stand its numbers as a table.

use maud::{Markup, html};
use plotters::{
    coord::Shift,
    element::Rectangle,
    prelude::{DrawingArea, IntoDrawingArea as _, PathElement, SVGBackend, Text},
    style::{
        Color as _, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{frame::drawn, parts::count};

/// What a part of a chart is; the style sheet has a rule for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Main,
    Good,
    Bad,
    Busy,
    Wait,
}

impl Role {
    /// The colour that stands for it.
    fn colour(self) -> RGBColor {
        RGBColor(0, 0, self as u8 + 1)
    }

    fn class(self) -> &'static str {
        match self {
            Role::Main => "main",
            Role::Good => "good",
            Role::Bad => "bad",
            Role::Busy => "busy",
            Role::Wait => "wait",
        }
    }
}

const LINE: RGBColor = RGBColor(0, 1, 0);
const INK: RGBColor = RGBColor(0, 2, 0);

/// Values that stand above each other in one column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub name: String,
    pub values: Vec<f64>,
}

/// One kind of value, in the columns' order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series<'s> {
    pub name: &'s str,
    pub role: Role,
}

/// A chart of columns, and what it says.
pub(crate) struct Chart<'c> {
    pub id: &'c str,
    pub title: &'c str,
    /// What it comes to, in a sentence.
    pub summary: String,
    pub series: &'c [Series<'c>],
    pub columns: Vec<Column>,
    /// How a value is written, and the least that the scale reaches to.
    pub unit: fn(f64) -> String,
    pub least: f64,
    /// What the first column of its table is called.
    pub head: &'c str,
}

const SIZE: (u32, u32) = (560, 190);
const LEFT: i32 = 58;
const RIGHT: i32 = 8;
const TOP: i32 = 10;
const BOTTOM: i32 = 24;

impl Chart<'_> {
    pub fn markup(&self) -> Markup {
        let svg = self.drawn();
        html! {
            section.panel.chart aria-labelledby={ (self.id) "-title" } {
                h2 #{ (self.id) "-title" } { (self.title) }
                p.dim { (self.summary) }
                figure { (svg) }
                @if self.series.len() > 1 {
                    ul.legend { @for series in self.series { li.(series.role.class()) { (series.name) } } }
                }
                details {
                    summary { "As a table" }
                    (crate::parts::table(&self.heads(), html! {
                        @for column in &self.columns {
                            tr { th scope="row" { (column.name) } @for value in &column.values { td.number { ((self.unit)(*value)) } } }
                        }
                    }))
                }
            }
        }
    }

    fn heads(&self) -> Vec<&str> {
        let names = self.series.iter().map(|series| series.name);
        std::iter::once(self.head).chain(names).collect()
    }

    fn drawn(&self) -> Markup {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // Drawing to memory does not fail.
        let done = self.draw(&area).is_ok();
        drop(area);
        // The size is the page's to say, and the text beside it says what is seen.
        let (_, inner) = svg.split_once('>').unwrap_or_default();
        let (width, height) = SIZE;
        let head = format!(
            "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{}-title\">",
            self.id
        );
        drawn(if done { head + inner } else { String::new() })
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let sums = self.columns.iter().map(|column| column.values.iter().sum());
        let top = ceiling(sums.fold(self.least, f64::max));
        let (width, height) = (px(SIZE.0), px(SIZE.1));
        let floor = height - BOTTOM;
        let level = |value: f64| floor - share(value / top, floor - TOP);
        for part in 0..=4 {
            let value = top * f64::from(part) / 4.0;
            let y = level(value);
            area.draw(&PathElement::new([(LEFT, y), (width - RIGHT, y)], LINE))?;
            if part % 2 == 0 {
                let at = Pos::new(HPos::Right, VPos::Center);
                text(area, (self.unit)(value), (LEFT - 6, y), at)?;
            }
        }
        let columns = i32::try_from(self.columns.len()).unwrap_or(1).max(1);
        let room = width - LEFT - RIGHT;
        for (place, column) in (0..).zip(&self.columns) {
            let (from, to) = (
                LEFT + room * place / columns,
                LEFT + room * (place + 1) / columns,
            );
            // Few columns do not become blocks.
            let gap = ((to - from) / 5).clamp(1, 8).max((to - from - 56) / 2);
            let mut below = 0.0;
            for (value, series) in column.values.iter().zip(self.series) {
                if *value <= 0.0 {
                    continue;
                }
                // What is there is seen, however little.
                let (low, high) = (level(below), level(below + value).min(level(below) - 2));
                let corners = [(from + gap, high), (to - gap, low)];
                area.draw(&Rectangle::new(corners, series.role.colour().filled()))?;
                below += value;
            }
            // As many names as there is room for, and never two over each other.
            let every = (columns + 5) / 6;
            if place % every == 0 {
                let at = Pos::new(HPos::Center, VPos::Top);
                let middle = ((from + to) / 2).clamp(LEFT + 14, width - RIGHT - 18);
                text(area, column.name.clone(), (middle, floor + 7), at)?;
            }
        }
        area.present()?;
        Ok(())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn text(area: &Area<'_>, text: String, at: (i32, i32), anchor: Pos) -> Drawn
where
{
    let style = TextStyle::from(("sans-serif", 14)).color(&INK).pos(anchor);
    area.draw(&Text::new(text, at, style))
        .map_err(|error| error.to_string().into())
}

fn px(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a part of a few hundred pixels"
)]
fn share(part: f64, of: i32) -> i32 {
    (part * f64::from(of)).round() as i32
}

/// A round number that is not less, of which a half is round too.
fn ceiling(most: f64) -> f64 {
    let unit = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0];
    let fits = steps.iter().find(|step| **step * unit >= most);
    fits.unwrap_or(&10.0) * unit
}

/// A value that is a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole and not negative"
)]
pub(crate) fn whole(value: f64) -> String {
    match value {
        value if value >= 10_000_000.0 => format!("{:.0}M", value / 1e6),
        value if value >= 10_000.0 => format!("{:.0}k", value / 1e3),
        value if value.fract() > 0.0 => format!("{value:.1}"),
        value => count(value as u64),
    }
}

/// A value that is a time in seconds.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        value if value <= 0.0 => "0".to_owned(),
        value if value < 1.0 => format!("{:.0} ms", value * 1e3),
        value if value < 120.0 => format!("{value:.1} s"),
        value => format!("{:.0} min", value / 60.0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chart has few pixels")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_a_value_a_title_and_a_table() {
        let series = [
            Series {
                name: "done",
                role: Role::Good,
            },
            Series {
                name: "failed",
                role: Role::Bad,
            },
        ];
        let column = |name: &str, values: [f64; 2]| Column {
            name: name.to_owned(),
            values: values.to_vec(),
        };
        let chart = Chart {
            id: "days",
            title: "Jobs <a day>",
            summary: "4 jobs".to_owned(),
            series: &series,
            columns: vec![column("<Mon>", [3.0, 1.0]), column("Tue", [0.0, 0.0])],
            unit: whole,
            least: 4.0,
            head: "Day",
        };
        let text = chart.markup().into_string();
        assert_eq!(text.matches("<rect").count(), 2, "{text}");
        for part in [
            "fill=\"#000002\"",
            "fill=\"#000003\"",
            "aria-labelledby=\"days-title\"",
            "Jobs &lt;a day&gt;",
            "&lt;Mon&gt;",
            "<th scope=\"row\">Tue</th>",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(
            !text.contains("<Mon>") && !text.contains("style="),
            "{text}"
        );
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (most, end) in [(3.0, 4.0), (7.0, 8.0), (11.0, 20.0), (950.0, 1000.0)] {
            assert!((ceiling(most) - end).abs() < 1e-9, "{most}");
        }
        assert!((ceiling(0.035) - 0.04).abs() < 1e-9);
        assert_eq!(whole(2.0), "2");
        assert_eq!(seconds(0.25), "250 ms");
    }
}
