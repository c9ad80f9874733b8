//! The results as a table, and as JSON.

use crate::machine::{cores, processor};
use crate::options::Options;
use crate::plan::{PGBENCH, POOLER};
use crate::rounds::{FOREIGN, Measured, Outcome, Results, Spread};
use crate::stand::Versions;
use crate::targets::{Target, targets};
use serde_json::{Map, Value, json};

const COSTS: [&str; 5] = ["gateway_us", "pooler_us", "database_us", "loader_us", "all_us"];

/// The columns of a table of variants.
pub const HEADS: [&str; 11] = [
    "through",
    "rate",
    "least to most",
    "p50 µs",
    "p99 µs",
    "gateway",
    "pooler",
    "database",
    "loader",
    "all",
    "× PgBouncer",
];

/// The machine and the versions: no name of a host, no path.
pub fn facts(options: &Options, versions: &Versions) -> Vec<(&'static str, String)> {
    let pooler = versions.pooler.clone().unwrap_or_else(|| "not found".into());
    let mariadb = versions.mariadb.clone().unwrap_or_else(|| "not found".into());
    vec![
        ("command", options.command.clone()),
        ("processor", format!("{} cores, {}", cores(), processor())),
        ("rowgate", versions.rowgate.clone()),
        ("postgres", versions.postgres.clone()),
        ("pgbouncer", pooler),
        ("mariadb", mariadb),
        (
            "rounds",
            format!(
                "{} of {} s, the variants of a row in turn",
                options.rounds,
                options.time.as_secs()
            ),
        ),
    ]
}

/// A number with three digits that matter.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 999_500.0 => format!("{:.2} M", value / 1e6),
        size if size >= 99_950.0 => format!("{:.0} k", value / 1e3),
        size if size >= 1_000.0 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size > 0.0 => format!("{value:.2}"),
        _ => "–".into(),
    }
}

/// The cells of a variant's line, under HEADS.
pub fn line(measured: &Measured, index: usize) -> Vec<String> {
    let outcome = &measured.outcomes[index];
    let label = measured.row.cells[index].label.to_owned();
    if let Outcome::Absent(reason) = outcome {
        return vec![label, reason.clone()];
    }
    let main = if measured.row.unit == "bytes" { "bytes" } else { "per_second" };
    let mut cells = vec![label];
    if let Some(Spread { median, least, greatest }) = outcome.spread(main) {
        cells.push(short(median));
        cells.push(format!("{} – {}", short(least), short(greatest)));
    }
    let median = |figure: &str| outcome.spread(figure).map(|spread| spread.median);
    for figure in ["p50_us", "p99_us"].iter().chain(&COSTS) {
        // What takes less than 10 ns a call is the housekeeping of an idle process.
        cells.push(median(figure).filter(|value| *value >= 0.01).map_or_else(|| "–".into(), short));
    }
    let pooler = measured.row.cells.iter().position(|cell| cell.label == POOLER);
    let pooler = pooler.and_then(|index| measured.outcomes[index].spread("per_second"));
    let ratio = median("per_second")
        .zip(pooler)
        .map(|(rate, pooler)| format!("{:.2}", rate / pooler.median));
    cells.push(ratio.unwrap_or_else(|| "–".into()));
    cells
}

/// Prints a row when it is complete.
pub fn print(measured: &Measured) {
    println!("\n{} [{}; processor µs of each process]", measured.row.title, measured.row.unit);
    let mut lines = vec![HEADS.map(str::to_owned).to_vec()];
    lines.extend((0..measured.outcomes.len()).map(|index| line(measured, index)));
    let width = |column: usize| {
        let full = lines.iter().filter(|cells| cells.len() == HEADS.len() || column == 0);
        full.filter_map(|cells| cells.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    for cells in &lines {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            if column == 0 {
                format!("{cell:<0$}", width(0))
            } else {
                format!("{cell:>0$}", width(column))
            }
        });
        println!("  {}", padded.collect::<Vec<_>>().join("  "));
    }
}

/// Prints which targets are met.
pub fn print_targets(results: &Results) {
    println!("\ntargets");
    for target in targets(results) {
        println!(
            "  {:<74} {:>14}   must {:<5} goal {:<5} {}",
            target.title,
            value(&target),
            target.must,
            target.goal,
            target.verdict()
        );
    }
    println!("{}", disturbance(results));
}

/// The value with its unit.
pub fn value(target: &Target) -> String {
    target.value.map_or_else(|| "–".into(), |value| format!("{value:.2} {}", target.unit))
}

/// Says how far others had a part in the figures.
pub fn disturbance(results: &Results) -> String {
    let percent = FOREIGN * 100.0;
    format!(
        "{} rounds were repeated because more than {percent} % of the processors went to other processes; {} such rounds \
         were kept when no repeats were left.",
        results.repeated, results.disturbed
    )
}

pub fn json(options: &Options, versions: &Versions, results: &Results) -> Value {
    let facts: Map<String, Value> =
        facts(options, versions).into_iter().map(|(key, fact)| (key.into(), fact.into())).collect();
    let rows: Vec<_> = results.rows.iter().map(row_json).collect();
    let target = |target: Target| {
        json!({
            "title": target.title, "unit": target.unit, "must": target.must, "goal": target.goal,
            "value": target.value, "verdict": target.verdict(),
        })
    };
    json!({
        "facts": facts,
        "repeated": results.repeated,
        "disturbed": results.disturbed,
        "rows": rows,
        "targets": targets(results).into_iter().map(target).collect::<Vec<_>>(),
    })
}

fn row_json(measured: &Measured) -> Value {
    let variants =
        measured.row.cells.iter().zip(&measured.outcomes).map(|(cell, outcome)| match outcome {
            Outcome::Absent(reason) => json!({ "through": cell.label, "absent": reason }),
            Outcome::Measured(samples) => json!({ "through": cell.label, "rounds": samples }),
        });
    json!({
        "id": measured.row.id, "title": measured.row.title, "unit": measured.row.unit,
        "direct": PGBENCH, "variants": variants.collect::<Vec<_>>(),
    })
}
