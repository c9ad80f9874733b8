import * as everything from './exports.js';

export * from '../shared.js';
export * from './exports.js';

// `import pg from 'rowgate/pg'` has what `import pg from 'pg'` has, its types too: `pg.Pool`, `pg.QueryResult`.
export default everything;
