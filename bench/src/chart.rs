//! The chart: each contender's rate as a share of the limit's, a group of bars a case, and the growth curve below it
//! once that was run. Logarithmic, since a peer may lie far on either side.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::args::Store;
use crate::peers::Peer;
use crate::record::{Case, Figure, Record, Role};
use crate::report::grouped;

const WIDTH: u32 = 960;
const BAR: u32 = 18;
const GAP: u32 = 14;
const LEFT: i32 = 330;
const RIGHT: i32 = 150;
const TOP: i32 = 56;
const GROWTH_HEIGHT: u32 = 300;
const LOW: f64 = 0.01;
const TIDEWIRE: RGBColor = RGBColor(11, 114, 133);
/// In the order of `Peer::ALL`.
const PEERS: [RGBColor; Peer::ALL.len()] = [
    RGBColor(173, 130, 60),
    RGBColor(134, 142, 150),
    RGBColor(116, 90, 150),
    RGBColor(84, 142, 190),
    RGBColor(95, 150, 92),
    RGBColor(190, 98, 98),
    RGBColor(176, 132, 176),
    RGBColor(128, 128, 72),
    RGBColor(72, 128, 128),
    RGBColor(150, 64, 116),
];
const INK: RGBColor = RGBColor(52, 58, 64);
const FAINT: RGBColor = RGBColor(206, 212, 218);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

struct Bar {
    label: String,
    share: f64,
    rate: f64,
    colour: RGBColor,
}

pub fn write(docs: &Path, store: Store, record: &Record) -> Result<()> {
    let path = docs.join(store.file_name("svg"));
    let groups: Vec<(String, Vec<Bar>)> = record
        .cases()
        .filter_map(|case| Some((case.title.clone(), bars(case)?)))
        .collect();
    let curves = curves(record);
    let bars: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let shares = TOP as u32 + bars as u32 * BAR + groups.len() as u32 * (GAP + BAR) + 20;
    let height = shares + if curves.is_empty() { 0 } else { GROWTH_HEIGHT };
    let root = SVGBackend::new(&path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).map_err(drawn)?;
    let (upper, lower) = root.split_vertically(shares);
    draw_shares(&upper, &groups)?;
    if !curves.is_empty() {
        draw_growth(&lower, &curves)?;
    }
    root.present().map_err(drawn)?;
    Ok(())
}

/// Tidewire and the peers against the case's first limit; cases without one are not in the chart.
fn bars(case: &Case) -> Option<Vec<Bar>> {
    let limit = case
        .figure(Role::Limit, Figure::Rate)
        .filter(|rate| *rate > 0.0)?;
    let bars: Vec<Bar> = case
        .rows
        .iter()
        .filter(|row| row.role != Role::Limit)
        .filter_map(|row| {
            let rate = *row.figures.get(&Figure::Rate)?;
            let colour = if row.role == Role::Tidewire {
                TIDEWIRE
            } else {
                peer_colour(&row.who)
            };
            Some(Bar {
                label: row.who.clone(),
                share: rate / limit,
                rate,
                colour,
            })
        })
        .collect();
    (!bars.is_empty()).then_some(bars)
}

/// The same peer has the same colour in every group.
fn peer_colour(who: &str) -> RGBColor {
    let index = Peer::ALL
        .iter()
        .position(|peer| who.starts_with(&peer.name()));
    PEERS[index.unwrap_or_default()]
}

