//! Error replies of PostgreSQL, and what callers may see of them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate::fuzzing::redact_error(data)));
