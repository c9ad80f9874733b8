//! The tap on streams that are cut anywhere, of messages and of garbage.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::types::Format;

use super::backend::MessageLimits;
use super::protocol_state::ProtocolState;
use super::tap::Tap;

const TEXT: &str = "select a";
const MAX_ROW: usize = 64;

const LIMITS: MessageLimits = MessageLimits { row: MAX_ROW, report: 64 << 10, other: 1 << 20 };

/// A message: its type, unless it is the startup packet, its length, its body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("it is small").to_be_bytes();
    let kind = Some(kind).filter(|kind| *kind != 0);
    kind.into_iter().chain(length).chain(body.iter().copied()).collect()
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

fn close(target: char, name: &str) -> Vec<u8> {
    message(b'C', format!("{target}{name}\0").as_bytes())
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// The fields of a Bind.
#[derive(Debug, Clone)]
struct BindMessage {
    portal: String,
    statement: String,
    formats: Vec<i16>,
    values: Vec<Option<Vec<u8>>>,
    results: Vec<i16>,
}

impl BindMessage {
    fn of(statement: &str) -> Self {
        Self {
            portal: String::new(),
            statement: statement.to_owned(),
            formats: vec![1],
            values: vec![Some(vec![0, 1, 0, 1])],
            results: vec![1],
        }
    }

    fn message(&self) -> Vec<u8> {
        let count = |number: usize| i16::try_from(number).expect("a few").to_be_bytes();
        let codes = |codes: &[i16]| {
            let bytes = codes.iter().flat_map(|code| code.to_be_bytes());
            count(codes.len()).into_iter().chain(bytes).collect::<Vec<u8>>()
        };
        let mut body = [self.portal.as_bytes(), b"\0", self.statement.as_bytes(), b"\0"].concat();
        body.extend(codes(&self.formats));
        body.extend(count(self.values.len()));
        for value in &self.values {
            let length =
                value.as_ref().map_or(-1, |value| i32::try_from(value.len()).expect("few"));
            body.extend(length.to_be_bytes());
            body.extend(value.iter().flatten());
        }
        body.extend(codes(&self.results));
        message(b'B', &body)
    }
}

/// A stream that takes and gives as many bytes at once as a list says, 0 for "not now", then all.
#[derive(Default)]
struct Scripted {
    cuts: VecDeque<usize>,
    taken: Vec<u8>,
    given: VecDeque<u8>,
}

impl AsyncWrite for Scripted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let take = stream.cuts.pop_front().unwrap_or(bytes.len()).min(bytes.len());
        if take == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        stream.taken.extend_from_slice(&bytes[..take]);
        Poll::Ready(Ok(take))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let available = buffer.remaining().min(stream.given.len());
        let give = stream.cuts.pop_front().unwrap_or(available).min(available);
        if give == 0 && available > 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        buffer.put_slice(&stream.given.drain(..give).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

/// A tap behind the startup, with one prepared statement, called `marked`, that is sent as text.
fn marked_tap(marked: &str) -> (Tap<Scripted>, Arc<ProtocolState>) {
    let state = Arc::new(ProtocolState::default());
    let mut tap = Tap::new(Scripted::default(), Arc::clone(&state), LIMITS);
    run(async {
        tap.write_all(&message(0, b"\0\x03\0\0user\0u\0\0")).await.expect("it takes all");
        state.text_results.expect_statement(TEXT);
        tap.write_all(&[parse(marked, TEXT), sync()].concat()).await.expect("it takes all");
        state.text_results.prepared(&FORMATS);
    });
    tap.stream.taken.clear();
    (tap, state)
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("no I/O is asked for").block_on(future)
}

/// Returns the whole state, to compare.
fn dump(state: &ProtocolState) -> String {
    format!("{state:?}")
}

/// Writes in pieces of up to the given sizes; the stream cuts them again.
fn write(
    tap: &mut Tap<Scripted>,
    bytes: &[u8],
    offers: &[usize],
    cuts: &[usize],
) -> io::Result<()> {
    tap.stream.cuts = cuts.iter().copied().collect();
    let mut offers = offers.iter().copied();
    let mut rest = bytes;
    run(async {
        while !rest.is_empty() {
            let offer = offers.next().unwrap_or(rest.len()).clamp(1, rest.len());
            rest = &rest[tap.write(&rest[..offer]).await?..];
        }
        tap.flush().await
    })
}

fn read(bytes: &[u8], cuts: &[usize]) -> (io::Result<Vec<u8>>, Arc<ProtocolState>) {
    let state = Arc::new(ProtocolState::default());
    let given = bytes.iter().copied().collect();
    let stream = Scripted { given, cuts: cuts.iter().copied().collect(), ..Scripted::default() };
    let mut tap = Tap::new(stream, Arc::clone(&state), LIMITS);
    let mut out = Vec::new();
    let outcome = run(tap.read_to_end(&mut out)).map(|_| out);
    (outcome, state)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![Just(0_usize), Just(1), 1..9_usize, 1..300_usize], 0..200)
}

/// Names like the driver's, `s1` being marked, and others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("s1".to_owned()),
        1 => Just(String::new()),
        1 => Just("s".to_owned()),
        1 => Just("s11".to_owned()),
        1 => "[a-z0-9]{1,40}",
        1 => Just("x".repeat(200)),
    ]
}

