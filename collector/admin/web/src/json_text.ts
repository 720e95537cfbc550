// JSON text as text: it is never parsed into values, so that a 30-digit number or the way a string is
// written survives being looked at and edited.

// Characters that show nothing, or change how others are shown (controls, zero-width and
// bidirectional ones, separators, tags, lone surrogates).
const INVISIBLE = new RegExp(
  '[\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufe00-\\ufe0f' +
  '\\ufeff\\ufff9-\\ufffb]|\\udb40[\\udc00-\\udfff]|[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]',
  'g');

export interface Piece { text: string; hidden: boolean }

// Splits text into what is shown as it is and what is named instead ("U+202E").
export function pieces(text: string): Piece[] {
  const out: Piece[] = [];
  let end = 0;
  for (const found of text.matchAll(INVISIBLE)) {
    if (found.index > end) out.push({ text: text.slice(end, found.index), hidden: false });
    const point = found[0].codePointAt(0) ?? 0;
    out.push({ text: `U+${point.toString(16).toUpperCase().padStart(4, '0')}`, hidden: true });
    end = found.index + found[0].length;
  }
  if (end < text.length) out.push({ text: text.slice(end), hidden: false });
  return out;
}

function escaped(text: string): string {
  return text.replace(INVISIBLE, (found) =>
    Array.from({ length: found.length }, (_, i) => `\\u${found.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''));
}

// Indents JSON by its tokens; strings and numbers keep every character, except that invisible
// characters in strings are written as \u escapes, which mean the same.
export function indented(json: string): string {
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs;
  let out = '';
  let depth = 0;
  let open = '';      // a bracket whose first element has not come yet
  const line = (): void => { out += `\n${'  '.repeat(depth)}`; };
  for (const [text] of json.matchAll(token)) {
    if (text === '}' || text === ']') {
      depth = Math.max(0, depth - 1);
      if (open === '') line();
      open = '';
      out += text;
      continue;
    }
    if (open !== '') { line(); open = ''; }
    if (text === '{' || text === '[') {
      out += text;
      ++depth;
      open = text;
    } else if (text === ',') {
      out += text;
      line();
    } else {
      out += text === ':' ? ': ' : escaped(text);
    }
  }
  return out;
}

function behindSpace(json: string, at: number): number {
  while (at < json.length && ' \t\r\n'.includes(json[at]!)) ++at;
  return at;
}

function behindValue(json: string, at: number): number {
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]]|[^\s{}[\],:"]+|[,:\s]/gsy;
  token.lastIndex = at;
  let depth = 0;
  do {
    const found = token.exec(json);
    if (found === null) return json.length;
    if (found[0] === '{' || found[0] === '[') ++depth;
    if (found[0] === '}' || found[0] === ']') --depth;
    at = token.lastIndex;
  } while (depth > 0);
  return at;
}

// The text of one value inside of valid JSON, as it was written: part('{"a":[1,1e400]}', ['a', 1]) is "1e400".
// Null where the path leads nowhere.
export function part(json: string, path: (string | number)[]): string | null {
  let at = behindSpace(json, 0);
  for (const step of path) {
    const named = json[at] === '{';
    if (!named && json[at] !== '[') return null;
    for (let index = 0; ; ++index) {
      at = behindSpace(json, at + 1);      // behind the bracket or the comma
      if (at >= json.length || json[at] === '}' || json[at] === ']') return null;
      let name: unknown = index;
      if (named) {
        const end = behindValue(json, at);
        name = JSON.parse(json.slice(at, end));
        at = behindSpace(json, behindSpace(json, end) + 1);      // behind the colon
      }
      if (name === step) break;
      at = behindSpace(json, behindValue(json, at));
    }
  }
  return json.slice(at, behindValue(json, at));
}

// What is wrong with an edited event, in words; null when it is a JSON object.
export function problemOf(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return 'An event is a JSON object: {…}.';
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : 'This is not JSON.';
  }
}
