//! The guard against floods of control frames, against a plain count.

/// The bytes of a client's preface and of a frame's header.
const PREFACE: usize = 24;
const HEADER: usize = 9;
/// The control frames that a call brings with it.
const FRAMES_OF_CALL: usize = 16;
/// Those that a part of a message brings with it.
const FRAMES_OF_MESSAGE: usize = 4;

/// Checks that a connection passes exactly as long as its client sends no more control frames than its calls need.
pub fn check(data: &[u8]) {
    let passed = rowgate::fuzzing::guard_frames(data);
    let Some((cuts, rest)) = data.split_first() else { return };
    let bytes = &rest[rest.len().min(usize::from(*cuts))..];
    assert_eq!(passed.is_some(), is_within_calls(bytes));
}

fn is_within_calls(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(PREFACE..).unwrap_or_default();
    let mut credit = 0_usize;
    while let Some([a, b, c, kind, flags, ..]) = rest.first_chunk::<HEADER>() {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("24 bits");
        match (kind, length, flags & 1) {
            (1, ..) => credit += FRAMES_OF_CALL,
            (0, 1.., _) => credit += FRAMES_OF_MESSAGE,
            (0, 0, 1) => {}
            _ if credit == 0 => return false,
            _ => credit -= 1,
        }
        rest = rest.get(HEADER + length..).unwrap_or_default();
    }
    true
}