fn bound() -> impl Strategy<Value = BindMessage> {
    // Values that look like the formats behind them.
    let bytes = prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..40);
    let formats = prop::collection::vec(0..2_i16, 0..5);
    let values = prop::collection::vec(prop::option::of(bytes), 0..5);
    ("[a-z]{0,3}", name(), formats, values).prop_map(|(portal, statement, formats, values)| {
        BindMessage { portal, statement, formats, values, results: vec![1] }
    })
}

/// The formats of the marked statement's columns.
const FORMATS: [Format; 3] = [Format::Binary, Format::Text, Format::Binary];

/// A Bind as it is sent for [`FORMATS`].
fn with_formats(bind: &[u8]) -> Vec<u8> {
    let body = &bind[5..bind.len() - 4];
    message(b'B', &[body, &[0, 3, 0, 1, 0, 0, 0, 1]].concat())
}

/// A message of the driver, and the bytes that are expected of it.
fn frontend_message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let same = |bytes: Vec<u8>| (bytes.clone(), bytes);
    let body = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        4 => bound().prop_map(move |bound| {
            let (bytes, mut expected) = same(bound.message());
            if bound.statement == "s1" {
                expected = with_formats(&expected);
            }
            (bytes, expected)
        }),
        1 => (name(), "[ -~]{0,200}").prop_map(move |(name, text)| same(parse(&name, &text))),
        // Of another statement than the marked one, so that it stays.
        1 => "[a-z]{3,9}".prop_map(move |name| same(close('S', &name))),
        1 => Just(same(close('P', "s1"))),
        1 => (prop::sample::select(b"DEHQXpdcf".to_vec()), body)
            .prop_map(move |(kind, body)| same(message(kind, &body))),
        1 => prop::sample::select(b"PCBHS".to_vec()).prop_map(move |kind| same(message(kind, b""))),
        2 => Just(same(sync())),
    ]
}

fn backend_message() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![prop::sample::select(b"ZKCIGHWDETSNA123sn".to_vec()), any::<u8>()];
    let body = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..MAX_ROW);
    prop_oneof![
        3 => (kind.prop_filter("no startup", |kind| *kind != 0), body)
            .prop_map(|(kind, body)| message(kind, &body)),
        1 => prop::sample::select(b"ITE".to_vec()).prop_map(|status| message(b'Z', &[status])),
        1 => "[ -~]{0,300}".prop_map(|tag| message(b'C', format!("{tag}\0").as_bytes())),
    ]
}

