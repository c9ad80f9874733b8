//! The work of clients: units that leave a token, count it, and move money, all or nothing; by every
//! way that the API has, the careless ones too.

use std::time::Duration;

use rowgate::value::proto::expectation::Rows;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{
    BatchStatement, Begin, Commit, ExecuteBatchRequest, Expectation, IsolationLevel, QueryRequest,
    Rollback, Row, TransactionOptions, Value,
};

use super::dialect::Dialect;
use crate::harness::client::{Client, Failure, request};
use crate::harness::unit::{Transaction, keyed, query, statement};

/// Accounts, and what is in each at first.
pub(super) const ACCOUNTS: i64 = 64;
pub(super) const BALANCE: i64 = 1000;

/// Within which the truth is told, or that it is not known: the limit of every unit.
pub(super) const TOLD: Duration = Duration::from_secs(5);

/// The ways to do a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// One statement, its own transaction.
    Query,
    /// The same under a key.
    QueryKeyed,
    /// A batch.
    Batch,
    /// A batch that expects to change each row it names.
    BatchExpecting,
    /// A batch that must be serializable.
    BatchSerializable,
    /// A batch under a key.
    BatchKeyed,
    /// A batch whose last statement fails.
    BatchFailing,
    /// A batch whose commit fails, by a deferred constraint, or its last statement, where none is deferred.
    BatchDeferred,
    /// An interactive transaction.
    Transact,
    /// The same, sent without waiting for replies.
    TransactPipelined,
    /// The same under a key.
    TransactKeyed,
    /// A transaction that is committed although a statement failed.
    TransactCareless,
    /// One that is left without a word.
    TransactAbandoned,
    /// One whose side is closed without a commit.
    TransactHalfClosed,
}

impl How {
    /// All of them.
    pub(super) const ALL: [Self; 14] = [
        Self::Query,
        Self::QueryKeyed,
        Self::Batch,
        Self::BatchExpecting,
        Self::BatchSerializable,
        Self::BatchKeyed,
        Self::BatchFailing,
        Self::BatchDeferred,
        Self::Transact,
        Self::TransactPipelined,
        Self::TransactKeyed,
        Self::TransactCareless,
        Self::TransactAbandoned,
        Self::TransactHalfClosed,
    ];

    /// Tells whether it may be sent again until it is answered.
    pub(super) fn has_key(self) -> bool {
        matches!(self, Self::QueryKeyed | Self::BatchKeyed | Self::TransactKeyed)
    }
}

/// A unit of work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    /// The token that it leaves.
    pub(super) token: i64,
    /// By which way.
    pub(super) how: How,
    dialect: Dialect,
    from: i64,
    to: i64,
    amount: i64,
}

/// The content of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// The number of the server's attempts.
    pub(super) attempts: u32,
    /// True if an earlier call had applied it.
    pub(super) replayed: bool,
}

const FIRST: Done = Done { attempts: 1, replayed: false };

impl Unit {
    /// The unit that leaves `token`.
    pub(super) fn new(token: i64, dialect: Dialect, random: &mut fastrand::Rng) -> Self {
        let how = How::ALL[random.usize(..How::ALL.len())];
        let from = random.i64(1..=ACCOUNTS);
        let to = (from + random.i64(1..ACCOUNTS) - 1) % ACCOUNTS + 1;
        Self { token, how, dialect, from, to, amount: random.i64(1..10) }
    }

    fn shard(&self) -> Value {
        Value::int64(self.token % self.dialect.shards())
    }

    fn key(&self) -> String {
        format!("unit-{}", self.token)
    }

    /// Does it, once.
    pub(super) async fn run(&self, client: &Client) -> Result<Done, Failure> {
        match self.how {
            How::Query | How::QueryKeyed => self.run_query(client).await,
            How::Batch
            | How::BatchExpecting
            | How::BatchSerializable
            | How::BatchKeyed
            | How::BatchFailing
            | How::BatchDeferred => self.run_batch(client).await,
            How::Transact | How::TransactKeyed => self.interact(client).await,
            How::TransactPipelined => self.pipeline(client, None).await,
            How::TransactCareless => self.pipeline(client, Some(self.dialect.failing())).await,
            How::TransactAbandoned | How::TransactHalfClosed => self.forsake(client).await,
        }
    }

    /// All of it in one statement.
    fn query(&self) -> QueryRequest {
        let transfer = [self.from, self.to, self.amount];
        let (sql, parameters) =
            self.dialect.unit(self.token, self.token % self.dialect.shards(), transfer);
        request(&sql, &parameters)
    }

    /// Checks that the rows of an answer are those of this unit.
    fn check_rows(&self, rows: &[Row]) {
        if self.dialect.returns() {
            assert_eq!(rows[0].values, [Value::int64(self.token)], "another's answer");
        }
    }

    async fn run_query(&self, client: &Client) -> Result<Done, Failure> {
        let mut request = self.query();
        if self.how.has_key() {
            request.options = Some(keyed(&self.key()));
        }
        // Without a deadline of the client's: the server's own holds.
        let answer = client.raw().query(request).await?.into_inner();
        self.check_rows(&answer.result.expect("an answer has a result").rows);
        Ok(Done { attempts: answer.attempts, replayed: answer.replayed })
    }

