//! Fields of arrays, records and multiranges in the binary format.

use bytes::Buf;

/// Takes a length and as many bytes; the length −1 is NULL.
#[expect(clippy::option_option, reason = "the outer is malformed, the inner is NULL")]
pub(super) fn take_field<'a>(raw: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match raw.try_get_i32().ok()? {
        -1 => Some(None),
        length => raw.split_off(..usize::try_from(length).ok()?).map(Some),
    }
}
