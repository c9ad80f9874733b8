// A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.
//
// Usage: example [ADDRESS]
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	rowgatev1 "rowgate/v1"
)

const (
	table  = "example_go"
	insert = "insert into " + table + " (id, owner, cents) values ($1, $2, $3)"
)

type tour struct {
	client rowgatev1.DatabaseServiceClient
	health grpc_health_v1.HealthClient
}

func main() {
	log.SetFlags(0)
	security := Security{CA: os.Getenv("ROWGATE_CA"), Token: os.Getenv("ROWGATE_TOKEN")}
	connection, err := Connect(address(), security)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	t := tour{rowgatev1.NewDatabaseServiceClient(connection), grpc_health_v1.NewHealthClient(connection)}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := t.makeTable(ctx); err != nil {
		log.Fatal(err)
	}
	steps := []struct {
		name string
		run  func(context.Context) (got string, err error)
		want string
	}{
		{"health", t.checkHealth, "SERVING"},
		{"query", t.query, "ann has 1000"},
		{"stream", t.stream, "10000 rows, sum 50005000"},
		{"batch", t.batchWithKey, "replayed false, then true, ann 700, bob 800"},
		{"transaction", t.transactionWithSavepoint, "UNIQUE_VIOLATION undone, ann 350, bob 800"},
		{"error", t.errorDetails, "AlreadyExists UNIQUE_VIOLATION NOT_APPLIED"},
		{"retry", t.transactionAgain, "IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800"},
		{"deadline", t.deadline, "DeadlineExceeded"},
	}
	for _, step := range steps {
		got, err := step.run(ctx)
		if err != nil {
			log.Fatalf("%s: %v", step.name, err)
		}
		if got != step.want {
			log.Fatalf("%s: got %s, want %s", step.name, got, step.want)
		}
		fmt.Printf("%s: %s\n", step.name, got)
	}
	if err := t.dropTable(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ok")
}

func address() string {
	address := "127.0.0.1:50051"
	if set := os.Getenv("ROWGATE_ADDRESS"); set != "" {
		address = set
	}
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	return address
}

func (t tour) checkHealth(ctx context.Context) (string, error) {
	request := &grpc_health_v1.HealthCheckRequest{Service: "rowgate.v1.DatabaseService"}
	answer, err := t.health.Check(ctx, request)
	return answer.GetStatus().String(), err
}

// A table is created outside of batches and transactions: MySQL and MariaDB would commit them.
func (t tour) makeTable(ctx context.Context) error {
	create := "create table " + table + " (id bigint primary key, owner text not null, cents bigint not null)"
	for _, sql := range []string{"drop table if exists " + table, create} {
		if _, err := t.client.Query(ctx, &rowgatev1.QueryRequest{Sql: sql}); err != nil {
			return err
		}
	}
	_, err := t.client.ExecuteBatch(ctx, &rowgatev1.ExecuteBatchRequest{Statements: []*rowgatev1.BatchStatement{
		{Sql: insert, Parameters: Values(1, "ann", 1000)},
		{Sql: insert, Parameters: Values(2, "bob", 500)},
	}})
	return err
}

func (t tour) query(ctx context.Context) (string, error) {
	answer, err := t.client.Query(ctx, &rowgatev1.QueryRequest{
		Sql:        "select owner, cents from " + table + " where owner = $1 and cents >= $2",
		Parameters: Values("ann", 1000),
	})
	if err != nil {
		return "", FromError(err)
	}
	row := answer.Result.Rows[0].Values
	return fmt.Sprintf("%s has %d", row[0].GetTextValue(), row[1].GetInt64Value()), nil
}

// A result of any size, in constant memory; it is complete only with its summary.
func (t tour) stream(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the statement when we leave early
	stream, err := t.client.StreamQuery(ctx, &rowgatev1.StreamQueryRequest{Query: &rowgatev1.QueryRequest{
		Sql: "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1)" +
			" select n from numbers",
		Parameters: Values(10000),
	}})
	if err != nil {
		return "", FromError(err)
	}
	var sum int64
	var summary *rowgatev1.ResultSummary
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", FromError(err)
		}
		for _, row := range part.GetRows().GetRows() {
			sum += row.Values[0].GetInt64Value()
		}
		if part.GetSummary() != nil {
			summary = part.GetSummary()
		}
	}
	if summary == nil {
		return "", errors.New("the stream is incomplete")
	}
	return fmt.Sprintf("%d rows, sum %d", summary.RowCount, sum), nil
}

