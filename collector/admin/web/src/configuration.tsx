// The effective configuration; secrets never leave the server.
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { ask, getJson, type Setting } from './api';
import { plural } from './format';
import { useLoad } from './hooks';
import { Action, Empty, Foreign, Loading, Panel, Pill, Problem, Table } from './parts';

const sectionOf = (path: string): string => path.replace(/\.[^.]*$/, '');
const nameOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1);

export function Configuration(): JSX.Element {
  const loaded = useLoad('config', () => getJson<Record<string, Setting>>('/api/v1/config'));
  const [wanted, setWanted] = useState('');
  const [changedOnly, setChangedOnly] = useState(false);
  if (loaded.value === null) return loaded.error ? <Problem text={loaded.error} again={loaded.reload} /> : <Loading what="the configuration" />;
  const rows = Object.entries(loaded.value).filter(([path, setting]) =>
    (wanted === '' || path.includes(wanted.toLowerCase().trim())) && (!changedOnly || setting.origin !== 'default'));
  const sections = [...new Set(rows.map(([path]) => sectionOf(path)))];
  return <>
    <Panel title="Configuration" note="What this server runs with, and where each value comes from"
      actions={<Action label="Reload from file" run={async () => {
        const { changed } = await (await ask('POST', '/api/v1/reload')).json() as { changed: string[] };
        loaded.reload();
        return changed.length === 0 ? 'Reloaded; nothing has changed.' : `Reloaded; changed: ${changed.join(', ')}.`;
      }} />}>
      <form class="filters" role="search" aria-label="Options" onSubmit={(event) => event.preventDefault()}>
        <label>Find an option<input type="search" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} placeholder="store.max_bytes" spellcheck={false} /></label>
        <label class="check"><input type="checkbox" checked={changedOnly} onChange={(event) => setChangedOnly(event.currentTarget.checked)} />Only what is not the default</label>
        <span class="note" role="status">{plural(rows.length, 'option')}</span>
      </form>
      {rows.length === 0 ? <Empty title="No option matches" /> : null}
    </Panel>
    {sections.map((section) => <Panel key={section} title={section} class="options">
      <Table label={`Options of ${section}`} head={[['Option'], ['Value'], ['From']]}>
        {rows.filter(([path]) => sectionOf(path) === section).map(([path, setting]) => <tr key={path}>
          <th scope="row" class="mono">{nameOf(path)}</th>
          <td class="mono wrap-any">{setting.value === '(secret)' ? <Pill tone="plain">secret</Pill> : <Foreign text={setting.value} />}
            {setting.origin !== 'default' && setting.value !== setting.default ? <span class="kind">default {setting.default === '' ? 'none' : setting.default}</span> : null}</td>
          <td class={setting.origin === 'default' ? 'muted' : ''}><Foreign text={setting.origin} /></td>
        </tr>)}
      </Table>
    </Panel>)}
  </>;
}
