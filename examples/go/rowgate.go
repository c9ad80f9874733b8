package main

// What a service wants around the generated stubs: a connection, plain values, errors that say what became of
// the work, retries that respect that, and transactions as functions.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	rowgatev1 "rowgate/v1"
)

// The same as in service-config.json: turns over all addresses, and a retry policy for calls that only read.
const serviceConfig = `
{
  "loadBalancingConfig": [{ "round_robin": {} }],
  "methodConfig": [
    {
      "name": [
        { "service": "rowgate.v1.DatabaseService", "method": "DescribeStatement" },
        { "service": "rowgate.v1.DatabaseService", "method": "GetTransactionOutcome" },
        { "service": "rowgate.v1.ServerService" }
      ],
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  ],
  "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1 }
}
`

// Security is what a connection trusts and shows.
type Security struct {
	// CA names a PEM file with the authorities that are trusted instead of the system's, and has TLS spoken.
	CA string
	// Token is sent with each call.
	Token string
}

// Connect opens the connection of the whole process: it is safe for concurrent use, and reconnects by itself. It
// speaks TLS to an address with https://, and where authorities are named.
func Connect(address string, security Security) (*grpc.ClientConn, error) {
	host := strings.TrimPrefix(strings.TrimPrefix(address, "http://"), "https://")
	options := []grpc.DialOption{grpc.WithDefaultServiceConfig(serviceConfig)}
	switch {
	case security.CA != "":
		trusted, err := credentials.NewClientTLSFromFile(security.CA, "")
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(trusted))
	case strings.HasPrefix(address, "https://"):
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{})))
	default:
		// From grpc 1.41 on: grpc.WithTransportCredentials(insecure.NewCredentials()).
		options = append(options, grpc.WithInsecure())
	}
	if security.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(security.Token)))
	}
	return grpc.Dial("dns:///"+host, options...)
}

// The token of all calls.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity lets Connect fail where a token would be sent without TLS.
func (b bearer) RequireTransportSecurity() bool { return true }

// Values makes parameters.
func Values(plain ...interface{}) []*rowgatev1.Value {
	values := make([]*rowgatev1.Value, len(plain))
	for i, one := range plain {
		values[i] = value(one)
	}
	return values
}

func value(plain interface{}) *rowgatev1.Value {
	switch v := plain.(type) {
	case nil:
		return &rowgatev1.Value{Kind: &rowgatev1.Value_NullValue{}}
	case bool:
		return &rowgatev1.Value{Kind: &rowgatev1.Value_BoolValue{BoolValue: v}}
	case int:
		return &rowgatev1.Value{Kind: &rowgatev1.Value_Int64Value{Int64Value: int64(v)}}
	case int64:
		return &rowgatev1.Value{Kind: &rowgatev1.Value_Int64Value{Int64Value: v}}
	case float64:
		return &rowgatev1.Value{Kind: &rowgatev1.Value_Float64Value{Float64Value: v}}
	case []byte:
		return &rowgatev1.Value{Kind: &rowgatev1.Value_BytesValue{BytesValue: v}}
	case time.Time:
		return &rowgatev1.Value{Kind: &rowgatev1.Value_TimestampValue{TimestampValue: timestamppb.New(v)}}
	default: // the database parses the text of any type
		return &rowgatev1.Value{Kind: &rowgatev1.Value_TextValue{TextValue: fmt.Sprint(v)}}
	}
}

// Error is a call, or a statement in a transaction, that failed.
type Error struct {
	Code    codes.Code
	Message string
	Reason  string
	// Outcome is NOT_APPLIED, APPLIED or UNKNOWN. What was made on the way, by the client library or a
	// proxy, cannot know.
	Outcome string
	// RetryDelay: after so long the same call may be sent again; nil when it may not.
	RetryDelay *time.Duration
	// Fields of the request that are to blame, as in parameters[0] for $1.
	Fields []string
	// Database holds the SQLSTATE, the constraint, the position and more; may be nil.
	Database *rowgatev1.DatabaseError
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %s (%s)", e.Code, e.Reason, e.Message, e.Outcome)
}

// FromError reads an error of gRPC.
func FromError(err error) *Error {
	return fromStatus(status.Convert(err))
}

