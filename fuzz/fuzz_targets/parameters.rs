//! Parameters of callers, as they are sent to PostgreSQL.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate::fuzzing::encode_parameter(data)));
