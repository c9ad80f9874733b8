//! The analyzer's cache.

use super::{Analyzer, Dialect, StatementClass};

#[test]
fn a_cached_text_is_not_analysed_twice() {
    let analyzer = Analyzer::new(Dialect::Postgres, 1 << 20);
    let first = analyzer.analyze("select f(1)");
    assert!(std::sync::Arc::ptr_eq(&first, &analyzer.analyze("select f(1)")));
    assert_ne!(first, analyzer.analyze("select g(1)"));
}

#[test]
fn the_cache_is_bounded_whatever_is_analysed() {
    let analyzer = Analyzer::new(Dialect::Postgres, 64 << 10);
    for n in 0..2000 {
        let text = format!("select {n}, '{}'", "x".repeat(n));
        assert_eq!(analyzer.analyze(&text).transaction_control, None);
    }
    assert!(analyzer.cached_bytes() > 0);
    assert!(analyzer.cached_bytes() <= 64 << 10);
}

#[test]
fn a_long_text_is_read_by_its_first_keyword_only_and_not_cached() {
    let analyzer = Analyzer::new(Dialect::Postgres, 1 << 20);
    let padding = " ".repeat(16 << 10);
    assert_eq!(analyzer.analyze(&format!("select 1{padding}")).class, StatementClass::Other);
    let control = analyzer.analyze(&format!("{padding}commit")).transaction_control;
    assert_eq!(control, Some("COMMIT"));
    assert_eq!(analyzer.cached_bytes(), 0);
}

#[test]
fn sqlite_is_read_by_its_first_keyword_only() {
    let analyzer = Analyzer::new(Dialect::Sqlite, 1 << 20);
    assert_eq!(analyzer.analyze("select 1").class, StatementClass::Other);
    assert_eq!(analyzer.analyze(";begin").transaction_control, Some("BEGIN"));
    assert_eq!(analyzer.analyze("abort").transaction_control, None);
}
