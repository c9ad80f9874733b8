//! docs/BENCHMARKS.md and its picture.

use crate::Result;
use crate::options::Options;
use crate::plan::{DIRECT, LANES, PGBENCH, POOLED, POOLER};
use crate::report::{HEADS, disturbance, facts, line, short, value};
use crate::rounds::{Measured, Results};
use crate::stand::Versions;
use crate::targets::{Target, targets};
use std::fmt::Write;

const INTRODUCTION: &str = "# Benchmarks

How fast Rowgate is beside direct connections and beside PgBouncer, measured side by side: `bench/run` makes this page and
its picture. It starts PostgreSQL, PgBouncer, MariaDB and the release binary with their defaults on one machine, whose processors
they share with the load generator. All have the same tables (pgbench's at scale 20), the same random keys and the same
load generator, which checks each answer. Telemetry is as shipped: metrics on, no collector.

PostgreSQL runs without fsync, and all connections are TCP on loopback. Clients of PostgreSQL's protocol have one
connection for each call in flight; those of gRPC share as many as the title says. Both pools have 20 connections. A
PgBouncer older than 1.21 keeps no prepared statements for transactions: its clients send the text with each query.

Rates are medians over the rounds, with the least and the most. Processor times are µs a call of each process, from
/proc; they are steadier than rates.
";

/// The mark behind which the page is written by hand, and kept.
const BY_HAND: &str = "\n<!-- bench/run --write-docs keeps what follows. -->\n";

/// The start of the picture's bars, the length of the longest, and the height of a line.
const LEFT: f64 = 150.0;
const LONGEST: f64 = 420.0;
const LINE: f64 = 24.0;

pub fn write(options: &Options, versions: &Versions, results: &Results) -> Result<()> {
    let docs = options.repository.join("docs");
    let path = docs.join("BENCHMARKS.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let by_hand = before.find(BY_HAND).and_then(|at| before.get(at..)).unwrap_or(BY_HAND);
    std::fs::write(&path, page(options, versions, results)? + by_hand)?;
    std::fs::write(docs.join("benchmarks.svg"), picture(results)?)?;
    Ok(())
}

fn page(options: &Options, versions: &Versions, results: &Results) -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    writeln!(
        page,
        "\n![Point selects per second, direct, through PgBouncer and through Rowgate](benchmarks.svg)"
    )?;
    writeln!(page, "\n| | |\n|---|---|")?;
    for (name, fact) in facts(options, versions) {
        writeln!(page, "| {name} | {fact} |")?;
    }
    writeln!(page, "\n{}", disturbance(results))?;
    writeln!(page, "\n## Targets\n\n| | measured | must | goal | |\n|---|---|---|---|---|")?;
    for target in targets(results) {
        let Target { must, goal, .. } = target;
        writeln!(
            page,
            "| {} | {} | {must} | {goal} | {} |",
            target.title,
            value(&target),
            target.verdict()
        )?;
    }
    for measured in &results.rows {
        table(&mut page, measured)?;
    }
    Ok(page)
}

fn table(page: &mut String, measured: &Measured) -> Result<()> {
    let title = measured.row.title;
    let mut first = title.chars();
    let upper: String =
        first.next().into_iter().flat_map(char::to_uppercase).chain(first).collect();
    writeln!(page, "\n## {upper}\n\nIn {}; processor times in µs.\n", measured.row.unit)?;
    writeln!(page, "| {} |\n|{}", HEADS.join(" | "), "---|".repeat(HEADS.len()))?;
    for index in 0..measured.outcomes.len() {
        let mut cells = line(measured, index);
        cells.resize(HEADS.len(), String::new());
        writeln!(page, "| {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// Bars of the point selects at 32 and 128 in flight, with a whisker from the least round to the greatest.
fn picture(results: &Results) -> Result<String> {
    let groups = [
        ("32 in flight over 4 connections", "select-32"),
        ("128 in flight over 16 connections", "select-128"),
    ];
    let labels = [PGBENCH, DIRECT, POOLER, POOLED, LANES];
    let all = groups
        .iter()
        .flat_map(|(_, row)| labels.map(|label| results.spread(row, label, "per_second")));
    let most = all.flatten().map(|spread| spread.greatest).fold(1.0, f64::max);
    let mut bars = String::new();
    let mut y = 40.0;
    for (title, row) in groups {
        writeln!(bars, "<text x=\"10\" y=\"{:.0}\" class=\"head\">{title}</text>", y + 16.0)?;
        y += LINE;
        for label in labels {
            bar(
                &mut bars,
                y,
                label,
                results.spread(row, label, "per_second").map(|one| one.scaled(LONGEST / most)),
            )?;
            y += LINE;
        }
        y += LINE / 2.0;
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 660 {y:.0}\" role=\"img\" aria-label=\"Point selects per second\">\n\
         <style>text {{ font: 13px sans-serif; fill: #24292f }} .head, .title {{ font-weight: bold }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"24\" class=\"title\">Point selects per second: median, and least to most of the rounds</text>\n\
         {bars}</svg>\n"
    ))
}

/// A bar: the lengths of its median, least and greatest, and the rate to write.
struct Bar {
    median: f64,
    least: f64,
    greatest: f64,
    rate: f64,
}

impl crate::rounds::Spread {
    fn scaled(self, scale: f64) -> Bar {
        let Self { median, least, greatest } = self;
        Bar {
            median: median * scale,
            least: least * scale,
            greatest: greatest * scale,
            rate: median,
        }
    }
}

fn bar(bars: &mut String, y: f64, label: &str, bar: Option<Bar>) -> Result<()> {
    let base = y + 16.0;
    writeln!(bars, "<text x=\"20\" y=\"{base:.0}\">{label}</text>")?;
    let Some(Bar { median, least, greatest, rate }) = bar else {
        writeln!(bars, "<text x=\"{LEFT:.0}\" y=\"{base:.0}\">not measured</text>")?;
        return Ok(());
    };
    let colour = if label.starts_with("Rowgate") { "#1f6feb" } else { "#8c959f" };
    let middle = y + 11.0;
    writeln!(
        bars,
        "<rect x=\"{LEFT:.0}\" y=\"{:.0}\" width=\"{median:.1}\" height=\"16\" fill=\"{colour}\"/>",
        y + 3.0
    )?;
    let from = LEFT + least;
    let to = LEFT + greatest;
    writeln!(
        bars,
        "<path d=\"M{from:.1} {middle:.0}H{to:.1}\" stroke=\"#24292f\" stroke-width=\"1.5\"/>"
    )?;
    writeln!(
        bars,
        "<text x=\"{:.1}\" y=\"{base:.0}\">{}</text>",
        to.max(LEFT + median) + 8.0,
        short(rate)
    )?;
    Ok(())
}
