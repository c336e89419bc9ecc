//! The medians as bars, in one SVG: for each size, and apart for many messages under way and for one
//! at a time, how a contender compares with the baseline and what a message costs the processors.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::peers::Failure;
use crate::table::{Bytes, Kind, Ratio, Results, Summary, Time, median};

/// In pixels.
const WIDTH: u32 = 1100;
const BAR: u32 = 22;
const CAPTION: u32 = 34;
const NAMES: u32 = 200;
/// What is left free beside the longest bar, for its label.
const LABELS: u32 = 110;
/// A bar that is longer than this many times the middle one is cut, so that the others can be seen.
const MOST: f64 = 4.0;

const OWN: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const BASELINE: RGBColor = RGBColor(0xd9, 0x8c, 0x1f);
const OTHER: RGBColor = RGBColor(0x9a, 0xa0, 0xa6);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Two panels beside each other, with the same contenders.
struct Row {
    title: String,
    baseline: &'static str,
    summaries: Vec<Summary>,
}

impl Row {
    fn height(&self) -> u32 {
        CAPTION + BAR * u32::try_from(self.summaries.len()).unwrap_or(0)
    }
}

/// What a bar shows.
struct Bar {
    name: &'static str,
    figure: Option<f64>,
    label: String,
    color: RGBColor,
}

pub(crate) fn svg(results: &[Results]) -> Result<String, Failure> {
    picture(&rows(results))
}

fn picture(rows: &[Row]) -> Result<String, Failure> {
    let height = rows.iter().map(Row::height).sum::<u32>().max(BAR);
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut top = 0;
    for row in rows {
        let panels = root
            .clone()
            .shrink((0, top), (WIDTH, row.height()))
            .split_evenly((1, 2));
        let rate = match row.summaries.first().map(|summary| summary.kind) {
            Some(Kind::RoundTrips) => "time",
            _ => "rate",
        };
        let caption = format!("{}: {rate} (× {})", row.title, row.baseline);
        draw(&panels[0], &caption, &bars(row, by_ratio))?;
        let caption = format!("{}: processor time a message", row.title);
        draw(&panels[1], &caption, &bars(row, by_cost))?;
        top += row.height();
    }
    root.present()?;
    drop(root);
    Ok(text)
}

/// All sizes with many messages under way, then all with one at a time.
fn rows(results: &[Results]) -> Vec<Row> {
    let of_kind = |kind: Kind| {
        results.iter().map(move |result| Row {
            title: format!("{}, {}", Bytes(result.size), kind.title()),
            baseline: kind.baseline(result.size),
            summaries: result.summaries(kind),
        })
    };
    let rows = of_kind(Kind::Throughput).chain(of_kind(Kind::RoundTrips));
    rows.filter(|row| !row.summaries.is_empty()).collect()
}

fn by_ratio(summary: &Summary) -> (Option<f64>, String) {
    (summary.ratio, Ratio(summary.ratio).to_string())
}

fn by_cost(summary: &Summary) -> (Option<f64>, String) {
    (summary.cost, Time(summary.cost).to_string())
}

fn bars(row: &Row, figure: impl Fn(&Summary) -> (Option<f64>, String)) -> Vec<Bar> {
    let bar = |summary: &Summary| {
        let (figure, label) = figure(summary);
        let color = if summary.name.starts_with("countersign") {
            OWN
        } else if summary.name == row.baseline {
            BASELINE
        } else {
            OTHER
        };
        Bar {
            name: summary.name,
            figure,
            label,
            color,
        }
    };
    row.summaries.iter().map(bar).collect()
}

/// One panel: a caption, and below it the bars from top to bottom.
fn draw(area: &Area<'_>, caption: &str, bars: &[Bar]) -> Result<(), Failure> {
    let size = |size| ("sans-serif", size).into_font();
    area.draw(&Text::new(caption.to_owned(), (10, 14), size(19)))?;
    let (width, _) = area.dim_in_pixel();
    let longest = longest(bars);
    let pixels = f64::from(width.saturating_sub(NAMES + LABELS)) / longest;
    let left = i32::try_from(NAMES)?;
    let right_aligned = Pos::new(HPos::Right, VPos::Center);
    let left_aligned = Pos::new(HPos::Left, VPos::Center);
    for (top, bar) in (CAPTION..).step_by(BAR as usize).zip(bars) {
        let (top, bottom) = (i32::try_from(top)?, i32::try_from(top + BAR)?);
        let middle = i32::midpoint(top, bottom);
        let name = size(15).color(&BLACK).pos(right_aligned);
        area.draw(&Text::new(bar.name, (left - 6, middle), name))?;
        // A bar of no length is drawn too: it says that there is one.
        let figure = bar.figure.unwrap_or(0.0);
        let end = left + (figure.min(longest) * pixels) as i32;
        let shape = [(left, top + 3), (end, bottom - 3)];
        area.draw(&Rectangle::new(shape, bar.color.filled()))?;
        let label = size(15).color(&BLACK).pos(left_aligned);
        let cut = if figure > longest { " (cut)" } else { "" };
        let text = format!("{}{cut}", bar.label);
        area.draw(&Text::new(text, (end + 6, middle), label))?;
    }
    Ok(())
}

/// How much the longest bar shows.
fn longest(bars: &[Bar]) -> f64 {
    let figures: Vec<f64> = bars.iter().filter_map(|bar| bar.figure).collect();
    let highest = figures.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    median(&figures).map_or(highest, |middle| highest.min(middle * MOST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::{round_trips, throughput};

    #[test]
    fn each_contender_has_one_bar_in_both_panels_of_each_size() {
        let series = || {
            vec![
                throughput("ldc", [4, 4, 4]),
                throughput("countersign-tokio", [2, 2, 2]),
                throughput("other", [1, 1, 1]),
                round_trips("ldc-pingpong"),
            ]
        };
        let results = [64, 1024].map(|size| Results {
            size,
            series: series(),
        });
        let svg = svg(&results).expect("it can be drawn");
        let bars = |color: &str| svg.matches(&format!("fill=\"{color}\" stroke")).count();
        // Two sizes with two panels; the baselines are those of both kinds.
        assert_eq!(bars("#1F6FB4"), 4, "{svg}");
        assert_eq!(bars("#D98C1F"), 8);
        assert_eq!(bars("#9AA0A6"), 4);
        assert_eq!(svg.matches("\nother\n").count(), 4);
        assert!(svg.contains("1 KiB, many under way: rate (× ldc)"));
    }

    #[test]
    fn a_contender_without_a_baseline_has_bars_all_the_same() {
        let series = vec![throughput("other", [1, 1, 1])];
        let svg = svg(&[Results { size: 64, series }]).expect("it can be drawn");
        assert_eq!(svg.matches("fill=\"#9AA0A6\" stroke").count(), 2, "{svg}");
    }

    #[test]
    fn a_bar_that_hides_the_others_is_cut() {
        let bar = |figure| Bar {
            name: "",
            figure: Some(figure),
            label: String::new(),
            color: OTHER,
        };
        assert_eq!(longest(&[1.0, 2.0, 100.0].map(bar)), 8.0);
        assert_eq!(longest(&[1.0, 2.0, 3.0].map(bar)), 3.0);
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        assert!(svg(&[]).expect("it can be drawn").contains("<svg"));
    }
}
