// `rowgate/pg-query-stream`, in the place of pg-query-stream.

export { QueryStream as default, type QueryStreamConfig } from './pg/query-stream.js';
