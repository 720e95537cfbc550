// Live events: what comes in at this moment, by filter, rejected ones with their reason.
import type { JSX, TargetedEvent } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { query, type TailEvent } from './api';
import { bytes, clock, count, plural } from './format';
import { indented } from './json_text';
import { StoryLink } from './ledger';
import { announce, Empty, Foreign, Panel, Pill, Table, type Tone } from './parts';
import { TailFeed, type TailRow, type TailState } from './tail_feed';

const FIELDS = ['outcome', 'tenant', 'name', 'source'] as const;
type Filter = Record<typeof FIELDS[number], string>;
const OUTCOMES: Record<TailEvent['outcome'], [Tone, string]> = {
  stored: ['good', 'Stored'], duplicate: ['plain', 'Duplicate'], rejected: ['bad', 'Rejected'],
};

function FilterForm({ filter }: { filter: Filter }): JSX.Element {
  const [draft, setDraft] = useState(filter);
  useEffect(() => setDraft(filter), [query(filter)]);
  const edit = (field: keyof Filter) => (event: TargetedEvent<HTMLInputElement | HTMLSelectElement>): void =>
    setDraft({ ...draft, [field]: event.currentTarget.value });
  const text = (field: keyof Filter, label: string): JSX.Element =>
    <label>{label}<input type="text" name={field} value={draft[field]} onInput={edit(field)} autocomplete="off" spellcheck={false} /></label>;
  return <form class="filters" role="search" aria-label="Live events" onSubmit={(event) => {
    event.preventDefault();
    location.hash = `#/tail${query(draft)}`;
  }}>
    <label>Outcome<select name="outcome" value={draft.outcome} onChange={edit('outcome')}>
      <option value="">any</option>
      {Object.entries(OUTCOMES).map(([value, [, label]]) => <option key={value} value={value}>{label}</option>)}
    </select></label>
    {text('tenant', 'Tenant')}
    {text('name', 'Event name')}
    {text('source', 'Protocol')}
    <div class="actions">
      <button type="submit" class="primary">Filter</button>
      {FIELDS.every((field) => filter[field] === '') ? null : <a class="button" href="#/tail">Clear</a>}
    </div>
  </form>;
}

function Row({ row, onOpen }: { row: TailRow; onOpen: () => void }): JSX.Element {
  const { event, raw } = row;
  const [tone, label] = OUTCOMES[event.outcome] ?? ['plain', event.outcome];
  return <tr>
    <td class="nowrap number"><time dateTime={event.at} title={event.at}>{clock(event.at)}</time></td>
    <th scope="row"><Foreign text={event.name || '(no name)'} /><span class="kind"><Foreign text={event.source} /></span></th>
    <td><Pill tone={tone}>{label}</Pill></td>
    <td class="short-text"><Foreign text={event.tenant} /></td>
    <td>{event.outcome === 'rejected' ? <><span class="bad-text"><Foreign text={event.reason} /></span>{event.id ? <span class="kind"><Foreign text={event.id} /></span> : null}</> :
      <StoryLink id={event.id || event.seq || ''} tenant={event.tenant} />}</td>
    <td class="wide-text"><details onToggle={(change) => { if (change.currentTarget.open) onOpen(); }}>
      <summary>{bytes(event.bytes)}<span class="visually-hidden"> of {event.name}</span></summary>
      {raw === null || raw === 'null' ? <p>Longer than what is shown here, or it could not be read.</p> :
        <pre class="answer foreign" tabIndex={0} aria-label="The client's own object">{indented(raw)}</pre>}
    </details></td>
  </tr>;
}

function ConnectionNote({ state }: { state: TailState }): JSX.Element {
  if (state.connection === 'lost') return <Pill tone="bad">Reconnecting</Pill>;
  if (state.frozen) return <Pill tone="warn">Paused</Pill>;
  return state.connection === 'live' ? <Pill tone="good">Live</Pill> : <Pill tone="plain">Connecting</Pill>;
}

export function Tail({ values }: { values: URLSearchParams }): JSX.Element {
  const filter = Object.fromEntries(FIELDS.map((field) => [field, values.get(field) ?? ''])) as Filter;
  const key = query(filter);
  const [feed, setFeed] = useState<TailFeed | null>(null);
  const [state, setState] = useState<TailState | null>(null);
  useEffect(() => {
    const made = new TailFeed(`/api/v1/tail${key}`, setState);
    setFeed(made);
    setState(made.state);
    made.start();
    return () => made.stop();
  }, [key]);
  const freeze = (frozen: boolean): void => {
    if (feed === null || feed.state.frozen === frozen) return;
    feed.freeze(frozen);
    announce(frozen ? 'Paused. What comes in is counted.' : 'Live again.');
  };
  const rows = state?.rows ?? [];
  return <Panel title="Live events" note="The latest 200 as they come in; a sample under heavy load. Opening one pauses the list"
    actions={state === null ? null : <>
      <ConnectionNote state={state} />
      <button type="button" onClick={() => freeze(!state.frozen)}>{state.frozen ? 'Resume' : 'Pause'}</button>
      <button type="button" disabled={rows.length === 0} onClick={() => feed?.clear()}>Clear the list</button>
    </>}>
    <FilterForm filter={filter} />
    {state?.connection === 'lost' && state.detail ? <p class="bad-text" role="alert">{state.detail}</p> : null}
    {rows.length === 0 ? <Empty title={key === '' ? 'Nothing has come in yet' : 'Nothing that matches has come in yet'}>
      Events appear here from the moment this page is open. <a href="#/events">Find an event</a> that came earlier.</Empty> :
      <>
        <Table label="Live events" head={[['Time'], ['Event'], ['Outcome'], ['Tenant'], ['Id or reason'], ['Object']]}>
          {rows.map((row) => <Row key={row.number} row={row} onOpen={() => freeze(true)} />)}
        </Table>
        <div class="table-foot"><span class="muted">{plural(rows.length, 'event')} shown{state?.missed ? `, ${count(state.missed)} missed because this page read too slowly` : ''}</span>
          {state?.frozen && state.waiting > 0 ? <span>{plural(state.waiting, 'more event')} since</span> : null}</div>
      </>}
  </Panel>;
}
