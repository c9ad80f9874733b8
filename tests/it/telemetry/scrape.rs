//! `/metrics`, read as Prometheus does.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::Service;
use crate::harness::client::PATIENCE;
use crate::harness::http::get;
use crate::harness::wait::eventually_async;

/// The metrics of one scrape.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    /// The type of each family.
    pub(super) types: BTreeMap<String, String>,
    /// The families with a text for people.
    pub(super) helped: BTreeSet<String>,
    /// The samples.
    pub(super) samples: Vec<Sample>,
}

/// One value.
#[derive(Debug)]
pub(super) struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Asks a server.
    pub(super) async fn of(service: &Service) -> Self {
        let response = get(service.server.ops(), "/metrics").await;
        assert_eq!(response.status, 200, "{response:?}");
        Self::parse(&response.body)
    }

    /// Asks until it is as it should be.
    pub(super) async fn until(
        service: &Service,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Self {
        eventually_async(what, PATIENCE, async || {
            Some(Self::of(service).await).filter(|scrape| is_so(scrape))
        })
        .await
    }

    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                let other = scrape.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(other, None, "{name} twice");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(!help.trim().is_empty(), "{line}");
                scrape.helped.insert(name.to_owned());
            } else {
                scrape.samples.push(Sample::parse(line));
            }
        }
        scrape
    }

    /// The sum of the samples of a name with these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample| {
            let is = |(key, value): &(&str, &str)| sample.label(key) == Some(*value);
            sample.name == name && labels.iter().all(is)
        };
        // Not the sum of an empty list, which is -0.
        self.samples.iter().filter(|sample| has(sample)).fold(0.0, |sum, one| sum + one.value)
    }

    /// The values that any label has.
    pub(super) fn label_values(&self) -> BTreeSet<&str> {
        let labels = self.samples.iter().flat_map(|sample| sample.labels.values());
        labels.map(String::as_str).collect()
    }

    /// The labels of the samples of a family, without those that a histogram has by itself.
    pub(super) fn labels_of(&self, family: &str) -> BTreeSet<&str> {
        let samples = self.samples.iter().filter(|sample| sample.family() == family);
        let labels = samples.flat_map(|sample| sample.labels.keys());
        labels.map(String::as_str).filter(|label| *label != "le").collect()
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("it is closed");
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').expect("a label and its value");
            (key.to_owned(), value.trim_matches('"').to_owned())
        };
        let labels = labels.split(',').filter(|pair| !pair.is_empty()).map(pair).collect();
        Self { name: name.to_owned(), labels, value: value.parse().expect("a number") }
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// The family, without what a histogram adds to its name.
    fn family(&self) -> &str {
        let mut ends = ["_bucket", "_sum", "_count"].into_iter();
        let histogram = ends.find_map(|end| self.name.strip_suffix(end));
        histogram.unwrap_or(&self.name)
    }
}
