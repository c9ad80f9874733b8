//! The streams between the driver and PostgreSQL, cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate::fuzzing::tap_streams(data)));
