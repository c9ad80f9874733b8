package main

// What a service wants around the generated stubs: a connection, what became of a failed call, and transactions.

import (
	"context"
	"io"
	"math/rand"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/oauth"
	"google.golang.org/grpc/status"

	v1 "rowgate/v1"
)

// Connect opens the connection of the whole process: it is safe for concurrent use, and reconnects by itself. It speaks
// TLS to https://, and where ca names a PEM file with the authorities to trust. A token is sent over TLS only.
func Connect(address, ca, token string) (*grpc.ClientConn, error) {
	transport := grpc.WithInsecure() // from grpc 1.41 on: grpc.WithTransportCredentials(insecure.NewCredentials())
	if ca != "" {
		trusted, err := credentials.NewClientTLSFromFile(ca, "")
		if err != nil {
			return nil, err
		}
		transport = grpc.WithTransportCredentials(trusted)
	} else if strings.HasPrefix(address, "https://") {
		transport = grpc.WithTransportCredentials(credentials.NewTLS(nil))
	}
	options := []grpc.DialOption{transport, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`)}
	if token != "" {
		source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
		options = append(options, grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: source}))
	}
	return grpc.Dial("dns:///"+address[strings.LastIndex(address, "/")+1:], options...)
}

// Int and Text are parameters; value.proto has the other kinds. The database parses the text of any type.
func Int(number int64) *v1.Value { return &v1.Value{Kind: &v1.Value_Int64Value{Int64Value: number}} }
func Text(text string) *v1.Value { return &v1.Value{Kind: &v1.Value_TextValue{TextValue: text}} }

// Fate tells why a call failed, and what became of it: NOT_APPLIED, APPLIED or UNKNOWN. With a retry it may be sent again.
func Fate(err error) (reason, outcome string, retry *errdetails.RetryInfo) {
	outcome = "UNKNOWN" // of what the client library or a proxy reports
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.Domain == "rowgate" {
				reason, outcome = detail.Reason, detail.Metadata["outcome"]
			}
		case *errdetails.RetryInfo:
			retry = detail
		}
	}
	return reason, outcome, retry
}

// Retry runs work up to three times: again only where nothing was applied, and not before the server's delay.
func Retry(work func() error) error {
	for attempt := 1; ; attempt++ {
		err := work()
		if _, outcome, retry := Fate(err); err != nil && outcome == "NOT_APPLIED" && retry != nil && attempt < 3 {
			delay := float64(retry.RetryDelay.AsDuration() << (attempt - 1))
			time.Sleep(time.Duration(delay * (1 + rand.Float64()/2)))
			continue
		}
		return err
	}
}

// InTransaction commits when work returns nil, and rolls back otherwise; work is given a function that runs a statement.
func InTransaction(ctx context.Context, db v1.DatabaseServiceClient, begin *v1.Begin, work func(Query) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // without a commit this rolls back at once
	stream, err := db.Transact(ctx)
	if err != nil {
		return err
	}
	var sequence uint32
	ask := func(command *v1.TransactRequest) (rows []*v1.Row, err error) {
		sequence++
		command.Sequence = sequence
		if err := stream.Send(command); err != nil && err != io.EOF { // io.EOF: the status, which Recv returns, says why
			return nil, err
		}
		for { // a large result comes in parts
			reply, err := stream.Recv()
			if err != nil { // the transaction is over
				return nil, err
			}
			if failed := reply.GetError(); failed != nil { // the statement failed, the transaction is open
				return nil, status.FromProto(failed).Err()
			}
			rows = append(rows, reply.GetResult().GetResultSet().GetRows()...)
			if !reply.GetResult().GetMore() {
				return rows, nil
			}
		}
	}
	if _, err := ask(&v1.TransactRequest{Command: &v1.TransactRequest_Begin{Begin: begin}}); err != nil {
		return err
	}
	err = work(func(sql string, parameters ...*v1.Value) ([]*v1.Row, error) {
		query := &v1.TransactQuery{Sql: sql, Parameters: parameters}
		return ask(&v1.TransactRequest{Command: &v1.TransactRequest_Query{Query: query}})
	})
	if err != nil {
		return err
	}
	_, err = ask(&v1.TransactRequest{Command: &v1.TransactRequest_Commit{Commit: &v1.Commit{}}})
	_, _ = stream.Recv() // the call ends with the commit
	return err
}

// Query runs a statement.
type Query func(sql string, parameters ...*v1.Value) ([]*v1.Row, error)
