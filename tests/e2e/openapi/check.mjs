// Holds a description of an API against itself and against what was really answered.
// In: {"description": "…yaml…", "exchanges": [{listener, method, path, sent, sent_type, status, type, body}]}
// Out: {"problems": ["…"], "operations": ["ingest POST /v1/events", …], "seen": ["ingest POST /v1/events 200", …]}
import SwaggerParser from '@apidevtools/swagger-parser';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const yaml = createRequire(createRequire(import.meta.url).resolve('@apidevtools/json-schema-ref-parser'))('js-yaml');
const METHODS = ['get', 'post', 'put', 'delete', 'patch'];
const { description, exchanges } = JSON.parse(readFileSync(0, 'utf8'));
const api = yaml.load(description);
const problems = [];

// Where a node stands, behind its references.
function follow(node, pointer) {
  while (node && typeof node === 'object' && '$ref' in node) {
    pointer = node.$ref.slice(1);
    node = pointer.slice(1).split('/').reduce((at, part) => at?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], api);
  }
  return { node, pointer };
}
const below = (at, ...names) => names.reduce(({ node, pointer }, name) =>
  follow(node?.[name], `${pointer}/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`), at);

// A member that the description does not name is a mistake of the description.
function closed(node) {
  if (Array.isArray(node)) return node.map(closed);
  if (node === null || typeof node !== 'object') return node;
  const out = Object.fromEntries(Object.entries(node).map(([name, value]) => [name, closed(value)]));
  if ([out.type].flat().includes('object') && out.properties && !('additionalProperties' in out)) out.additionalProperties = false;
  return out;
}

try {
  await SwaggerParser.validate(structuredClone(api));
} catch (error) {
  problems.push(`not an OpenAPI description: ${error.message}`);
}

const ajv = addFormats.default(new Ajv({ strict: false, allErrors: true, validateSchema: false }));
ajv.addSchema({ ...closed(api), $id: 'api' });
const compiled = new Map();
function hold(pointer, value, what) {
  if (!compiled.has(pointer)) compiled.set(pointer, ajv.compile({ $ref: `api#${encodeURI(pointer)}` }));
  const fits = compiled.get(pointer);
  if (!fits(value))
    problems.push(`${what}: ${ajv.errorsText(fits.errors, { dataVar: 'body' })} (${JSON.stringify(fits.errors[0].params)}) in ${JSON.stringify(value).slice(0, 600)}`);
}

// A body of some type against what the media types beside it say.
function holdBody(at, type, text, what) {
  const plain = (type ?? '').split(';')[0].trim();
  const media = below(at, 'content', plain);
  if (!media.node) return void problems.push(`${what}: the type ${plain || '(none)'} is not described`);
  if (plain === 'application/json') return hold(below(media, 'schema').pointer, JSON.parse(text), what);
  if (media.node['x-line-schema'])
    for (const line of text.split('\n').filter((one) => one !== '')) hold(below(media, 'x-line-schema').pointer, JSON.parse(line), what);
  if (media.node['x-events'])
    for (const [, kind, data] of text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)) hold(below(media, 'x-events', kind).pointer, JSON.parse(data), what);
}

const operations = [];
for (const [path, item] of Object.entries(api.paths))
  for (const method of METHODS.filter((one) => one in item))
    for (const { description: listener } of item.servers ?? [])
      operations.push({
        listener, method, path, name: `${listener} ${method.toUpperCase()} ${path}`,
        pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '([^/]+)')}$`),
        at: below({ node: api, pointer: '' }, 'paths', path, method),
      });
operations.sort((a, b) => a.path.includes('{') - b.path.includes('{'));    // a fixed path before one with a hole

for (const { at, name } of operations)
  for (const [type, media] of Object.entries(below(at, 'requestBody').node?.content ?? {}))
    for (const [example, { value }] of Object.entries(media.examples ?? {}))
      hold(below(at, 'requestBody', 'content', type, 'schema').pointer, value, `${name}, example ${example}`);

const seen = new Set();
for (const exchange of exchanges) {
  const path = exchange.path.split('?')[0];
  const found = operations.find(({ listener, method, pattern }) =>
    listener === exchange.listener && method === exchange.method.toLowerCase() && pattern.test(path));
  const what = `${exchange.listener} ${exchange.method} ${exchange.path} -> ${exchange.status}`;
  if (!found) { problems.push(`${what}: not described`); continue; }
  const status = String(exchange.status);
  const responses = below(found.at, 'responses').node;
  if (!(status in responses) && !('default' in responses)) { problems.push(`${what}: the status is not described`); continue; }
  seen.add(`${found.name} ${status}`);
  const answer = below(found.at, 'responses', status in responses ? status : 'default');
  if (answer.node.content) holdBody(answer, exchange.type, exchange.body, what);
  else if (exchange.body !== '') problems.push(`${what}: a body is not described`);
  if (exchange.status < 300 && exchange.sent) holdBody(below(found.at, 'requestBody'), exchange.sent_type, exchange.sent, `${what}, what was sent`);
}
process.stdout.write(JSON.stringify({ problems, operations: operations.map(({ name }) => name), seen: [...seen] }));
