//! The analysis of statements, against PostgreSQL's own parser.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate_fuzz::classifier::check(data)));
