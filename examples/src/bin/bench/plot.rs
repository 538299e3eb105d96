//! Comparisons as a picture: one panel for each, one bar for each broker, a line from the least to the greatest round.

use crate::compare::{Comparison, Contestant};
use crate::outcome::number;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: u32 = 900;
const BAR: u32 = 30;
const HEAD: u32 = 60;
/// Where the bars begin, and how long the longest is.
const LEFT: i32 = 170;
const LONGEST: f64 = 600.0;

/// Draws `inputs` (JSON of `bench compare`) into the SVG file `output`.
pub(crate) fn run(inputs: &[PathBuf], output: &Path, figure: Option<&str>) -> Result<(), String> {
    let comparisons = inputs.iter().map(|path| load(path)).collect::<Result<Vec<_>, String>>()?;
    let heights = comparisons.iter().map(|comparison| HEAD + BAR * comparison.brokers.len() as u32 + 20);
    let area = SVGBackend::new(output, (WIDTH, heights.sum())).into_drawing_area();
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    let mut top = 0;
    for comparison in &comparisons {
        let name = figure.map_or_else(|| main_figure(comparison), |name| Ok(name.to_owned()))?;
        panel(&area, top, comparison, &name)?;
        top += (HEAD + BAR * comparison.brokers.len() as u32 + 20) as i32;
    }
    area.present().map_err(|error| format!("{}: {error}", output.display()))
}

fn load(path: &Path) -> Result<Comparison, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no comparison: {error}", path.display()))
}

/// What the broker costs, where that was measured.
fn main_figure(comparison: &Comparison) -> Result<String, String> {
    let figures = || comparison.brokers.iter().flat_map(|broker| &broker.medians);
    let cost = figures().find(|figure| figure.name.starts_with("broker CPU us"));
    let figure = cost.or_else(|| figures().next());
    figure.map(|figure| figure.name.clone()).ok_or_else(|| format!("{}: no figures", comparison.load.line()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, top: i32, comparison: &Comparison, figure: &str) -> Result<(), String> {
    let draw = |drawn: Result<(), DrawingAreaErrorKind<_>>| {
        drawn.map_err(|error: DrawingAreaErrorKind<std::io::Error>| error.to_string())
    };
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    let right = text(14).pos(Pos::new(HPos::Right, VPos::Center));
    let left = text(14).pos(Pos::new(HPos::Left, VPos::Center));
    draw(area.draw(&Text::new(figure.to_owned(), (10, top + 10), text(18))))?;
    draw(area.draw(&Text::new(comparison.load.line(), (10, top + 34), text(13))))?;
    let bars: Vec<_> = comparison.brokers.iter().map(|broker| (broker, range(broker, figure))).collect();
    let greatest = bars.iter().filter_map(|(_, range)| range.map(|(_, _, most)| most)).fold(0.0, f64::max);
    let x = |value: f64| LEFT + if greatest > 0.0 { (value.max(0.0) / greatest * LONGEST) as i32 } else { 0 };
    for (place, (broker, range)) in bars.into_iter().enumerate() {
        let y = top + (HEAD + BAR * place as u32) as i32;
        let middle = y + BAR as i32 / 2 - 3;
        draw(area.draw(&Text::new(broker.name.clone(), (LEFT - 10, middle), right.clone())))?;
        let Some((least, median, most)) = range else {
            draw(area.draw(&Text::new("no result", (LEFT + 10, middle), left.clone())))?;
            continue;
        };
        let colour = if place == 0 { RGBColor(0x1B, 0x6E, 0xA8) } else { RGBColor(0x9A, 0xA5, 0xB1) };
        draw(area.draw(&Rectangle::new([(LEFT, y), (x(median), y + BAR as i32 - 6)], colour.filled())))?;
        draw(area.draw(&PathElement::new([(x(least), middle), (x(most), middle)], BLACK)))?;
        draw(area.draw(&Text::new(number(median), (x(most) + 8, middle), left.clone())))?;
    }
    Ok(())
}

/// Least, median and most of all rounds.
fn range(broker: &Contestant, name: &str) -> Option<(f64, f64, f64)> {
    let values = || broker.rounds.iter().flatten().filter(|figure| figure.name == name).map(|figure| figure.value);
    let median = broker.medians.iter().find(|figure| figure.name == name)?.value;
    Some((values().fold(f64::INFINITY, f64::min), median, values().fold(f64::NEG_INFINITY, f64::max)))
}
