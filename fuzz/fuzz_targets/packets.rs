//! Packets that MySQL and MariaDB send: columns, rows and errors.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rowgate_fuzz::bounded(|| rowgate::fuzzing::decode_packets(data)));