proptest! {
    #[test]
    fn only_the_format_of_marked_statements_is_changed_however_writes_are_cut(
        messages in prop::collection::vec(frontend_message(), 1..12),
        offers in cuts(),
        cuts in cuts(),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<u8> = messages.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let (mut tap, state) = marked_tap("s1");
        write(&mut tap, &bytes, &offers, &cuts).expect("the stream takes all");
        prop_assert_eq!(&tap.stream.taken, &expected);
        let (mut uncut_tap, uncut) = marked_tap("s1");
        write(&mut uncut_tap, &bytes, &[], &[]).expect("the stream takes all");
        prop_assert_eq!(&uncut_tap.stream.taken, &expected);
        prop_assert_eq!(dump(&state), dump(&uncut));
    }

    #[test]
    fn messages_of_the_server_are_passed_on_and_understood_however_reads_are_cut(
        messages in prop::collection::vec(backend_message(), 0..12),
        cuts in cuts(),
    ) {
        let bytes = messages.concat();
        let (got, state) = read(&bytes, &cuts);
        prop_assert_eq!(got.expect("no row is over the bound"), bytes.clone());
        prop_assert_eq!(dump(&state), dump(&read(&bytes, &[]).1));
        let answers = messages.iter().filter(|message| message[0] == b'Z').collect::<Vec<_>>();
        let status = answers.last().and_then(|message| message.get(5).copied());
        prop_assert_eq!(!state.in_transaction(), status == Some(b'I'));
        if let Some(done) = messages.iter().rfind(|message| b"CI".contains(&message[0])) {
            let body = if done[0] == b'C' { &done[5..] } else { &[] };
            let tag = body[..body.len().min(128)].split(|byte| *byte == 0).next();
            prop_assert_eq!(state.tag(), String::from_utf8_lossy(tag.unwrap_or_default()));
        }
    }

    #[test]
    fn garbage_is_passed_on_without_a_panic(
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], 0..600),
        cuts in cuts(),
    ) {
        let (got, state) = read(&bytes, &cuts);
        let (uncut_read, uncut) = read(&bytes, &[]);
        prop_assert_eq!(got.is_ok(), uncut_read.is_ok());
        if let Ok(got) = got {
            // Of a long report, nothing is passed on before its end.
            prop_assert!(bytes.starts_with(&got));
            prop_assert_eq!(dump(&state), dump(&uncut));
        }
        let (mut tap, _) = marked_tap("s1");
        write(&mut tap, &bytes, &cuts, &cuts).expect("no Bind of the statement is in it");
        // An incomplete message is held back.
        prop_assert!(bytes.starts_with(&tap.stream.taken));
    }
}

#[test]
fn what_follows_the_last_field_of_a_long_report_is_left_out_however_reads_are_cut() {
    let fields = [&b"SERROR\0Mno\0\0Dhidden\0"[..], &vec![b'x'; LIMITS.report]].concat();
    let expected = message(b'E', b"SERROR\0Mno\0\0");
    for cut in [1, 13, 18, 20, 1000, usize::MAX] {
        let cuts = vec![cut; LIMITS.report + 100];
        let (got, _) = read(&message(b'E', &fields), &cuts);
        assert_eq!(got.expect("a long report is cut"), expected, "in pieces of {cut}");
    }
}

#[test]
fn a_length_below_four_is_a_message_without_a_body() {
    for length in [0_u32, 1, 3, 4] {
        let empty = [&[b'Z'][..], &length.to_be_bytes()].concat();
        let bytes = [empty, message(b'C', b"SELECT 1\0")].concat();
        let (got, state) = read(&bytes, &[5]);
        assert_eq!(got.expect("it is passed on"), bytes);
        assert!(
            state.in_transaction(),
            "an answer without a status does not prove that it is idle"
        );
        assert_eq!(state.tag(), "SELECT 1");
    }
}

