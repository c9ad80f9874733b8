// `rowgate/pg-copy-streams`, in the place of pg-copy-streams.

import { from, to } from './pg/copy-streams.js';

export { from, to, type CopyFrom, type CopyTo } from './pg/copy-streams.js';
export type { CopyFrom as CopyStreamQuery, CopyTo as CopyToStreamQuery } from './pg/copy-streams.js';
export default { from, to };