func fromStatus(s *status.Status) *Error {
	e := &Error{Code: s.Code(), Message: s.Message(), Outcome: "UNKNOWN"}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.Domain == "rowgate" {
				e.Reason, e.Outcome = d.Reason, d.Metadata["outcome"]
			}
		case *errdetails.RetryInfo:
			delay := time.Duration(d.RetryDelay.GetSeconds())*time.Second + time.Duration(d.RetryDelay.GetNanos())
			e.RetryDelay = &delay
		case *errdetails.BadRequest:
			for _, violation := range d.FieldViolations {
				e.Fields = append(e.Fields, violation.Field)
			}
		case *rowgatev1.DatabaseError:
			e.Database = d
		}
	}
	return e
}

// Retry does it again where nothing was applied and it may succeed later, as RetryInfo says.
func Retry(ctx context.Context, attempts int, work func() error) error {
	for attempt := 1; ; attempt++ {
		err := work()
		var failed *Error
		if !errors.As(err, &failed) || failed.Outcome != "NOT_APPLIED" || failed.RetryDelay == nil || attempt >= attempts {
			return err
		}
		delay := float64(*failed.RetryDelay<<(attempt-1)) * (1 + rand.Float64()/2)
		select {
		case <-time.After(time.Duration(delay)):
		case <-ctx.Done():
			return err
		}
	}
}

// Transaction is an interactive transaction.
type Transaction struct {
	stream   rowgatev1.DatabaseService_TransactClient
	sequence uint32
}

// InTransaction commits when work returns nil; otherwise everything is rolled back.
func InTransaction(
	ctx context.Context, client rowgatev1.DatabaseServiceClient, begin *rowgatev1.Begin, work func(*Transaction) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // without a commit this rolls back at once
	stream, err := client.Transact(ctx)
	if err != nil {
		return FromError(err)
	}
	tx := &Transaction{stream: stream}
	if _, err := tx.ask(&rowgatev1.TransactRequest{Command: &rowgatev1.TransactRequest_Begin{Begin: begin}}); err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return err
	}
	commit := &rowgatev1.TransactRequest_Commit{Commit: &rowgatev1.Commit{}}
	if _, err := tx.ask(&rowgatev1.TransactRequest{Command: commit}); err != nil {
		return err
	}
	// The stream ends with it.
	if _, err := tx.stream.Recv(); err != io.EOF {
		return FromError(err)
	}
	return nil
}

// Query runs a statement.
func (tx *Transaction) Query(sql string, parameters ...interface{}) ([]*rowgatev1.Row, error) {
	query := &rowgatev1.TransactQuery{Sql: sql, Parameters: Values(parameters...)}
	reply, err := tx.ask(&rowgatev1.TransactRequest{Command: &rowgatev1.TransactRequest_Query{Query: query}})
	var rows []*rowgatev1.Row
	for ; err == nil; reply, err = tx.reply() { // a large result comes in parts
		rows = append(rows, reply.GetResult().GetResultSet().GetRows()...)
		if !reply.GetResult().GetMore() {
			return rows, nil
		}
	}
	return nil, err
}

// Savepoint undoes what work did when it fails; the transaction goes on.
func (tx *Transaction) Savepoint(name string, work func() error) error {
	set := &rowgatev1.TransactRequest_Savepoint{Savepoint: &rowgatev1.Savepoint{Name: name}}
	if _, err := tx.ask(&rowgatev1.TransactRequest{Command: set}); err != nil {
		return err
	}
	if failed := work(); failed != nil {
		back := &rowgatev1.TransactRequest_RollbackTo{RollbackTo: &rowgatev1.RollbackTo{Name: name}}
		if _, err := tx.ask(&rowgatev1.TransactRequest{Command: back}); err != nil {
			return err
		}
		return failed
	}
	release := &rowgatev1.TransactRequest_Release{Release: &rowgatev1.Release{Name: name}}
	_, err := tx.ask(&rowgatev1.TransactRequest{Command: release})
	return err
}

func (tx *Transaction) ask(command *rowgatev1.TransactRequest) (*rowgatev1.TransactResponse, error) {
	tx.sequence++
	command.Sequence = tx.sequence
	// io.EOF says that the stream has ended: the status, which reply returns, says why.
	if err := tx.stream.Send(command); err != nil && err != io.EOF {
		return nil, FromError(err)
	}
	return tx.reply()
}

func (tx *Transaction) reply() (*rowgatev1.TransactResponse, error) {
	reply, err := tx.stream.Recv()
	if err != nil { // the transaction is over
		return nil, FromError(err)
	}
	if failed := reply.GetError(); failed != nil { // a statement failed, the transaction is open
		return nil, fromStatus(status.FromProto(&spb.Status{
			Code: failed.Code, Message: failed.Message, Details: failed.Details,
		}))
	}
	return reply, nil
}
