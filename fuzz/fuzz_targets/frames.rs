//! Frames of HTTP/2 clients, cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate_fuzz::frames::check(data)));