#[test]
fn a_message_without_a_body_ends_with_its_header() {
    let (mut tap, state) = marked_tap("s1");
    state.received(b'Z', b"I");
    state.received(b'Z', b"I");
    assert!(state.is_idle());
    write(&mut tap, &sync(), &[], &[]).expect("it takes all");
    assert!(!state.is_idle(), "a Sync is under way");
    state.received(b'Z', b"I");
    assert!(state.is_idle());
}

#[test]
fn a_request_is_in_flight_from_its_first_message_to_its_answer() {
    let (mut tap, state) = marked_tap("s1");
    state.received(b'Z', b"I");
    state.received(b'Z', b"I");
    let bind = BindMessage::of("s1").message();
    // The socket takes a part of a large Bind and then nothing more.
    write(&mut tap, &bind[..bind.len() - 3], &[], &[]).expect("it takes all");
    assert!(!state.is_idle(), "the server waits for the rest");
    write(&mut tap, &[&bind[bind.len() - 3..], &sync()].concat(), &[], &[]).expect("it takes all");
    assert!(!state.is_idle(), "the answer is to come");
    state.received(b'Z', b"I");
    assert!(state.is_idle());
}

#[test]
fn the_exchange_of_the_login_is_one_with_the_startup() {
    let state = Arc::new(ProtocolState::default());
    let mut tap = Tap::new(Scripted::default(), Arc::clone(&state), LIMITS);
    let sasl = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x01n");
    let bytes = [message(0, b"\0\x03\0\0user\0u\0\0"), sasl.clone(), sasl].concat();
    write(&mut tap, &bytes, &[3, 2, 1], &[]).expect("it takes all");
    assert!(!state.is_idle(), "nothing is answered yet");
    state.received(b'Z', b"I");
    assert!(state.is_idle());
}

#[test]
fn a_marked_statement_that_asks_for_other_formats_ends_the_connection() {
    for results in [vec![], vec![0], vec![1, 1], vec![1, 0], vec![1, 1, 1]] {
        let (mut tap, _) = marked_tap("s1");
        let bytes = BindMessage { results: results.clone(), ..BindMessage::of("s1") }.message();
        let outcome = write(&mut tap, &bytes, &[7, 7, 7], &[]);
        outcome.expect_err("its rows could not be decoded");
        let (mut tap, _) = marked_tap("s2");
        write(&mut tap, &bytes, &[], &[]).expect("the statement is not marked");
        assert_eq!(tap.stream.taken, bytes, "{results:?}");
    }
}

#[test]
fn a_statement_is_recognised_by_its_whole_text() {
    let long = "select ".repeat(400);
    let longer = format!("{long} ");
    let cases = [
        (parse("s7", TEXT), TEXT, true),
        (parse("s7", "select b"), TEXT, false),
        (parse("s7", "select a "), TEXT, false),
        (parse("s7", "select "), TEXT, false),
        (parse("s7", ""), TEXT, false),
        (parse("s7", &long), long.as_str(), true),
        (parse("s7", &longer), long.as_str(), false),
        (parse("s7", &long), longer.as_str(), false),
        (message(b'P', b"s7"), TEXT, false),
        (message(b'P', b"s7\0select a"), TEXT, false),
        (message(b'P', b""), TEXT, false),
    ];
    for (bytes, expected, found) in cases {
        for size in [1, 2, 3, 7, 5000] {
            let state = Arc::new(ProtocolState::default());
            let mut tap = Tap::new(Scripted::default(), Arc::clone(&state), LIMITS);
            state.text_results.expect_statement(expected);
            let bytes = [message(0, b"\0\x03\0\0"), bytes.clone()].concat();
            write(&mut tap, &bytes, &vec![size; bytes.len()], &[]).expect("it takes all");
            state.text_results.prepared(&FORMATS);
            assert_eq!(
                state.text_results.formats(b"s7").is_some(),
                found,
                "{bytes:?} in pieces of {size}"
            );
            assert_eq!(state.text_results.is_incomplete(), !found);
        }
    }
}

