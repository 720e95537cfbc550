// Failed events: find them, send them again, take them out. The filter lives in the address, so that a
// filtered list can be linked to and survives a reload.
import type { JSX, TargetedEvent } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, ask, getJson, query, type FailedEvent, type FailedPage } from './api';
import { count, plural } from './format';
import { useLive, useLoad } from './hooks';
import { Action, announce, Empty, Foreign, Loading, Panel, Pill, Problem, Table, Time } from './parts';

const PAGE = 50;
const EXPORT_PAGE = 1_000;
const EXPORT_MOST = 100_000;      // events collected in the browser's memory
const FIELDS = ['destination', 'reason', 'tenant', 'name', 'event'] as const;
type Filter = Record<typeof FIELDS[number], string>;

const filterOf = (values: URLSearchParams): Filter =>
  Object.fromEntries(FIELDS.map((field) => [field, values.get(field) ?? ''])) as Filter;
const isEmpty = (filter: Filter): boolean => FIELDS.every((field) => filter[field] === '');

function FilterForm({ filter, reasons }: { filter: Filter; reasons: string[] }): JSX.Element {
  const { now } = useLive();
  const [draft, setDraft] = useState(filter);
  const key = query(filter);
  useEffect(() => setDraft(filter), [key]);
  const edit = (field: keyof Filter) => (event: TargetedEvent<HTMLInputElement | HTMLSelectElement>): void =>
    setDraft({ ...draft, [field]: event.currentTarget.value });
  const names = [...new Set([...Object.keys(now?.destinations ?? {}), ...Object.keys(now?.consumers ?? {}), filter.destination])].filter((name) => name !== '');
  const text = (field: keyof Filter, label: string): JSX.Element =>
    <label>{label}<input type="text" name={field} value={draft[field]} onInput={edit(field)} autocomplete="off" spellcheck={false}
      list={field === 'reason' ? 'reasons' : 'nothing'} /></label>;
  return <form class="filters" role="search" aria-label="Failed events" onSubmit={(event) => {
    event.preventDefault();
    location.hash = `#/failed${query(draft)}`;
  }}>
    <label>Destination<select name="destination" value={draft.destination} onChange={edit('destination')}>
      <option value="">any</option>
      {names.map((name) => <option key={name} value={name}>{name}</option>)}
    </select></label>
    {text('reason', 'Reason')}
    <datalist id="reasons">{reasons.map((reason) => <option key={reason} value={reason} />)}</datalist>
    {text('tenant', 'Tenant')}
    {text('name', 'Event name')}
    {text('event', 'Event id')}
    <div class="actions">
      <button type="submit" class="primary">Filter</button>
      {isEmpty(filter) ? null : <a class="button" href="#/failed">Clear</a>}
    </div>
  </form>;
}

async function exportAll(filter: Filter, format: 'ndjson' | 'csv'): Promise<string> {
  const parts: string[] = [];
  let after: string | null = null;
  let events = 0;
  do {
    const answer: Response = await ask('GET', `/api/v1/failed/export${query({ ...filter, format, limit: EXPORT_PAGE, after })}`);
    parts.push(await answer.text());
    after = answer.headers.get('Weir-Next');
    events += EXPORT_PAGE;
  } while (after !== null && events < EXPORT_MOST);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(parts, { type: format === 'csv' ? 'text/csv' : 'application/x-ndjson' }));
  link.download = `failed-events.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return after === null ? 'The export is complete.' :
    `These are the first ${count(EXPORT_MOST)}. For all of them use: weir failed export`;
}

const number = async (answer: Response, key: string): Promise<number> => {
  const said = await answer.json() as Record<string, number>;
  return said[key] ?? 0;
};

function BulkActions({ filter, onDone }: { filter: Filter; onDone: () => void }): JSX.Element {
  const which = isEmpty(filter) ? 'all failed events' : 'every failed event that matches the filter';
  const run = (what: 'requeue' | 'discard', key: string) => async (): Promise<string> => {
    const events = await number(await ask('POST', `/api/v1/failed/${what}${query(filter)}`), key);
    onDone();
    return what === 'requeue' ? `${plural(events, 'event')} will be sent again.` : `${plural(events, 'event')} discarded.`;
  };
  return <div class="actions">
    <Action label={isEmpty(filter) ? 'Requeue all' : 'Requeue matching'} kind="primary" run={run('requeue', 'requeued')}
      confirm={{ title: 'Send again?', text: `This sends ${which} to their destinations again, also those on further pages.`, label: 'Requeue' }} />
    <Action label="Export NDJSON" run={() => exportAll(filter, 'ndjson')} />
    <Action label="Export CSV" run={() => exportAll(filter, 'csv')} />
    <Action label={isEmpty(filter) ? 'Discard all…' : 'Discard matching…'} kind="danger" run={run('discard', 'discarded')}
      confirm={{ title: 'Discard for good?', text: `This takes out ${which}. They are counted as given up, and what was edited is gone. Export them first if you are not sure.`, label: 'Discard' }} />
  </div>;
}

function Row({ event, onChanged }: { event: FailedEvent; onChanged: (event: FailedEvent) => void }): JSX.Element {
  return <tr>
    <td class="nowrap"><Time at={event.failed_at} /></td>
    <th scope="row"><a href={`#/failed/${event.id}`}><Foreign text={event.name || '(no name)'} /></a>
      <span class="kind mono"><Foreign text={event.event_id} /></span></th>
    <td><Foreign text={event.destination} /></td>
    <td class="nowrap">{event.requeued ? <Pill tone="busy">Requeued</Pill> :
      <><span class="mono">{event.status === 0 ? 'no answer' : event.status}</span> <span class="kind"><Foreign text={event.reason} /></span></>}</td>
    <td class="number">{count(event.attempts)}</td>
    <td class="wide-text"><span class="clamp"><Foreign text={event.detail} /></span></td>
    <td class="row-action">{event.requeued ? null : <Action label="Requeue" run={async () => {
      await ask('POST', `/api/v1/failed/${event.id}/requeue`);
      onChanged({ ...event, requeued: true });
      return 'The event will be sent again.';
    }} />}</td>
  </tr>;
}

