// Builds the package: the messages from the contract of this repository, ESM and CommonJS, and one file for pages without a
// bundler. What is there is replaced at the end, so that a program that runs meanwhile finds all of the old or all of the new.
//
// A packed package has no sources and nothing to build, so that `prepare` there does nothing.

import { execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const contract = path.join(root, '../../proto');
const sources = path.join(root, 'src');
const generated = path.join(sources, 'gen');
const work = path.join(root, `.build-${process.pid}`);
const out = path.join(work, 'dist');

if (!existsSync(sources)) process.exit(0);
if (!existsSync(contract)) {
  console.error(`rowgate: the contract is missing: ${contract}\n`
    + 'hint: build in a clone of the repository, or install a packed package, which is built already');
  process.exit(1);
}

// Where a project installs this folder, npm links it and installs none of its tools.
function installTools() {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(?!config_(?:registry|cache|userconfig|cafile)$)/i.test(name)));
  execFileSync('npm', ['install', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund', '--silent'], {
    cwd: root, env: { ...env, NODE_ENV: 'development' }, stdio: 'inherit', shell: process.platform === 'win32',
  });
}

// A CommonJS program gets the class itself, as `require('pg-cursor')` gives it.
const CLASSES = ['pg-cursor', 'pg-query-stream'];

function exportClass(module) {
  appendFileSync(`${module}.js`, 'module.exports = module.exports.default;\n');
  const declaration = readFileSync(`${module}.d.ts`, 'utf8');
  const [, name, source] = /\{ (\w+) as default.*\} from '(.*)';/.exec(declaration);
  writeFileSync(`${module}.d.ts`, `import { ${name} } from '${source}';\nexport = ${name};\n`);
}

const command = (name) => path.join(root, 'node_modules/.bin', name);
const run = (name, ...args) => execFileSync(command(name), args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
const files = (folder) => (existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [])
  .filter((entry) => entry.isFile())
  .map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)))
  .sort();

function generate() {
  const inputs = path.join(work, 'proto');
  const fresh = path.join(work, 'gen');
  // The standard details of errors are no part of the contract.
  cpSync(path.join(root, 'proto'), inputs, { recursive: true });
  cpSync(contract, inputs, { recursive: true });
  const template = path.join(work, 'buf.gen.yaml');
  writeFileSync(template, JSON.stringify({
    version: 'v2',
    plugins: [{ local: command('protoc-gen-es'), out: fresh, opt: ['target=ts', 'import_extension=js'] }],
  }));
  run('buf', 'generate', inputs, '--template', template);
  const read = (folder) => files(folder).map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]);
  if (JSON.stringify(read(fresh)) === JSON.stringify(read(generated))) return;
  rmSync(generated, { recursive: true, force: true });
  renameSync(fresh, generated);
}

function compile() {
  run('tsc', '--outDir', path.join(out, 'esm'));
  // CommonJS: each file by itself, and the same declarations beside it.
  const typescript = files(sources).filter((name) => name.endsWith('.ts')).map((name) => path.join('src', name));
  run('esbuild', ...typescript, '--format=cjs', '--platform=node', '--target=node18', '--log-level=warning', '--outbase=src',
    `--outdir=${path.join(out, 'cjs')}`);
  for (const name of files(path.join(out, 'esm')).filter((each) => each.endsWith('.d.ts'))) {
    cpSync(path.join(out, 'esm', name), path.join(out, 'cjs', name));
  }
  writeFileSync(path.join(out, 'cjs/package.json'), '{ "type": "commonjs" }\n');
  for (const name of CLASSES) exportClass(path.join(out, 'cjs', name));
  run('esbuild', 'src/web.ts', '--bundle', '--format=esm', '--target=es2022', '--minify', '--log-level=warning',
    `--outfile=${path.join(out, 'web.bundle.js')}`);
}

try {
  if (!existsSync(command('tsc'))) installTools();
  mkdirSync(work);
  generate();
  compile();
  const license = path.join(root, '../../LICENSE');
  if (existsSync(license)) cpSync(license, path.join(root, 'LICENSE'));
  rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  renameSync(out, path.join(root, 'dist'));
} finally {
  rmSync(work, { recursive: true, force: true });
}