#[test]
fn a_statement_whose_name_was_not_seen_is_not_run() {
    let (mut tap, state) = marked_tap("s1");
    state.text_results.expect_statement("select b");
    state.text_results.prepared(&FORMATS);
    write(&mut tap, &BindMessage::of("s2").message(), &[], &[]).expect_err("it may be this one");
}

#[test]
fn a_closed_statement_is_forgotten() {
    let (mut tap, state) = marked_tap("s1");
    write(&mut tap, &close('P', "s1"), &[1, 3], &[]).expect("it takes all");
    assert!(state.text_results.formats(b"s1").is_some(), "a portal of that name is something else");
    write(&mut tap, &close('S', "s1"), &[1, 3, 3], &[]).expect("it takes all");
    assert!(state.text_results.formats(b"s1").is_none());
}

#[test]
fn failed_prepares_use_no_memory() {
    let (mut tap, state) = marked_tap("s1");
    let before = dump(&state).len();
    for number in 0..10_000 {
        let text = format!("selec {number}");
        state.text_results.expect_statement(&text);
        let bytes = [parse(&format!("s{}", number + 2), &text), sync()].concat();
        write(&mut tap, &bytes, &[], &[]).expect("it takes all");
        tap.stream.taken.clear();
        state.received(b'Z', b"I");
    }
    assert!(dump(&state).len() < before + 1000, "{}", dump(&state));
}

#[test]
fn a_row_over_the_limit_ends_the_connection_by_its_header_alone() {
    let row = message(b'D', &[1; MAX_ROW]);
    let (got, state) = read(&row, &[2]);
    assert_eq!(got.expect("it is within the bound"), row);
    assert!(!state.rejected_a_row());
    for length in [u32::try_from(MAX_ROW).expect("it is small") + 5, u32::MAX] {
        let header = [&[b'D'][..], &length.to_be_bytes()].concat();
        let (got, state) = read(&header, &[3]);
        got.expect_err("it is over the bound");
        assert!(state.rejected_a_row());
    }
}

#[test]
fn a_long_report_is_cut_however_reads_are_cut() {
    let long = "é".repeat(50_000);
    let report = |text: &str, detail: &str| {
        let body = format!("SERROR\0C22P02\0M{text}\0D{detail}\0Rexec\0\0");
        message(b'E', body.as_bytes())
    };
    let cut = "é".repeat(2048);
    let before = message(b'1', b"");
    let after = [message(b'Z', b"E"), message(b'N', b"SNOTICE\0\0")].concat();
    let sent = [&before[..], &report(&long, &format!("x{long}")), &after].concat();
    let expected = [&before[..], &report(&cut, &format!("x{}", "é".repeat(2047))), &after].concat();
    for size in [1, 2, 3, 5, 7, 100, 4096, 1 << 20] {
        let (got, _) = read(&sent, &vec![size; sent.len() / size + 1]);
        let got = got.expect("it is passed on");
        let differs = got.iter().zip(&expected).position(|(one, other)| one != other);
        let lengths = [got.len(), expected.len()];
        assert!(got == expected, "in pieces of {size}: at {differs:?}, of {lengths:?}");
    }
}

#[test]
fn a_message_that_no_honest_server_sends_ends_the_connection() {
    for kind in *b"TtSACdRK" {
        let header = [&[kind][..], &(16_u32 << 20).to_be_bytes()].concat();
        read(&header, &[]).0.expect_err("the driver would buffer it");
    }
}

#[tokio::test]
async fn a_wait_for_answers_ends_with_the_connection() {
    let state = Arc::new(ProtocolState::default());
    let tap = Tap::new(Scripted::default(), Arc::clone(&state), LIMITS);
    let waiting = tokio::spawn({
        let state = Arc::clone(&state);
        async move { state.quiesce().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(tap);
    let ended = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    ended.expect("it does not hang").expect("it does not panic");
    state.received(b'Z', b"I");
    assert!(!state.is_idle(), "the connection has ended");
}
