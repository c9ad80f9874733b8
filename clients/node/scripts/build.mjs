// Builds the package: the messages from the contract of this repository, ESM and CommonJS by tsc, and one file for pages
// without a bundler.
//
// A packed package has no sources and nothing to build, so that `prepare` there does nothing.

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const contract = path.join(root, '../../proto');

if (!existsSync(path.join(root, 'src'))) process.exit(0);
if (!existsSync(contract)) {
  console.error(`rowgate: the contract is missing: ${contract}\n`
    + 'hint: build in a clone of the repository, or install a packed package, which is built already');
  process.exit(1);
}

// The command of a package, wherever npm has put it.
function run(command, ...args) {
  const bin = [path.join(root, 'node_modules/.bin', command), path.join(root, '../.bin', command)].find(existsSync) ?? command;
  execFileSync(bin, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
}

const inputs = mkdtempSync(path.join(tmpdir(), 'rowgate-proto-'));
try {
  // The standard details of errors are no part of the contract.
  cpSync(path.join(root, 'proto'), inputs, { recursive: true });
  cpSync(contract, inputs, { recursive: true });
  const plugin = path.join(root, 'node_modules/.bin/protoc-gen-es');
  writeFileSync(path.join(inputs, 'buf.gen.yaml'), JSON.stringify({
    version: 'v2',
    clean: true,
    plugins: [{
      local: existsSync(plugin) ? plugin : 'protoc-gen-es',
      out: path.join(root, 'src/gen'),
      opt: ['target=ts', 'import_extension=js'],
    }],
  }));
  run('buf', 'generate', inputs, '--template', path.join(inputs, 'buf.gen.yaml'));
} finally {
  rmSync(inputs, { recursive: true, force: true });
}
rmSync(path.join(root, 'dist'), { recursive: true, force: true });
run('tsc');
// CommonJS: each file by itself, and the same declarations beside it.
const sources = readdirSync(path.join(root, 'src'), { recursive: true }).filter((name) => name.endsWith('.ts'));
run('esbuild', ...sources.map((name) => path.join('src', name)), '--format=cjs', '--platform=node', '--target=node18',
  '--log-level=warning', '--outbase=src', '--outdir=dist/cjs');
for (const name of readdirSync(path.join(root, 'dist/esm'), { recursive: true }).filter((name) => name.endsWith('.d.ts'))) {
  cpSync(path.join(root, 'dist/esm', name), path.join(root, 'dist/cjs', name));
}
writeFileSync(path.join(root, 'dist/cjs/package.json'), '{ "type": "commonjs" }\n');
run('esbuild', 'src/web.ts', '--bundle', '--format=esm', '--target=es2022', '--minify',
  '--log-level=warning', '--outfile=dist/web.bundle.js');
