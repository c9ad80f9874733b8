//! Parameters and the values of rows.

use super::*;

#[tokio::test]
async fn a_value_comes_back_as_it_was_sent() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n INTEGER PRIMARY KEY, v)").await;
    let values = [
        Value::null(),
        Value::int64(i64::MIN),
        Value::int64(i64::MAX),
        Value::float64(0.1),
        Value::float64(f64::NEG_INFINITY),
        Value::text(""),
        Value::text("naïve 🦀 'quoted' -- $1"),
        Value::bytes(*b""),
        Value::bytes(*b"\x00\xff"),
    ];
    for value in values {
        let sent = vec![value.clone()];
        let answer = fixture.query("INSERT INTO t (v) VALUES ($1) RETURNING v", sent).await;
        let answer = answer.expect("it was stored");
        assert_eq!(answer.values(), [&value]);
        assert_eq!(answer.completion.rows_affected, 1);
        assert_eq!(answer.completion.command, "INSERT");
        let last = fixture.run("SELECT v FROM t ORDER BY n DESC LIMIT 1").await;
        assert_eq!(last.values(), [&value]);
    }
    let converted = vec![Value::bool(true), Value::timestamp(1, 500)];
    let answer = fixture.query("SELECT $1, $2", converted).await.expect("it ran");
    let expected = [Value::int64(1), Value::text("1970-01-01 00:00:01.000001Z")];
    assert_eq!(answer.values(), expected.each_ref());
}