    fn statements(&self) -> Vec<BatchStatement> {
        let [from, to, amount] = [self.from, self.to, self.amount].map(Value::int64);
        let token = Value::int64(self.token);
        let insert = self.dialect.insert();
        let update =
            |sign: char| format!("update accounts set balance = balance {sign} $2 where id = $1");
        vec![
            statement(&insert, &[token, self.shard()]),
            statement("update counters set n = n + 1 where shard = $1", &[self.shard()]),
            statement(&update('-'), &[from, amount.clone()]),
            statement(&update('+'), &[to, amount]),
        ]
    }

    async fn run_batch(&self, client: &Client) -> Result<Done, Failure> {
        let mut request =
            ExecuteBatchRequest { statements: self.statements(), ..Default::default() };
        match self.how {
            How::BatchExpecting => {
                for statement in &mut request.statements {
                    statement.expect = Some(Expectation { rows: Some(Rows::Exactly(1)) });
                }
            }
            How::BatchSerializable => {
                request.transaction = Some(at(IsolationLevel::Serializable));
            }
            How::BatchKeyed => request.options = Some(keyed(&self.key())),
            How::BatchFailing => {
                request.statements.push(statement(self.dialect.failing(), &[]));
            }
            How::BatchDeferred => request
                .statements
                .push(statement("insert into children values ($1)", &[Value::int64(self.token)])),
            How::Batch
            | How::Query
            | How::QueryKeyed
            | How::Transact
            | How::TransactPipelined
            | How::TransactKeyed
            | How::TransactCareless
            | How::TransactAbandoned
            | How::TransactHalfClosed => {}
        }
        let ExecuteBatchRequest { statements, .. } = &request;
        let count = statements.len();
        let answer = client.raw().execute_batch(request).await?.into_inner();
        assert_eq!(answer.results.len(), count, "each statement has a result");
        self.check_rows(&answer.results[0].rows);
        Ok(Done { attempts: answer.attempts, replayed: answer.replayed })
    }

    fn begin(&self) -> Begin {
        let key = if self.how.has_key() { self.key() } else { String::new() };
        let max_duration = Some(TOLD.try_into().expect("it is short"));
        let transaction = Some(TransactionOptions { max_duration, ..Default::default() });
        Begin { idempotency_key: key, transaction, ..Begin::default() }
    }

    /// Statement by statement; now and then one is undone.
    async fn interact(&self, client: &Client) -> Result<Done, Failure> {
        let mut transaction = match open(client, self.begin()).await {
            Err(failure) if failure.reason == "KEY_APPLIED" => {
                assert_eq!(failure.outcome, "APPLIED", "{failure:?}");
                return Ok(Done { replayed: true, ..FIRST });
            }
            opened => opened?,
        };
        if self.token % 3 == 0 {
            undo(&mut transaction).await?;
        }
        self.say(&mut transaction).await?;
        transaction.commit().await.map(|()| FIRST)
    }

    /// Runs the statements of the unit.
    async fn say(&self, transaction: &mut Transaction) -> Result<(), Failure> {
        for BatchStatement { sql, parameters, .. } in self.statements() {
            if let Err(failure) = transaction.query(&sql, &parameters).await {
                // Whether that was the reply's failure or the stream's: the rollback ends both.
                transaction.send(Command::Rollback(Rollback {})).await;
                while let Ok(Some(reply)) = transaction.reply().await {
                    assert!(!matches!(reply, Reply::Committed(_)), "nobody said commit");
                }
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Everything at once, `also` before the commit.
    async fn pipeline(&self, client: &Client, also: Option<&str>) -> Result<Done, Failure> {
        let mut transaction = client.transact().await;
        transaction.send(Command::Begin(self.begin())).await;
        for BatchStatement { sql, parameters, .. } in self.statements() {
            transaction.send(Command::Query(query(&sql, &parameters))).await;
        }
        if let Some(sql) = also {
            transaction.send_query(sql).await;
        }
        transaction.send(Command::Commit(Commit {})).await;
        transaction.half_close();
        let mut committed = false;
        while let Some(reply) = transaction.reply().await? {
            committed |= matches!(reply, Reply::Committed(_));
        }
        assert!(committed, "a stream that ends well has committed");
        Ok(FIRST)
    }

    /// Leaves before the commit.
    async fn forsake(&self, client: &Client) -> Result<Done, Failure> {
        let mut transaction = open(client, self.begin()).await?;
        self.say(&mut transaction).await?;
        if self.how == How::TransactAbandoned {
            return Ok(Done::default());
        }
        transaction.half_close();
        match transaction.reply().await {
            Err(failure) => Err(failure),
            Ok(reply) => panic!("nothing was committed, and the answer is {reply:?}"),
        }
    }
}

/// Opens a transaction.
pub(super) async fn open(client: &Client, begin: Begin) -> Result<Transaction, Failure> {
    let mut transaction = client.transact().await;
    transaction.send(Command::Begin(begin)).await;
    let reply = transaction.reply().await?;
    assert!(matches!(reply, Some(Reply::Begun(_))), "{reply:?}");
    Ok(transaction)
}

/// A transaction at a level.
pub(super) fn at(level: IsolationLevel) -> TransactionOptions {
    TransactionOptions { isolation_level: level.into(), ..TransactionOptions::default() }
}

/// Leaves a token that nobody knows, and takes it back.
async fn undo(transaction: &mut Transaction) -> Result<(), Failure> {
    transaction.savepoint("s").await?;
    transaction.query("insert into units (token, shard) values (-1, 0)", &[]).await?;
    transaction.rollback_to("s").await
}
