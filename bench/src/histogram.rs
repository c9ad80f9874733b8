//! Latencies in buckets: 64 for each power of two of nanoseconds, so that a percentile is right within 2 %.

use std::time::Duration;

const STEPS: u32 = 6;

#[derive(Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        let index = index(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The latency in µs below which the share of all calls were.
    pub fn percentile_us(&self, share: f64) -> f64 {
        let wanted = self.total as f64 * share;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen as f64 >= wanted {
                return value(index) / 1000.0;
            }
        }
        0.0
    }
}

fn index(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEPS + 1);
    ((u64::from(shift) << STEPS) + (nanos >> shift)) as usize
}

/// The middle of a bucket, in ns.
fn value(index: usize) -> f64 {
    let shift = (index >> STEPS).saturating_sub(1) as u32;
    let mantissa = index as f64 - f64::from(shift << STEPS);
    (mantissa + 0.5) * f64::from(shift).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_right_within_two_percent() {
        for nanos in [70_u64, 1_000, 81_234, 1_460_000, 2_000_000_000] {
            let mut histogram = Histogram::default();
            histogram.add(Duration::from_nanos(nanos));
            let found = histogram.percentile_us(0.99) * 1000.0;
            assert!((found / nanos as f64 - 1.0).abs() < 0.02, "{nanos} became {found}");
        }
    }
}