// All or nothing, and once: with the key it may be sent again whatever became of the first call.
func (t tour) batchWithKey(ctx context.Context) (string, error) {
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return "", err
	}
	one := &rowgatev1.Expectation{Rows: &rowgatev1.Expectation_Exactly{Exactly: 1}}
	transfer := &rowgatev1.ExecuteBatchRequest{
		Statements: []*rowgatev1.BatchStatement{
			{
				Sql:        "update " + table + " set cents = cents - $1 where id = $2 and cents >= $1",
				Parameters: Values(300, 1),
				Expect:     one,
			},
			{
				Sql:        "update " + table + " set cents = cents + $1 where id = $2",
				Parameters: Values(300, 2),
				Expect:     one,
			},
		},
		Options: &rowgatev1.QueryOptions{IdempotencyKey: fmt.Sprintf("transfer-%x", key)},
	}
	first, err := t.client.ExecuteBatch(ctx, transfer)
	if err != nil {
		return "", FromError(err)
	}
	again, err := t.client.ExecuteBatch(ctx, transfer)
	if err != nil {
		return "", FromError(err)
	}
	balances, err := t.balances(ctx)
	return fmt.Sprintf("replayed %t, then %t, %s", first.Replayed, again.Replayed, balances), err
}

func (t tour) transactionWithSavepoint(ctx context.Context) (string, error) {
	var undone *Error
	err := InTransaction(ctx, t.client, &rowgatev1.Begin{}, func(tx *Transaction) error {
		rows, err := tx.Query("select cents from "+table+" where id = $1", 1)
		if err != nil {
			return err
		}
		half := rows[0].Values[0].GetInt64Value() / 2
		if _, err := tx.Query("update "+table+" set cents = $1 where id = $2", half, 1); err != nil {
			return err
		}
		err = tx.Savepoint("before_insert", func() error {
			_, err := tx.Query(insert, 2, "bob", 0)
			return err
		})
		if !errors.As(err, &undone) {
			return fmt.Errorf("the duplicate: %w", err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	balances, err := t.balances(ctx)
	return fmt.Sprintf("%s undone, %s", undone.Reason, balances), err
}

func (t tour) errorDetails(ctx context.Context) (string, error) {
	_, err := t.client.Query(ctx, &rowgatev1.QueryRequest{Sql: insert, Parameters: Values(1, "ann", 0)})
	failed := FromError(err)
	return fmt.Sprintf("%s %s %s", failed.Code, failed.Reason, failed.Outcome), nil
}

// The server rolls back a transaction that is silent for too long; RetryInfo says when to begin again.
func (t tour) transactionAgain(ctx context.Context) (string, error) {
	begin := &rowgatev1.Begin{Transaction: &rowgatev1.TransactionOptions{
		IdleTimeout: durationpb.New(100 * time.Millisecond),
	}}
	var failures []string
	err := Retry(ctx, 3, func() error {
		err := InTransaction(ctx, t.client, begin, func(tx *Transaction) error {
			if len(failures) == 0 {
				time.Sleep(500 * time.Millisecond)
			}
			_, err := tx.Query("update "+table+" set cents = cents + 1 where id = $1", 1)
			return err
		})
		var failed *Error
		if errors.As(err, &failed) {
			failures = append(failures, failed.Reason+" "+failed.Outcome)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	balances, err := t.balances(ctx)
	return fmt.Sprintf("%s, %s", strings.Join(failures, ", "), balances), err
}

// The statement ends in the database, too, and the answer says so just before the deadline.
func (t tour) deadline(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err := t.client.Query(ctx, &rowgatev1.QueryRequest{
		Sql: "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000)" +
			" select count(*) from numbers",
	})
	return FromError(err).Code.String(), nil
}

func (t tour) dropTable(ctx context.Context) error {
	_, err := t.client.Query(ctx, &rowgatev1.QueryRequest{Sql: "drop table " + table})
	return err
}

func (t tour) balances(ctx context.Context) (string, error) {
	answer, err := t.client.Query(ctx, &rowgatev1.QueryRequest{
		Sql: "select owner, cents from " + table + " order by id",
	})
	if err != nil {
		return "", FromError(err)
	}
	var balances []string
	for _, row := range answer.Result.Rows {
		balances = append(balances, fmt.Sprintf("%s %d", row.Values[0].GetTextValue(), row.Values[1].GetInt64Value()))
	}
	return strings.Join(balances, ", "), nil
}
