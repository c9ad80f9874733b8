package main

import (
	"io"

	rowgatev1 "rowgate/v1"
)

var formats = map[string]rowgatev1.CopyFormat{"rows": 1, "csv": 2, "text": 3}

func names(value interface{}) (all []string) {
	for _, name := range elements(value) {
		all = append(all, text(name))
	}
	return all
}

func textOptions(step object) *rowgatev1.CopyTextOptions {
	form := &rowgatev1.CopyTextOptions{Header: step["header"] == true, Delimiter: text(step["delimiter"])}
	if null, there := step["null_text"].(string); there {
		form.NullText = &null
	}
	return form
}

func (r *runner) copyIn(step object) (*answer, error) {
	ctx, cancel := r.deadline(step["options"])
	defer cancel()
	start := &rowgatev1.CopyInStart{
		Table: text(step["table"]), Columns: names(step["columns"]), Format: formats[text(step["format"])], Options: options(step["options"]),
	}
	if start.Format != rowgatev1.CopyFormat_COPY_FORMAT_ROWS {
		start.Text = textOptions(step)
	}
	parts := []*rowgatev1.CopyInRequest{{Part: &rowgatev1.CopyInRequest_Start{Start: start}}}
	if rows := elements(step["rows"]); len(rows) > 0 {
		batch := &rowgatev1.RowBatch{}
		for _, row := range rows {
			batch.Rows = append(batch.Rows, &rowgatev1.Row{Values: parameters(row)})
		}
		parts = append(parts, &rowgatev1.CopyInRequest{Part: &rowgatev1.CopyInRequest_Rows{Rows: batch}})
	}
	if data := text(step["data"]); data != "" {
		parts = append(parts, &rowgatev1.CopyInRequest{Part: &rowgatev1.CopyInRequest_Data{Data: []byte(data)}})
	}
	parts = append(parts, &rowgatev1.CopyInRequest{Part: &rowgatev1.CopyInRequest_End{End: &rowgatev1.CopyInEnd{}}})
	stream, err := r.client.CopyIn(ctx)
	for _, part := range parts {
		if err == nil {
			err = stream.Send(part)
		}
	}
	if err != nil && err != io.EOF { // io.EOF: the status, which follows, says why
		return nil, err
	}
	reply, err := stream.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	return &answer{members: object{"rows_affected": reply.RowsAffected, "replayed": reply.Replayed}}, nil
}

func (r *runner) copyOut(step object) (*answer, error) {
	ctx, cancel := r.deadline(step["options"])
	defer cancel()
	copy := &rowgatev1.CopyOutRequest{
		Table: text(step["table"]), Columns: names(step["columns"]), Sql: text(step["sql"]), Parameters: parameters(step["parameters"]),
		Format: formats[text(step["format"])], Options: options(step["options"]),
	}
	if copy.Format != rowgatev1.CopyFormat_COPY_FORMAT_ROWS {
		copy.Text = textOptions(step)
	}
	stream, err := r.client.CopyOut(ctx, copy)
	found, data := &answer{members: object{}}, ""
	for err == nil {
		var part *rowgatev1.CopyOutResponse
		if part, err = stream.Recv(); err != nil {
			break
		}
		found.columns = append(found.columns, part.GetHeader().GetColumns()...)
		found.rows = append(found.rows, part.GetRows().GetRows()...)
		data += string(part.GetData())
		if summary := part.GetSummary(); summary != nil {
			found.members["row_count"] = summary.RowCount
		}
	}
	if err != io.EOF {
		return nil, err
	}
	found.members["data"] = data
	return found, nil
}