// What a lane gave up as a whole range: a backlog limit, or a retry window that ended.
interface Expired { destination: string; shard: number; first: number; last: number; events: number; reason: string; at: string | null; retained: boolean }

function ExpiredRanges({ filter }: { filter: Filter }): JSX.Element | null {
  const loaded = useLoad(`expired${query(filter)}`, async () => {
    try {
      return (await getJson<{ expired: Expired[] }>(`/api/v1/failed/expired${query({ destination: filter.destination, reason: filter.reason })}`)).expired;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return [];
      throw error;
    }
  });
  if (!loaded.value || loaded.value.length === 0) return null;
  return <Panel title="Given up as ranges" note="Past a backlog limit or the retry window; kept as ranges, not one by one">
    <Table label="Expired ranges" head={[['When'], ['Destination'], ['Reason'], ['Events', 'number'], ['Positions'], ['On disk']]}>
      {loaded.value.map((range) => <tr key={`${range.destination}/${range.shard}/${range.first}`}>
        <td class="nowrap"><Time at={range.at} /></td>
        <th scope="row"><Foreign text={range.destination} /></th>
        <td><Foreign text={range.reason} /></td>
        <td class="number">{count(range.events)}</td>
        <td class="mono nowrap">{range.shard}-{range.first} … {range.shard}-{range.last}</td>
        <td class="row-action">{range.retained ? <Action label="Requeue" run={async () => {
          const events = await number(await ask('POST', `/api/v1/failed/expired/requeue${query({ destination: range.destination, shard: range.shard, first: range.first })}`), 'requeued');
          loaded.reload();
          return `${plural(events, 'event')} will be sent again.`;
        }} /> : <span class="muted">no longer</span>}</td>
      </tr>)}
    </Table>
  </Panel>;
}

export function Failed({ values }: { values: URLSearchParams }): JSX.Element {
  const filter = filterOf(values);
  const key = query(filter);
  const first = useLoad(key, () => getJson<FailedPage>(`/api/v1/failed${query({ ...filter, limit: PAGE })}`));
  const [more, setMore] = useState<FailedEvent[]>([]);
  const [changed, setChanged] = useState<Record<number, FailedEvent>>({});
  const [next, setNext] = useState<number | null>(null);
  const reset = useRef(first.value);
  if (reset.current !== first.value) {      // a new first page: what was loaded behind the old one goes
    reset.current = first.value;
    setMore([]);
    setChanged({});
    setNext(first.value?.next ?? null);
  }
  const rows = [...first.value?.failed ?? [], ...more].map((event) => changed[event.id] ?? event);
  return <>
    <Panel title="Failed events" note="What a destination refused, or what could not be delivered in time"
      actions={<button type="button" onClick={first.reload} disabled={first.loading}>Refresh</button>}>
      <FilterForm filter={filter} reasons={[...new Set(rows.map((row) => row.reason))]} />
      {first.error ? <Problem text={first.error} again={first.reload} /> : first.value === null ? <Loading what="failed events" /> :
        rows.length === 0 ? <Empty title={isEmpty(filter) ? 'No failed events' : 'No failed event matches'}>
          {isEmpty(filter) ? 'Every event was delivered, or still waits for its turn.' : <a href="#/failed">Show all of them</a>}</Empty> :
          <>
            <BulkActions filter={filter} onDone={first.reload} />
            <Table label="Failed events" head={[['Failed'], ['Event'], ['Destination'], ['Answer'], ['Attempts', 'number'], ['Detail'], ['']]}>
              {rows.map((event) => <Row key={event.id} event={event} onChanged={(now) => setChanged((was) => ({ ...was, [now.id]: now }))} />)}
            </Table>
            <div class="table-foot"><span class="muted">{plural(rows.length, 'event')} shown</span>
              {next === null ? null : <Action label="Show more" run={async () => {
                const page = await getJson<FailedPage>(`/api/v1/failed${query({ ...filter, limit: PAGE, after: next })}`);
                setMore((was) => [...was, ...page.failed]);
                setNext(page.next);
                announce(`${plural(page.failed.length, 'more event')}.`);
                return null;
              }} />}
            </div>
          </>}
    </Panel>
    <ExpiredRanges filter={filter} />
  </>;
}
