//! Arrow streams that callers send.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate::fuzzing::decode_arrow(data)));
