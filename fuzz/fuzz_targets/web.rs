//! Requests and answers without gRPC.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rowgate::fuzzing::WebTranslation;

static TRANSLATION: LazyLock<WebTranslation> = LazyLock::new(WebTranslation::new);

fuzz_target!(|data: &[u8]| {
    let translation = &*TRANSLATION;
    rowgate_fuzz::bounded(|| translation.check(data));
});
