//! Tokens, keys of providers and files of tokens.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate_fuzz::credentials::check(data)));