#[tokio::test]
async fn a_column_has_its_declared_type_and_each_value_its_own_kind() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (a BOOLEAN, b NUMERIC(9,2), c DOUBLE, d JSON, e BLOB, f)").await;
    fixture.run(r#"INSERT INTO t VALUES (1, 1.5, 2, '{"a":1}', x'ff', 7)"#).await;
    fixture.run("INSERT INTO t VALUES ('odd', 3, NULL, 4, CAST(x'ff' AS TEXT), 8)").await;
    let answer = fixture.run("SELECT *, a AS again, count(*) OVER () FROM t ORDER BY rowid").await;
    let columns = answer.columns.as_ref().expect("it has columns");
    let types: Vec<_> = columns.iter().map(|c| (c.r#type(), c.type_name.as_str())).collect();
    assert_eq!(
        types,
        [
            (DataType::Bool, "BOOLEAN"),
            (DataType::Numeric, "NUMERIC(9,2)"),
            (DataType::Float64, "DOUBLE"),
            (DataType::Json, "JSON"),
            (DataType::Bytes, "BLOB"),
            (DataType::Int64, ""),
            (DataType::Bool, "BOOLEAN"),
            (DataType::Int64, ""),
        ]
    );
    let first = [
        Value::bool(true),
        Value::text("1.5"),
        Value::float64(2.0),
        Value::text(r#"{"a":1}"#),
        Value::bytes(*b"\xff"),
        Value::int64(7),
        Value::bool(true),
        Value::int64(2),
    ];
    assert_eq!(answer.rows[0].values, first);
    let second = [Value::text("odd"), Value::text("3"), Value::null(), Value::int64(4)];
    assert_eq!(answer.rows[1].values[..4], second);
    assert_eq!(answer.rows[1].values[4], Value::bytes(*b"\xff"));
}

#[tokio::test]
async fn parameters_are_bound_by_their_number() {
    let fixture = fixture();
    let sent = vec![Value::text("one"), Value::text("two")];
    let answer = fixture.query("SELECT $2, $1, $2", sent).await.expect("it ran");
    assert_eq!(answer.values(), [&Value::text("two"), &Value::text("one"), &Value::text("two")]);
}

#[tokio::test]
async fn wrong_parameters_are_named_and_nothing_runs() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (a)").await;
    let array = Kind::ArrayValue(ArrayValue::default()).into();
    let cases = [
        ("INSERT INTO t VALUES ($1)", vec![], "parameters"),
        ("INSERT INTO t VALUES ($1)", vec![Value::null(), Value::null()], "parameters"),
        ("INSERT INTO t VALUES (1)", vec![Value::null()], "parameters"),
        ("", vec![Value::null()], "parameters"),
        ("INSERT INTO t VALUES ($1), ($2)", vec![Value::null(), Value::default()], "parameters[1]"),
        ("INSERT INTO t VALUES ($1)", vec![array], "parameters[0]"),
        ("INSERT INTO t VALUES ($1)", vec![Value::float64(f64::NAN)], "parameters[0]"),
        ("INSERT INTO t VALUES ($1)", vec![Value::text("x".repeat(2 << 20))], "parameters[0]"),
        ("INSERT INTO t VALUES (?)", vec![Value::null()], "sql"),
        ("INSERT INTO t VALUES (?1)", vec![Value::null()], "sql"),
        ("INSERT INTO t VALUES (:a)", vec![Value::null()], "sql"),
    ];
    for (sql, parameters, field) in cases {
        let error = fixture.query(sql, parameters).await.expect_err(sql);
        let violation = error.violation().expect("it names a field");
        assert_eq!(violation.field, field, "{sql}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 0);
}

#[tokio::test]
async fn a_row_over_the_limit_is_refused() {
    let fixture = fixture();
    for sql in [
        "SELECT hex(zeroblob(1000000))",
        "SELECT zeroblob(600000), zeroblob(600000)",
        "SELECT group_concat(zeroblob(1000)) FROM pragma_function_list a, pragma_function_list b",
    ] {
        assert_eq!(fixture.refused(sql).await.kind(), ErrorKind::RowTooLarge, "{sql}");
    }
    fixture.run("SELECT zeroblob(1000000)").await;
}

/// The most memory that this process has had, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is told");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024
}

#[tokio::test]
async fn a_statement_has_no_more_memory_than_the_limit() {
    let fixture = fixture_with(|config| config.max_row_size = 16 << 20);
    let columns = |column: &str, count| vec![column; count].join(", ");
    let seven = format!("(SELECT x FROM ({ENDLESS}) LIMIT 7)");
    let concatenated = columns("group_concat(hex(randomblob(1000000)))", 40);
    let collected = columns("json_group_array(hex(randomblob(1000000)))", 40);
    for sql in [
        format!("SELECT {}", columns("randomblob(15000000)", 60)),
        format!("SELECT {concatenated} FROM {seven}"),
        format!("SELECT {collected} FROM {seven}"),
        format!(
            "SELECT count(*) FROM (SELECT DISTINCT {} FROM {seven})",
            columns("randomblob(15000000)", 30)
        ),
    ] {
        let error = fixture.refused(&sql).await;
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
        assert_eq!((error.reason(), error.outcome()), ("OUT_OF_MEMORY", Outcome::NotApplied));
    }
    let peak = peak_mib();
    assert!(peak < 400, "{peak} MiB");
    // It is given back, and the connections serve on.
    fixture.run("CREATE TABLE t (b)").await;
    fixture.run("INSERT INTO t VALUES (randomblob(15000000))").await;
    assert_eq!(fixture.run("SELECT length(b) FROM t").await.number(), 15_000_000);
}

#[tokio::test]
async fn a_statement_compiled_before_sees_a_changed_schema() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (a INTEGER)").await;
    fixture.run("INSERT INTO t VALUES (1)").await;
    assert_eq!(fixture.run("SELECT * FROM t").await.columns.map(|columns| columns.len()), Some(1));
    fixture.run("ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'x'").await;
    let answer = fixture.run("SELECT * FROM t").await;
    assert_eq!(answer.columns.as_ref().map(Vec::len), Some(2));
    assert_eq!(answer.values(), [&Value::int64(1), &Value::text("x")]);
}

#[tokio::test]
async fn a_description_runs_nothing() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n INTEGER, s TEXT)").await;
    let describe = |sql: &str, include_plan| {
        let deadline = after(Duration::from_secs(5));
        let analysis = analysis(StatementClass::Other);
        fixture.database.describe(DescribeRequest {
            sql: sql.into(),
            analysis,
            include_plan,
            deadline,
            context: CallContext::own("test"),
        })
    };
    let insert = "INSERT INTO t SELECT $2, $1 RETURNING s AS text";
    let description = describe(insert, true).await.expect("described");
    let columns = description.columns.expect("it returns rows");
    assert_eq!((columns[0].name.as_str(), columns[0].r#type()), ("text", DataType::Text));
    assert_eq!(description.parameters.len(), 2);
    assert_eq!(description.parameters[0].r#type(), DataType::Other);
    assert!(!description.read_only);

    let read = describe("SELECT n FROM t WHERE n = $1", true).await.expect("described");
    assert!(read.read_only);
    assert_eq!(read.plan.as_deref(), Some("SCAN t"));
    let update = describe("UPDATE t SET n = 1", false).await.expect("described");
    assert!(update.columns.is_none() && update.plan.is_none());
    let error = describe("BEGIN", false).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::TransactionControl);
    assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 0);
}
