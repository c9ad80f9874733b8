//! Cells that PostgreSQL sends, of every type.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate::fuzzing::decode_cells(data)));
