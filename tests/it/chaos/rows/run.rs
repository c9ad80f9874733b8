//! Runs rows, each for itself, and prints what came of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::table::TABLE;
use super::{Held, Row, Short};

/// The number of faults that the shares of the rows are of.
const WHOLE: usize = 4000;

/// The verdict on a row.
struct Judged {
    holds: bool,
    faults: usize,
    text: String,
    took: Duration,
}

impl Row {
    /// The number of its faults in a run of so many.
    fn faults(&self, of: usize) -> usize {
        (self.share * of).div_ceil(WHOLE).max(self.least)
    }

    /// Runs it to its end, whatever that is.
    fn judge(&self, faults: usize) -> Judged {
        let (start, run) = (Instant::now(), self.run);
        let row = std::thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().expect("it starts");
            let held = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(faults))));
            // What it left behind is nobody's business.
            runtime.shutdown_background();
            held
        });
        let held = row.expect("a thread starts").join().expect("what panics was caught");
        let took = start.elapsed();
        match held {
            Ok(Held { faults: done, figures }) => {
                let few = done < faults;
                let text =
                    if few { format!("only {done} of {faults}: {figures}") } else { figures };
                Judged { holds: !few, faults: done, text, took }
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                let text = text.unwrap_or_else(|| "a panic without words".to_owned());
                Judged { holds: false, faults: 0, text, took }
            }
        }
    }
}

/// Runs rows one after the other and prints a line for each; the faults of all, and how many rows fail.
fn run<'a>(rows: impl Iterator<Item = (&'a Row, usize)>) -> (usize, Vec<&'static str>) {
    let (mut total, mut failed) = (0, Vec::new());
    for (row, faults) in rows {
        let Judged { holds, faults, text, took } = row.judge(faults);
        total += faults;
        failed.extend((!holds).then_some(row.name));
        let word = if holds { "PASS" } else { "FAIL" };
        let took = took.as_secs_f64();
        // The whole of what was wrong is among what the row itself has printed.
        let text: String = text.lines().next().unwrap_or_default().chars().take(400).collect();
        println!("{word}  {:44} {faults:5} faults  {took:6.1} s  {text}", row.name);
    }
    (total, failed)
}

/// Runs the rows, with the number of faults, that `scripts/chaos` asks for.
#[test]
#[ignore = "takes minutes: scripts/chaos runs it"]
fn every_fault_of_the_table() {
    let faults = super::variable("ROWGATE_CHAOS_FAULTS")
        .map_or(WHOLE, |faults| faults.parse().expect("ROWGATE_CHAOS_FAULTS is a number"));
    let pattern = super::variable("ROWGATE_CHAOS_ROWS").unwrap_or_default().to_lowercase();
    let rows: Vec<_> =
        TABLE.iter().filter(|row| row.name.to_lowercase().contains(&pattern)).collect();
    assert!(!rows.is_empty(), "no row is named like {pattern:?}");
    let start = Instant::now();
    let (total, failed) = run(rows.iter().map(|row| (*row, row.faults(faults))));
    let word = if failed.is_empty() { "PASS" } else { "FAIL" };
    let (count, wrong) = (rows.len(), failed.len());
    let took = start.elapsed().as_secs_f64();
    println!("{word}  {count} rows, {wrong} failed; {total} faults in {took:.0} s");
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn what_no_other_test_injects_holds_in_short() {
    let own = TABLE.iter().filter_map(|row| match row.short {
        Short::Own(faults) => Some((row, faults)),
        Short::Tests(_) => None,
    });
    let (_total, failed) = run(own);
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_row_fails_where_too_little_happened_and_hides_no_other() {
    use futures_util::FutureExt as _;
    fn row(name: &'static str, run: super::Run) -> Row {
        Row { name, share: 1, least: 20, short: Short::Own(1), run }
    }
    let rows = [
        row("panics", |_| async { panic!("as it should") }.boxed_local()),
        row("does nothing", |_| async { Held { faults: 0, figures: String::new() } }.boxed_local()),
        row("holds", |faults| async move { Held { faults, figures: String::new() } }.boxed_local()),
    ];
    let (total, failed) = run(rows.iter().map(|row| (row, row.faults(100))));
    assert_eq!((total, failed), (20, vec!["panics", "does nothing"]));
}

#[test]
fn a_whole_run_has_enough_of_every_row() {
    let total: usize = TABLE.iter().map(|row| row.faults(WHOLE)).sum();
    assert!(total >= WHOLE, "{total}");
    for Row { name, share, least, .. } in TABLE {
        let rare = ["postmaster SIGSTOPped", "primary gone, standby promoted"].contains(name);
        assert!(*least >= if rare { 5 } else { 20 } && share >= least, "{name}");
    }
}

#[test]
fn the_page_has_the_rows_and_the_tests_that_are_their_short_forms_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path));
    let page = read("docs/FAULTS.md").expect("it is there");
    let documented: Vec<_> = page
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .map_while(|line| line.strip_prefix("| ").or_else(|| line.strip_prefix("|---").map(|_| "")))
        .filter_map(|line| line.split_once(" |").map(|(name, _)| name.replace('`', "")))
        .collect();
    let names: Vec<_> = TABLE.iter().map(|row| row.name.to_owned()).collect();
    assert_eq!(documented, names);
    for row in TABLE {
        let Short::Tests(tests) = row.short else { continue };
        for test in tests {
            let (module, name) = test.rsplit_once("::").expect("a module and a name");
            let path = format!("tests/it/{}", module.replace("::", "/"));
            let text = read(&format!("{path}.rs")).or_else(|_| read(&format!("{path}/mod.rs")));
            let text = text.unwrap_or_else(|error| panic!("{test}: {error}"));
            assert!(text.contains(&format!("async fn {name}()")), "{test} does not exist");
        }
    }
}
