package main

// The steps of a case, each as one call or one command of a transaction.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rowgatev1 "rowgate/v1"
)

// answer is what a step has found; expectations are compared with its members.
type answer struct {
	columns []*rowgatev1.Column
	rows    []*rowgatev1.Row
	results []*rowgatev1.ResultSet
	members object
}

// opened is a transaction, each of whose commands is a step.
type opened struct {
	stream   rowgatev1.DatabaseService_TransactClient
	end      context.CancelFunc
	sequence uint32
}

func (tx *opened) ask(command *rowgatev1.TransactRequest) (*rowgatev1.TransactResponse, error) {
	tx.sequence++
	command.Sequence = tx.sequence
	if err := tx.stream.Send(command); err != nil && err != io.EOF { // io.EOF: the status, which reply returns, says why
		return nil, err
	}
	return tx.reply()
}

func (tx *opened) reply() (*rowgatev1.TransactResponse, error) {
	reply, err := tx.stream.Recv()
	if err == nil && reply.GetError() != nil { // the statement failed, the transaction is open
		return nil, status.FromProto(reply.GetError()).Err()
	}
	return reply, err
}

type runner struct {
	client rowgatev1.DatabaseServiceClient
	ctx    context.Context
	open   map[string]*opened
}

func (r *runner) step(step object) error {
	steps := map[string]func(object) (*answer, error){
		"query": r.query, "stream": r.stream, "batch": r.batch, "begin": r.begin, "savepoint": r.command,
		"rollback_to": r.command, "release": r.command, "commit": r.finish, "rollback": r.finish, "close": r.finish,
		"outcome": r.outcome, "describe": r.describe, "copy_in": r.copyIn, "copy_out": r.copyOut,
	}
	switch do := text(step["do"]); do {
	case "echo":
		return r.echo(step)
	case "cancel":
		return r.cancel(step)
	case "pause":
		time.Sleep(milliseconds(step["ms"], 0))
	case "abandon":
		r.open[text(step["in"])].end()
	default:
		if steps[do] == nil {
			return fmt.Errorf("an unknown step: %s", do)
		}
		found, err := steps[do](step)
		expect, _ := step["expect"].(object)
		return compare(expect, found, err)
	}
	return nil
}

// deadline is the context of a call with the caller's own deadline.
func (r *runner) deadline(options interface{}) (context.Context, context.CancelFunc) {
	own, _ := options.(object)
	return context.WithTimeout(r.ctx, milliseconds(own["deadline_ms"], 30_000))
}

func duration(value interface{}) *durationpb.Duration {
	if value == nil {
		return nil
	}
	return durationpb.New(milliseconds(value, 0))
}

func access(readOnly interface{}) rowgatev1.AccessMode {
	if readOnly == true {
		return rowgatev1.AccessMode_ACCESS_MODE_READ_ONLY
	}
	return rowgatev1.AccessMode_ACCESS_MODE_UNSPECIFIED
}

func settings(value interface{}) (all []*rowgatev1.Setting) {
	named, _ := value.(object)
	for name, value := range named {
		all = append(all, &rowgatev1.Setting{Name: name, Value: text(value)})
	}
	return all
}

func options(value interface{}) *rowgatev1.QueryOptions {
	o, there := value.(object)
	if !there {
		return nil
	}
	return &rowgatev1.QueryOptions{
		Timeout: duration(o["timeout_ms"]), MaxRows: uint64(integer(o["max_rows"], 0)), MaxBytes: uint64(integer(o["max_bytes"], 0)),
		AccessMode: access(o["read_only"]), Tag: text(o["tag"]), Idempotent: o["idempotent"] == true,
		IdempotencyKey: text(o["key"]), Settings: settings(o["settings"]),
	}
}

func mode(value interface{}) *rowgatev1.TransactionOptions {
	o, there := value.(object)
	if !there {
		return nil
	}
	levels := map[string]rowgatev1.IsolationLevel{"read_committed": 1, "repeatable_read": 2, "serializable": 3}
	return &rowgatev1.TransactionOptions{
		IsolationLevel: levels[text(o["isolation"])], AccessMode: access(o["read_only"]), Deferrable: o["deferrable"] == true,
		IdleTimeout: duration(o["idle_timeout_ms"]), MaxDuration: duration(o["max_duration_ms"]),
	}
}

func database(step object) string {
	own, _ := step["options"].(object)
	return text(own["database"]) + text(step["database"])
}

func request(step object) *rowgatev1.QueryRequest {
	return &rowgatev1.QueryRequest{
		Database: database(step), Sql: text(step["sql"]), Parameters: parameters(step["parameters"]), Options: options(step["options"]),
	}
}

