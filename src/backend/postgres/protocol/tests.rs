//! The tap on streams that are cut anywhere, of messages and of garbage.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::state::ProtocolState;
use super::tap::Tap;

const TEXT: &str = "select a";
const MAX_ROW: usize = 64;

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

/// What a Bind holds; the formats of parameters are as many as it says.
#[derive(Debug, Clone)]
struct Bound {
    portal: String,
    statement: String,
    formats: Vec<i16>,
    values: Vec<Option<Vec<u8>>>,
    results: Vec<i16>,
}

impl Bound {
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
        let room = buffer.remaining().min(stream.given.len());
        let give = stream.cuts.pop_front().unwrap_or(room).min(room);
        if give == 0 && room > 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        buffer.put_slice(&stream.given.drain(..give).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

/// A tap behind the startup, with one prepared statement, called `marked`, that is sent as text.
fn marked_tap(marked: &str) -> (Tap<Scripted>, Arc<ProtocolState>) {
    let wire = Arc::new(ProtocolState::default());
    let mut tap = Tap::new(Scripted::default(), Arc::clone(&wire), MAX_ROW);
    run(async {
        tap.write_all(&message(0, b"\0\x03\0\0user\0u\0\0")).await.expect("it takes all");
        wire.expect_statement(TEXT);
        tap.write_all(&[parse(marked, TEXT), sync()].concat()).await.expect("it takes all");
        wire.prepared(true);
    });
    tap.stream.taken.clear();
    (tap, wire)
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("no I/O is asked for").block_on(future)
}

/// Everything that the wire says, to compare.
fn said(wire: &ProtocolState) -> String {
    format!("{wire:?}")
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
        Ok(())
    })
}

fn read(bytes: &[u8], cuts: &[usize]) -> (io::Result<Vec<u8>>, Arc<ProtocolState>) {
    let wire = Arc::new(ProtocolState::default());
    let given = bytes.iter().copied().collect();
    let stream = Scripted { given, cuts: cuts.iter().copied().collect(), ..Scripted::default() };
    let mut tap = Tap::new(stream, Arc::clone(&wire), MAX_ROW);
    let mut out = Vec::new();
    let outcome = run(tap.read_to_end(&mut out)).map(|_| out);
    (outcome, wire)
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

fn bound() -> impl Strategy<Value = Bound> {
    // Values that look like the formats behind them.
    let bytes = prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..40);
    let formats = prop::collection::vec(0..2_i16, 0..5);
    let values = prop::collection::vec(prop::option::of(bytes), 0..5);
    ("[a-z]{0,3}", name(), formats, values).prop_map(|(portal, statement, formats, values)| Bound {
        portal,
        statement,
        formats,
        values,
        results: vec![1],
    })
}