fn draw_shares(area: &Area<'_>, groups: &[(String, Vec<Bar>)]) -> Result<()> {
    let width = WIDTH as i32 - LEFT - RIGHT;
    let most = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|bar| bar.share)
        .fold(2.0_f64, f64::max);
    let scale = |share: f64| {
        let at = (share.max(LOW) / LOW).ln() / (most / LOW).ln();
        LEFT + (at * f64::from(width)) as i32
    };
    let bottom = area.dim_in_pixel().1 as i32 - 12;
    text(
        area,
        "Rates as a share of the limit's (logarithmic)",
        (16, 14),
        17,
        INK,
    )?;
    for (share, name) in [(0.01, "1 %"), (0.1, "10 %"), (1.0, "limit"), (10.0, "10 ×")] {
        if share > most {
            continue;
        }
        let x = scale(share);
        let colour = if name == "limit" { INK } else { FAINT };
        area.draw(&PathElement::new(vec![(x, TOP - 4), (x, bottom)], colour))
            .map_err(drawn)?;
        text(area, name, (x - 12, TOP - 18), 11, INK)?;
    }
    let mut y = TOP + 4;
    for (title, bars) in groups {
        text(area, title, (16, y), 13, INK)?;
        y += BAR as i32;
        for bar in bars {
            text(area, &bar.label, (34, y + 2), 12, INK)?;
            let frame = [
                (LEFT, y + 2),
                (scale(bar.share).max(LEFT + 1), y + BAR as i32 - 3),
            ];
            area.draw(&Rectangle::new(frame, bar.colour.filled()))
                .map_err(drawn)?;
            let figure = format!("{:.2}  ({}/s)", bar.share, grouped(bar.rate));
            text(
                area,
                &figure,
                (frame[1].0.max(scale(1.0)) + 8, y + 2),
                12,
                INK,
            )?;
            y += BAR as i32;
        }
        y += GAP as i32;
    }
    Ok(())
}

/// A name and points of (rows, rate).
type Curve = (&'static str, Vec<(f64, f64)>);

fn curves(record: &Record) -> Vec<Curve> {
    let named = [
        ("plain", "appends"),
        ("keyed", "appends with dedupe keys"),
        ("jobs", "jobs enqueued and done"),
    ];
    let points = |kind: &str| -> Vec<(f64, f64)> {
        let prefix = format!("growth/{kind}/");
        let point = |case: &Case| {
            let rows: f64 = case.id.strip_prefix(&prefix)?.parse().ok()?;
            Some((rows, case.figure(Role::Tidewire, Figure::Rate)?))
        };
        record.cases().filter_map(point).collect()
    };
    let curves = named.map(|(kind, name)| (name, points(kind)));
    curves
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .collect()
}

fn draw_growth(area: &Area<'_>, curves: &[Curve]) -> Result<()> {
    let all = || curves.iter().flat_map(|(_, points)| points);
    let least = all().map(|point| point.0).fold(f64::MAX, f64::min);
    let rows = all().map(|point| point.0).fold(1.0, f64::max);
    let rate = all().map(|point| point.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .caption(
            "Tidewire's rate as its tables grow",
            ("sans-serif", 17).into_font().color(&INK),
        )
        .x_label_area_size(36)
        .y_label_area_size(70)
        .build_cartesian_2d((least * 0.8..rows * 1.3).log_scale(), 0.0..rate * 1.15)
        .map_err(drawn)?;
    chart
        .configure_mesh()
        .x_desc("rows")
        .y_desc("a second")
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|rows| grouped(*rows))
        .y_label_formatter(&|rate| grouped(*rate))
        .draw()
        .map_err(drawn)?;
    for ((name, points), colour) in curves.iter().zip([TIDEWIRE, PEERS[0], PEERS[2]]) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(4);
        let legend = move |(x, y): (i32, i32)| {
            PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
        };
        chart
            .draw_series(line)
            .map_err(drawn)?
            .label(*name)
            .legend(legend);
    }
    chart
        .configure_series_labels()
        .border_style(FAINT)
        .background_style(WHITE)
        .draw()
        .map_err(drawn)?;
    Ok(())
}

fn text(area: &Area<'_>, words: &str, at: (i32, i32), size: i32, colour: RGBColor) -> Result<()> {
    let style = ("sans-serif", size).into_font().color(&colour);
    area.draw(&Text::new(words.to_owned(), at, style))
        .map_err(drawn)
}

/// The drawing library's errors borrow from what is drawn.
fn drawn<E: std::fmt::Display>(error: E) -> anyhow::Error {
    anyhow!("draw the chart: {error}")
}
