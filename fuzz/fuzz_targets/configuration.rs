//! Configuration files, URLs and variables.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate_fuzz::configuration::check(data)));