/// A message of ours, and what is to become of it.
fn ours() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let same = |bytes: Vec<u8>| (bytes.clone(), bytes);
    let body = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        4 => bound().prop_map(move |bound| {
            let (bytes, mut expected) = same(bound.message());
            if bound.statement == "s1" {
                *expected.last_mut().expect("it has a body") = 0;
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

fn theirs() -> impl Strategy<Value = Vec<u8>> {
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
        messages in prop::collection::vec(ours(), 1..12),
        offers in cuts(),
        cuts in cuts(),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<u8> = messages.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let (mut tap, wire) = marked_tap("s1");
        write(&mut tap, &bytes, &offers, &cuts).expect("the stream takes all");
        prop_assert_eq!(&tap.stream.taken, &expected);
        let (mut whole, uncut) = marked_tap("s1");
        write(&mut whole, &bytes, &[], &[]).expect("the stream takes all");
        prop_assert_eq!(&whole.stream.taken, &expected);
        prop_assert_eq!(said(&wire), said(&uncut));
    }

    #[test]
    fn what_the_server_says_is_passed_on_and_understood_however_reads_are_cut(
        messages in prop::collection::vec(theirs(), 0..12),
        cuts in cuts(),
    ) {
        let bytes = messages.concat();
        let (got, wire) = read(&bytes, &cuts);
        prop_assert_eq!(got.expect("no row is over the bound"), bytes.clone());
        prop_assert_eq!(said(&wire), said(&read(&bytes, &[]).1));
        let answers = messages.iter().filter(|message| message[0] == b'Z').collect::<Vec<_>>();
        let status = answers.last().and_then(|message| message.get(5).copied());
        prop_assert_eq!(!wire.in_transaction(), status == Some(b'I'));
        if let Some(done) = messages.iter().rfind(|message| b"CI".contains(&message[0])) {
            let body = if done[0] == b'C' { &done[5..] } else { &[] };
            let tag = body[..body.len().min(128)].split(|byte| *byte == 0).next();
            prop_assert_eq!(wire.tag(), String::from_utf8_lossy(tag.unwrap_or_default()));
        }
    }

    #[test]
    fn garbage_is_passed_on_without_a_panic(
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], 0..600),
        cuts in cuts(),
    ) {
        let (got, wire) = read(&bytes, &cuts);
        let (whole, uncut) = read(&bytes, &[]);
        prop_assert_eq!(got.is_ok(), whole.is_ok());
        if let Ok(got) = got {
            prop_assert_eq!(got, bytes.clone());
            prop_assert_eq!(said(&wire), said(&uncut));
        }
        let (mut tap, _) = marked_tap("s1");
        write(&mut tap, &bytes, &cuts, &cuts).expect("no Bind of the statement is in it");
        prop_assert_eq!(&tap.stream.taken, &bytes);
    }
}

#[test]
fn a_length_below_four_is_a_message_without_a_body() {
    for length in [0_u32, 1, 3, 4] {
        let empty = [&[b'Z'][..], &length.to_be_bytes()].concat();
        let bytes = [empty, message(b'C', b"SELECT 1\0")].concat();
        let (got, wire) = read(&bytes, &[5]);
        assert_eq!(got.expect("it is passed on"), bytes);
        assert!(wire.in_transaction(), "an answer without a status is no proof of being idle");
        assert_eq!(wire.tag(), "SELECT 1");
    }
}

#[test]
fn a_message_without_a_body_is_over_with_its_header() {
    let (mut tap, wire) = marked_tap("s1");
    wire.received(b'Z', b"I");
    wire.received(b'Z', b"I");
    assert!(wire.is_idle());
    write(&mut tap, &sync(), &[], &[]).expect("it takes all");
    assert!(!wire.is_idle(), "a Sync is under way");
    wire.received(b'Z', b"I");
    assert!(wire.is_idle());
}

#[test]
fn a_request_is_in_flight_from_its_first_message_to_its_answer() {
    let (mut tap, wire) = marked_tap("s1");
    wire.received(b'Z', b"I");
    wire.received(b'Z', b"I");
    let bind = Bound::of("s1").message();
    // The socket takes a part of a large Bind and then nothing more.
    write(&mut tap, &bind[..bind.len() - 3], &[], &[]).expect("it takes all");
    assert!(!wire.is_idle(), "the server waits for the rest");
    write(&mut tap, &[&bind[bind.len() - 3..], &sync()].concat(), &[], &[]).expect("it takes all");
    assert!(!wire.is_idle(), "the answer is to come");
    wire.received(b'Z', b"I");
    assert!(wire.is_idle());
}

#[test]
fn the_exchange_of_the_login_is_one_with_the_startup() {
    let wire = Arc::new(ProtocolState::default());
    let mut tap = Tap::new(Scripted::default(), Arc::clone(&wire), MAX_ROW);
    let sasl = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x01n");
    let bytes = [message(0, b"\0\x03\0\0user\0u\0\0"), sasl.clone(), sasl].concat();
    write(&mut tap, &bytes, &[3, 2, 1], &[]).expect("it takes all");
    assert!(!wire.is_idle(), "nothing is answered yet");
    wire.received(b'Z', b"I");
    assert!(wire.is_idle());
}

