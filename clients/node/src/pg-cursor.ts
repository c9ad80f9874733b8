// `rowgate/pg-cursor`, in the place of pg-cursor.

export { Cursor as default, type CursorQueryConfig } from './pg/cursor.js';