func answerOf(set *rowgatev1.ResultSet, members object) *answer {
	members["rows_affected"], members["command"] = set.RowsAffected, set.Command
	return &answer{columns: set.Columns, rows: set.Rows, members: members}
}

func (r *runner) query(step object) (*answer, error) {
	if step["in"] != nil {
		return r.queryIn(r.open[text(step["in"])], step)
	}
	ctx, cancel := r.deadline(step["options"])
	defer cancel()
	reply, err := r.client.Query(ctx, request(step))
	if err != nil {
		return nil, err
	}
	return answerOf(reply.Result, object{"replayed": reply.Replayed}), nil
}

func (r *runner) queryIn(tx *opened, step object) (*answer, error) {
	query := &rowgatev1.TransactQuery{Sql: text(step["sql"]), Parameters: parameters(step["parameters"]), Options: options(step["options"])}
	reply, err := tx.ask(&rowgatev1.TransactRequest{Command: &rowgatev1.TransactRequest_Query{Query: query}})
	whole := &rowgatev1.ResultSet{}
	for ; err == nil; reply, err = tx.reply() {
		part := reply.GetResult().ResultSet
		whole.Columns, whole.Rows = append(whole.Columns, part.Columns...), append(whole.Rows, part.Rows...)
		whole.RowsAffected, whole.Command = part.RowsAffected, part.Command
		if !reply.GetResult().More {
			return answerOf(whole, object{}), nil
		}
	}
	return nil, err
}

func (r *runner) stream(step object) (*answer, error) {
	ctx, cancel := r.deadline(step["options"])
	defer cancel() // a stream that is not read to its end ends here
	parts, err := r.client.StreamQuery(ctx, &rowgatev1.StreamQueryRequest{Query: request(step)})
	set, complete, most := &rowgatev1.ResultSet{}, false, int(integer(step["read"], 1<<40))
	for err == nil {
		var part *rowgatev1.StreamQueryResponse
		if part, err = parts.Recv(); err != nil {
			break
		}
		set.Columns = append(set.Columns, part.GetHeader().GetColumns()...)
		set.Rows = append(set.Rows, part.GetRows().GetRows()...)
		if summary := part.GetSummary(); summary != nil {
			set.RowsAffected, set.Command, complete = summary.RowsAffected, summary.Command, summary.RowCount == uint64(len(set.Rows))
		}
		if len(set.Rows) >= most {
			set.Rows = set.Rows[:most]
			return answerOf(set, object{}), nil
		}
	}
	if err != io.EOF {
		return nil, err
	}
	if !complete {
		return nil, errors.New("the stream is incomplete")
	}
	return answerOf(set, object{}), nil
}

func (r *runner) echo(step object) error {
	for _, value := range elements(step["values"]) {
		found, err := r.query(object{"sql": step["sql"], "parameters": []interface{}{value}})
		expect := object{"rows": []interface{}{[]interface{}{value}}}
		if step["type"] != nil {
			expect["columns"] = []interface{}{object{"type": step["type"]}}
		}
		if err := compare(expect, found, err); err != nil {
			return fmt.Errorf("%v: %w", value, err)
		}
	}
	return nil
}

func (r *runner) batch(step object) (*answer, error) {
	if step["in"] != nil {
		return r.batchIn(step)
	}
	ctx, cancel := r.deadline(step["options"])
	defer cancel()
	batch := &rowgatev1.ExecuteBatchRequest{
		Database: database(step), Transaction: mode(step["transaction"]), Options: options(step["options"]), DryRun: step["dry_run"] == true,
		Statements: statements(step),
	}
	reply, err := r.client.ExecuteBatch(ctx, batch)
	if err != nil {
		return nil, err
	}
	return &answer{results: reply.Results, members: object{"replayed": reply.Replayed}}, nil
}

func (r *runner) batchIn(step object) (*answer, error) {
	batch := &rowgatev1.TransactBatch{Statements: statements(step), Options: options(step["options"])}
	reply, err := r.open[text(step["in"])].ask(&rowgatev1.TransactRequest{Command: &rowgatev1.TransactRequest_Batch{Batch: batch}})
	if err != nil {
		return nil, err
	}
	return &answer{results: reply.GetBatchResult().GetResults(), members: object{}}, nil
}

func statements(step object) (all []*rowgatev1.BatchStatement) {
	for _, entry := range elements(step["statements"]) {
		one := entry.(object)
		statement := &rowgatev1.BatchStatement{Sql: text(one["sql"]), Parameters: parameters(one["parameters"])}
		if expect, there := one["expect_rows"].(object); there {
			statement.Expect = expectation(expect)
		}
		for times := integer(one["times"], 1); times > 0; times-- {
			all = append(all, statement)
		}
	}
	return all
}

