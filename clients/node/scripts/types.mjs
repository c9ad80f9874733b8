// Compiles the programs that are there for their types: test/types.ts, and test/programs/typed.ts twice, with the types of
// node-postgres and with those of this package.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = path.join(root, 'test/programs/typed.ts');
const changed = path.join(root, 'test/programs/.typed.ts');
const imports = /from '(pg|pg-cursor|pg-query-stream|pg-copy-streams)'/g;

const source = readFileSync(program, 'utf8');
if (source.match(imports)?.length !== 5) throw new Error('test/programs/typed.ts does not have its five imports');
writeFileSync(changed, source.replace(imports, "from 'rowgate/$1'"));
try {
  execFileSync(path.join(root, 'node_modules/.bin/tsc'), ['--noEmit', '-p', 'test/tsconfig.json'], { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
} catch {
  process.exitCode = 1;
} finally {
  rmSync(changed, { force: true });
}
