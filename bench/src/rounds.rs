//! Rounds: the variants of a row in turn, again and again, and what came of them.

use crate::load::Sample;
use crate::measure::{lack, measure};
use crate::options::Options;
use crate::plan::{Cell, Row};
use crate::stand::Stand;
use crate::{Result, fail};
use std::collections::BTreeMap;

/// The share of the processors above which a round that went to others is repeated.
pub const FOREIGN: f64 = 0.05;

/// The outcome of one variant.
pub enum Outcome {
    Measured(Vec<Sample>),
    /// The reason for which it was not.
    Absent(String),
}

pub struct Measured {
    pub row: Row,
    pub outcomes: Vec<Outcome>,
}

/// The middle, least and greatest of a figure over the rounds.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

pub struct Results {
    pub rows: Vec<Measured>,
    /// The rounds that were repeated because others used the processors.
    pub repeated: usize,
    /// Those that were kept although others did, because no repeats were left.
    pub disturbed: usize,
}

impl Results {
    pub fn spread(&self, row: &str, label: &str, figure: &str) -> Option<Spread> {
        let measured = self.rows.iter().find(|measured| measured.row.id == row)?;
        let index = measured.row.cells.iter().position(|cell| cell.label == label)?;
        measured.outcomes[index].spread(figure)
    }

    pub fn median(&self, row: &str, label: &str, figure: &str) -> Option<f64> {
        self.spread(row, label, figure).map(|spread| spread.median)
    }
}

impl Outcome {
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        let Self::Measured(samples) = self else { return None };
        let mut values: Vec<f64> =
            samples.iter().filter_map(|sample| sample.get(figure).copied()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values.get(middle)? + values[middle - 1]) / 2.0
        };
        Some(Spread { median, least: *values.first()?, greatest: *values.last()? })
    }
}

/// Runs all rows. `done` is told of each when it is complete.
pub async fn run(
    options: &Options,
    stand: &Stand,
    rows: Vec<Row>,
    done: impl Fn(&Measured),
) -> Result<Results> {
    let mut repeats = Repeats { left: if options.quick { 4 } else { 40 }, made: 0, disturbed: 0 };
    let mut results = Vec::new();
    for row in rows {
        let lacks: Vec<_> = row.cells.iter().map(|cell| lack(options, stand, cell)).collect();
        let mut samples: BTreeMap<usize, Vec<Sample>> = BTreeMap::new();
        for _ in 0..options.rounds {
            for (index, cell) in
                row.cells.iter().enumerate().filter(|(index, _)| lacks[*index].is_none())
            {
                match repeats.measure(options, stand, cell).await {
                    Ok(sample) => samples.entry(index).or_default().push(sample),
                    Err(error) => return fail(format!("{}, {}: {error}", row.title, cell.label)),
                }
            }
        }
        let outcome = |(index, lack): (usize, Option<String>)| match lack {
            Some(reason) => Outcome::Absent(reason),
            None => Outcome::Measured(samples.remove(&index).unwrap_or_default()),
        };
        let outcomes = lacks.into_iter().enumerate().map(outcome).collect();
        let measured = Measured { row, outcomes };
        done(&measured);
        results.push(measured);
    }
    stand.audit().await?;
    Ok(Results { rows: results, repeated: repeats.made, disturbed: repeats.disturbed })
}

/// The repeats that a run may make, so that it ends on a busy machine too.
struct Repeats {
    left: usize,
    made: usize,
    disturbed: usize,
}

impl Repeats {
    async fn measure(&mut self, options: &Options, stand: &Stand, cell: &Cell) -> Result<Sample> {
        loop {
            let sample = measure(options, stand, cell).await?;
            let foreign = sample.get("foreign").copied().unwrap_or_default();
            if foreign <= FOREIGN {
                return Ok(sample);
            }
            if self.left == 0 {
                self.disturbed += 1;
                return Ok(sample);
            }
            self.left -= 1;
            self.made += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_is_between_the_middle_ones() {
        let samples = [4.0, 1.0, 3.0, 2.0].map(|value| Sample::from([("per_second", value)]));
        let spread =
            Outcome::Measured(samples.to_vec()).spread("per_second").expect("there are samples");
        assert_eq!((spread.median, spread.least, spread.greatest), (2.5, 1.0, 4.0));
        assert!(Outcome::Measured(Vec::new()).spread("per_second").is_none());
    }
}
