// A tour of Rowgate: the result of each step is a line.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "rowgate/v1"
)

const (
	balance = "select owner, cents from example_go where owner = $1"
	numbers = "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) select n from numbers"
)

var db v1.DatabaseServiceClient

func main() {
	connection := must(Connect(os.Args[1], os.Getenv("ROWGATE_CA"), os.Getenv("ROWGATE_TOKEN")))
	defer connection.Close()
	db = v1.NewDatabaseServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the deadline of every call
	defer cancel()

	must(query(ctx, "drop table if exists example_go"))
	must(query(ctx, "create table example_go (id bigint primary key, owner text not null, cents bigint not null)"))
	must(query(ctx, "insert into example_go values (1, 'ann', 1000), (2, 'bob', 500)"))

	rows := must(query(ctx, balance, Text("ann")))
	fmt.Printf("query: %s has %d\n", rows[0].Values[0].GetTextValue(), rows[0].Values[1].GetInt64Value())

	_, err := query(ctx, "insert into example_go values ($1, $2, $3)", Int(1), Text("ann"), Int(0))
	reason, outcome, _ := Fate(err)
	fmt.Printf("error: %s, %s\n", reason, outcome)

	batch(ctx)
	transaction(ctx)
	stream(ctx)

	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err = query(short, "select count(*) from ("+numbers+") as endless", Int(1_000_000_000)) // it ends in the database, too
	fmt.Printf("deadline: %s\n", status.Code(err))

	must(query(ctx, "drop table example_go"))
	fmt.Println("ok")
}

func query(ctx context.Context, sql string, parameters ...*v1.Value) ([]*v1.Row, error) {
	answer, err := db.Query(ctx, &v1.QueryRequest{Sql: sql, Parameters: parameters})
	return answer.GetResult().GetRows(), err
}

// All or nothing, and once: with its key it may be sent again whatever became of the first call.
func batch(ctx context.Context) {
	change := func(owner string, cents int64) *v1.BatchStatement {
		return &v1.BatchStatement{
			Sql:        "update example_go set cents = cents + $1 where owner = $2 and cents + $1 >= 0",
			Parameters: []*v1.Value{Int(cents), Text(owner)},
			Expect:     &v1.Expectation{Rows: &v1.Expectation_Exactly{Exactly: 1}},
		}
	}
	transfer := &v1.ExecuteBatchRequest{
		Statements: []*v1.BatchStatement{change("ann", -300), change("bob", 300)},
		Options:    &v1.QueryOptions{IdempotencyKey: fmt.Sprintf("transfer-%d-%d", os.Getpid(), time.Now().UnixNano())},
	}
	first, again := must(db.ExecuteBatch(ctx, transfer)), must(db.ExecuteBatch(ctx, transfer))
	ann := cents(must(query(ctx, balance, Text("ann"))))
	fmt.Printf("batch: replayed %t, then %t, ann has %d\n", first.Replayed, again.Replayed, ann)
}

// The first attempt is silent for so long that the server rolls it back; Retry makes another one.
func transaction(ctx context.Context) {
	begin := &v1.Begin{Transaction: &v1.TransactionOptions{IdleTimeout: durationpb.New(100 * time.Millisecond)}}
	attempts := 0
	must(attempts, Retry(func() error {
		return InTransaction(ctx, db, begin, func(query Query) error {
			rows, err := query(balance, Text("ann"))
			if err != nil {
				return err
			}
			if attempts++; attempts == 1 {
				time.Sleep(500 * time.Millisecond)
			}
			_, err = query("update example_go set cents = $1 where owner = $2", Int(cents(rows)/2), Text("ann"))
			return err
		})
	}))
	fmt.Printf("transaction: %d attempts, ann has %d\n", attempts, cents(must(query(ctx, balance, Text("ann")))))
}

// A result of any size, in constant memory; it is complete only with its summary.
func stream(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the statement when we leave early
	query := &v1.QueryRequest{Sql: numbers, Parameters: []*v1.Value{Int(10000)}}
	parts := must(db.StreamQuery(ctx, &v1.StreamQueryRequest{Query: query}))
	var sum int64
	var summary *v1.ResultSummary
	for part, err := parts.Recv(); err != io.EOF; part, err = parts.Recv() {
		for _, row := range must(part, err).GetRows().GetRows() {
			sum += row.Values[0].GetInt64Value()
		}
		if part.GetSummary() != nil {
			summary = part.GetSummary()
		}
	}
	if summary == nil {
		log.Fatal("the stream is incomplete")
	}
	fmt.Printf("stream: %d rows, sum %d\n", summary.RowCount, sum)
}

func cents(rows []*v1.Row) int64 { return rows[0].Values[1].GetInt64Value() }

// A service returns its errors; this program ends with them.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
