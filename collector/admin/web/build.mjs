// Bundles the page and writes it as a C++ source: node build.mjs --modules DIR --openapi FILE.yaml --out FILE.cc
// --modules: where package-lock.json's packages are, or are installed to when they are not there yet.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { modules: { type: 'string' }, openapi: { type: 'string' }, out: { type: 'string' } } });
if (!values.modules || !values.openapi || !values.out) fail('usage: node build.mjs --modules DIR --openapi FILE.yaml --out FILE.cc');

function fail(text) {
  console.error(`dashboard: ${text}`);
  process.exit(1);
}

function install(folder) {
  const lock = readFileSync(join(here, 'package-lock.json'), 'utf8');
  const stamp = join(folder, 'node_modules', '.weir-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  mkdirSync(folder, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(here, name), join(folder, name));
  // Not npm ci: it refuses a lock file where the registry has no packages for other platforms.
  const done = spawnSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--omit=dev', '--prefer-offline'],
    { cwd: folder, encoding: 'utf8' });
  if (done.error || done.status !== 0)
    fail(`npm could not install what the page is built with (preact, uplot, esbuild):\n${done.error ?? done.stderr.slice(-1500)}\n` +
      'Without a network: install collector/admin/web/package-lock.json where there is one (npm install --omit=dev), copy the\n' +
      'node_modules here, and configure with -DWEIR_WEB_MODULES=/path/to/the/folder/that/holds/it.');
  writeFileSync(stamp, lock);
}

install(values.modules);
const require = createRequire(join(values.modules, 'package.json'));
const { buildSync } = require('esbuild');
const built = buildSync({
  entryPoints: { app: join(here, 'src', 'main.tsx') },
  bundle: true, minify: true, write: false, outdir: '/assets', format: 'esm', target: ['es2022'], charset: 'utf8',
  jsx: 'automatic', jsxImportSource: 'preact', nodePaths: [join(values.modules, 'node_modules')], legalComments: 'none', logLevel: 'warning',
});

const files = [
  ['/', 'text/html; charset=utf-8', readFileSync(join(here, 'index.html'))],
  ['/openapi.yaml', 'application/yaml; charset=utf-8', readFileSync(values.openapi)],
  ['/assets/icon.svg', 'image/svg+xml', readFileSync(join(here, 'icon.svg'))],
  ...built.outputFiles.map((file) => [file.path.replace(/^.*(?=\/assets\/)/, ''),
    file.path.endsWith('.css') ? 'text/css; charset=utf-8' : 'text/javascript; charset=utf-8', Buffer.from(file.contents)]),
];

let source = '// Made by collector/admin/web/build.mjs.\n#include "collector/admin/web_assets.h"\n\nnamespace weir::admin {\nnamespace {\n\n';
files.forEach(([, , bytes], i) => {
  source += `constexpr unsigned char kFile${i}[] = {\n`;
  for (let at = 0; at < bytes.length; at += 32) source += `${[...bytes.subarray(at, at + 32)].join(',')},\n`;
  source += '};\n\n';
});
source += 'template <size_t N>\nstd::string_view text(const unsigned char (&bytes)[N]) {\n  return {reinterpret_cast<const char*>(bytes), N};\n}\n\n}  // namespace\n\n';
source += 'std::vector<WebAsset> web_assets() {\n  return {\n';
files.forEach(([path, type, bytes], i) => {
  const etag = createHash('sha256').update(bytes).digest('hex').slice(0, 20);
  source += `      {${JSON.stringify(path)}, ${JSON.stringify(type)}, "\\"${etag}\\"", text(kFile${i})},\n`;
});
source += '  };\n}\n\n}  // namespace weir::admin\n';
writeFileSync(values.out, source);