#[test]
fn a_marked_statement_that_asks_for_other_formats_ends_the_connection() {
    for results in [vec![], vec![0], vec![1, 1], vec![1, 0], vec![1, 1, 1]] {
        let (mut tap, _) = marked_tap("s1");
        let bytes = Bound { results: results.clone(), ..Bound::of("s1") }.message();
        let outcome = write(&mut tap, &bytes, &[7, 7, 7], &[]);
        outcome.expect_err("its rows could not be decoded");
        let (mut tap, _) = marked_tap("s2");
        write(&mut tap, &bytes, &[], &[]).expect("it is not ours to judge");
        assert_eq!(tap.stream.taken, bytes, "{results:?}");
    }
}

#[test]
fn a_statement_is_told_by_its_whole_text_and_its_name() {
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
            let wire = Arc::new(ProtocolState::default());
            let mut tap = Tap::new(Scripted::default(), Arc::clone(&wire), MAX_ROW);
            wire.expect_statement(expected);
            let bytes = [message(0, b"\0\x03\0\0"), bytes.clone()].concat();
            write(&mut tap, &bytes, &vec![size; bytes.len()], &[]).expect("it takes all");
            wire.prepared(true);
            assert_eq!(wire.sends_text(b"s7"), found, "{bytes:?} in pieces of {size}");
            assert_eq!(wire.has_lost_a_statement(), !found);
        }
    }
}

#[test]
fn a_statement_that_was_never_seen_is_not_run() {
    let (mut tap, wire) = marked_tap("s1");
    wire.expect_statement("select b");
    wire.prepared(true);
    write(&mut tap, &Bound::of("s2").message(), &[], &[]).expect_err("it may be this one");
}

#[test]
fn a_closed_statement_is_forgotten() {
    let (mut tap, wire) = marked_tap("s1");
    write(&mut tap, &close('P', "s1"), &[1, 3], &[]).expect("it takes all");
    assert!(wire.sends_text(b"s1"), "a portal of that name is something else");
    write(&mut tap, &close('S', "s1"), &[1, 3, 3], &[]).expect("it takes all");
    assert!(!wire.sends_text(b"s1"));
}

#[test]
fn statements_that_cannot_be_prepared_leave_nothing() {
    let (mut tap, wire) = marked_tap("s1");
    let before = said(&wire).len();
    for number in 0..10_000 {
        let text = format!("selec {number}");
        wire.expect_statement(&text);
        let bytes = [parse(&format!("s{}", number + 2), &text), sync()].concat();
        write(&mut tap, &bytes, &[], &[]).expect("it takes all");
        tap.stream.taken.clear();
        wire.received(b'Z', b"I");
    }
    assert!(said(&wire).len() < before + 1000, "{}", said(&wire));
}

#[test]
fn a_row_over_the_bound_ends_the_connection_by_its_header_alone() {
    let row = message(b'D', &[1; MAX_ROW]);
    let (got, wire) = read(&row, &[2]);
    assert_eq!(got.expect("it is within the bound"), row);
    assert!(!wire.refused_a_row());
    for length in [u32::try_from(MAX_ROW).expect("it is small") + 5, u32::MAX] {
        let header = [&[b'D'][..], &length.to_be_bytes()].concat();
        let (got, wire) = read(&header, &[3]);
        got.expect_err("it is over the bound");
        assert!(wire.refused_a_row());
    }
}

#[tokio::test]
async fn whoever_waits_for_answers_is_told_of_the_end() {
    let wire = Arc::new(ProtocolState::default());
    let tap = Tap::new(Scripted::default(), Arc::clone(&wire), MAX_ROW);
    let waiting = tokio::spawn({
        let wire = Arc::clone(&wire);
        async move { wire.quiesce().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(tap);
    let ended = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    ended.expect("it does not hang").expect("it does not panic");
    wire.received(b'Z', b"I");
    assert!(!wire.is_idle(), "nobody is there");
}