func expectation(expect object) *rowgatev1.Expectation {
	rows := func(name string) uint64 { return uint64(integer(expect[name], 0)) }
	switch {
	case expect["exactly"] != nil:
		return &rowgatev1.Expectation{Rows: &rowgatev1.Expectation_Exactly{Exactly: rows("exactly")}}
	case expect["at_least"] != nil:
		return &rowgatev1.Expectation{Rows: &rowgatev1.Expectation_AtLeast{AtLeast: rows("at_least")}}
	}
	return &rowgatev1.Expectation{Rows: &rowgatev1.Expectation_AtMost{AtMost: rows("at_most")}}
}

func (r *runner) begin(step object) (*answer, error) {
	ctx, cancel := r.deadline(nil)
	stream, err := r.client.Transact(ctx)
	if err != nil {
		return nil, err
	}
	tx := &opened{stream: stream, end: cancel}
	begin := &rowgatev1.Begin{
		Database: database(step), Transaction: mode(step["transaction"]), IdempotencyKey: text(step["key"]), Tag: text(step["tag"]),
		Settings: settings(step["settings"]),
	}
	if _, err := tx.ask(&rowgatev1.TransactRequest{Command: &rowgatev1.TransactRequest_Begin{Begin: begin}}); err != nil {
		return nil, err
	}
	r.open[text(step["as"])] = tx
	return &answer{}, nil
}

func (r *runner) command(step object) (*answer, error) {
	name, command := text(step["name"]), &rowgatev1.TransactRequest{}
	switch step["do"] {
	case "savepoint":
		command.Command = &rowgatev1.TransactRequest_Savepoint{Savepoint: &rowgatev1.Savepoint{Name: name}}
	case "rollback_to":
		command.Command = &rowgatev1.TransactRequest_RollbackTo{RollbackTo: &rowgatev1.RollbackTo{Name: name}}
	default:
		command.Command = &rowgatev1.TransactRequest_Release{Release: &rowgatev1.Release{Name: name}}
	}
	_, err := r.open[text(step["in"])].ask(command)
	return &answer{}, err
}

// finish commits, rolls back or closes, and waits for the end of the call.
func (r *runner) finish(step object) (*answer, error) {
	tx, command := r.open[text(step["in"])], &rowgatev1.TransactRequest{}
	switch step["do"] {
	case "commit":
		command.Command = &rowgatev1.TransactRequest_Commit{Commit: &rowgatev1.Commit{}}
	case "rollback":
		command.Command = &rowgatev1.TransactRequest_Rollback{Rollback: &rowgatev1.Rollback{}}
	}
	if command.Command == nil {
		check(tx.stream.CloseSend())
	} else if _, err := tx.ask(command); err != nil {
		return nil, err
	}
	if _, err := tx.stream.Recv(); err != io.EOF {
		return nil, err
	}
	return &answer{}, nil
}

func (r *runner) outcome(step object) (*answer, error) {
	ctx, cancel := r.deadline(nil)
	defer cancel()
	reply, err := r.client.GetTransactionOutcome(ctx, &rowgatev1.GetTransactionOutcomeRequest{
		Database: database(step), Handle: &rowgatev1.GetTransactionOutcomeRequest_IdempotencyKey{IdempotencyKey: text(step["key"])},
	})
	if err != nil {
		return nil, err
	}
	return &answer{members: object{"state": reply.State.String()[len("TRANSACTION_STATE_"):]}}, nil
}

func (r *runner) describe(step object) (*answer, error) {
	ctx, cancel := r.deadline(nil)
	defer cancel()
	reply, err := r.client.DescribeStatement(ctx, &rowgatev1.DescribeStatementRequest{Sql: text(step["sql"])})
	if err != nil {
		return nil, err
	}
	types := []*rowgatev1.Column{}
	for _, one := range reply.ParameterTypes {
		types = append(types, &rowgatev1.Column{Type: one.Type, ElementType: one.ElementType, TypeName: one.TypeName})
	}
	return &answer{columns: reply.Columns, members: object{"read_only": reply.ReadOnly, "parameter_types": types}}, nil
}

func (r *runner) cancel(step object) error {
	ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
	timer := time.AfterFunc(milliseconds(step["after_ms"], 0), cancel)
	defer timer.Stop()
	defer cancel()
	if _, err := r.client.Query(ctx, request(step)); status.Code(err) != codes.Canceled {
		return fmt.Errorf("it was not cancelled: %w", err)
	}
	return nil
}
