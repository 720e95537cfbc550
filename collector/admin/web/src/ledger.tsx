// One event's whole story: when it came, where it lies, what every destination and consumer did with it.
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, ask, query, type Fate, type Story } from './api';
import { count, plural } from './format';
import { useLoad } from './hooks';
import { indented, part } from './json_text';
import { Empty, Facts, Foreign, Loading, Panel, Pill, Problem, Table, Time, type Tone } from './parts';

const TONES: Record<Fate['state'], [Tone, string]> = {
  pending: ['plain', 'Pending'], in_flight: ['busy', 'In flight'], leased: ['busy', 'Leased'], delayed: ['warn', 'Delayed'],
  sent: ['good', 'Sent'], failed: ['bad', 'Failed'], expired: ['bad', 'Expired'], skipped: ['plain', 'Skipped'],
};
// Shown by name beside these, or below as JSON.
const ELSEWHERE = new Set(['id', 'name', 'tenant', 'raw', 'envelope']);

const label = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ');

export function StoryLink({ id, tenant }: { id: string; tenant: string }): JSX.Element {
  return <a class="mono" href={`#/events${query({ id, tenant })}`}><Foreign text={id} /></a>;
}

interface Loaded { stories: Story[]; text: string }

async function load(id: string, tenant: string): Promise<Loaded | null> {
  if (id === '') return null;
  try {
    const text = await (await ask('GET', `/api/v1/events/${encodeURIComponent(id)}${query({ tenant })}`)).text();
    return { stories: (JSON.parse(text) as { events: Story[] }).events, text };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return { stories: [], text: '' };
    throw error;
  }
}

function Search({ id, tenant }: { id: string; tenant: string }): JSX.Element {
  const [draft, setDraft] = useState({ id, tenant });
  useEffect(() => setDraft({ id, tenant }), [id, tenant]);
  const field = (name: keyof typeof draft, label: string, required: boolean): JSX.Element =>
    <label>{label}<input type="search" name={name} required={required} value={draft[name]} autocomplete="off" spellcheck={false}
      onInput={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })} /></label>;
  return <form class="filters" role="search" aria-label="Events" onSubmit={(event) => {
    event.preventDefault();
    location.hash = `#/events${query({ id: draft.id.trim(), tenant: draft.tenant.trim() })}`;
  }}>
    {field('id', 'Event id', true)}
    {field('tenant', 'Tenant', false)}
    <div class="actions"><button type="submit" class="primary">Find</button></div>
  </form>;
}

function When({ fate }: { fate: Fate }): JSX.Element {
  if (fate.finished_at) return <Time at={fate.finished_at} />;
  if (fate.lease_expires_at) return <>until <Time at={fate.lease_expires_at} /></>;
  return fate.next_attempt_at ? <>next <Time at={fate.next_attempt_at} /></> : <span class="muted">–</span>;
}

function Details({ fate }: { fate: Fate }): JSX.Element {
  return <>
    {fate.reason ? <p><Foreign text={fate.reason} /></p> : null}
    {fate.leased_by === undefined ? null : <p>leased by <Foreign text={fate.leased_by || '(unnamed)'} /></p>}
    {fate.last_error ? <p><Foreign text={fate.last_error} /></p> : null}
    {fate.batch_id ? <p>{fate.leased_by === undefined ? 'batch' : 'lease'} <span class="mono"><Foreign text={fate.batch_id} /></span></p> : null}
    {fate.failed_id === undefined ? null : <p><a href={`#/failed/${fate.failed_id}`}>Failed event {fate.failed_id} →</a></p>}
  </>;
}

function Fates({ story }: { story: Story }): JSX.Element {
  const rows = [...Object.entries(story.destinations).map(([name, fate]) => ({ name, fate, kind: 'destination' })),
    ...Object.entries(story.consumers).map(([name, fate]) => ({ name, fate, kind: 'consumer' }))];
  if (rows.length === 0) return <Empty title="It waits">There is no destination and no consumer yet.</Empty>;
  return <Table label={`What became of ${story.id}`} head={[['Where'], ['State'], ['Attempts', 'number'], ['Status', 'number'], ['When'], ['Details']]}>
    {rows.map(({ name, fate, kind }) => <tr key={`${kind}/${name}`}>
      <th scope="row"><Foreign text={name} /><span class="kind">{kind}</span></th>
      <td><Pill tone={TONES[fate.state]?.[0] ?? 'plain'}>{TONES[fate.state]?.[1] ?? fate.state}</Pill></td>
      <td class="number">{fate.attempts === 0 ? '–' : count(fate.attempts)}</td>
      <td class="number">{fate.status === 0 ? '–' : fate.status}</td>
      <td class="nowrap"><When fate={fate} /></td>
      <td class="wide-text"><Details fate={fate} /></td>
    </tr>)}
  </Table>;
}

// JSON as it was written; what is invisible in it is escaped, so it needs no names here.
function Json({ title, text }: { title: string; text: string | null }): JSX.Element | null {
  if (text === null) return null;
  return <><h3>{title}</h3><pre class="answer foreign" tabIndex={0} aria-label={title}>{indented(text)}</pre></>;
}

function StoryView({ story, text, index }: { story: Story; text: string; index: number }): JSX.Element {
  const at = (name: string): string | null => part(text, ['events', index, 'event', name]);
  const fields = Object.entries(story.event ?? {}).filter(([name]) => !ELSEWHERE.has(name));
  return <>
    <Panel title={`What became of ${story.id}`}>
      <Facts rows={[
        ['Received', <Time at={story.received_at} />],
        ['Committed', story.committed_at ? <Time at={story.committed_at} /> : 'unknown'],
        ['Position', <span class="mono">{story.seq}</span>],
        ['On disk', story.segment ? <span class="mono">{story.segment.file}</span> : 'no longer; what failed is kept'],
      ]} />
      <Fates story={story} />
    </Panel>
    <Panel title="The event">
      <Facts rows={[
        ['Name', <Foreign text={story.name} />],
        ['Tenant', <Foreign text={story.tenant} />],
        ...fields.map(([name, value]): [string, JSX.Element] => [label(name), <Foreign text={String(value)} />]),
      ]} />
      <Json title="The client's own object" text={at('raw')} />
      <Json title="What its request said about all of its events" text={at('envelope')} />
    </Panel>
  </>;
}

export function Ledger({ values }: { values: URLSearchParams }): JSX.Element {
  const id = values.get('id') ?? '';
  const tenant = values.get('tenant') ?? '';
  const found = useLoad(query({ id, tenant }), () => load(id, tenant));
  const stories = found.value?.stories ?? [];
  return <>
    <Panel title="Find an event" note="By the client's id, the id Weir gave, or a position such as 0-17"
      actions={id === '' ? null : <button type="button" onClick={found.reload} disabled={found.loading}>Refresh</button>}>
      <Search id={id} tenant={tenant} />
      {found.error ? <Problem text={found.error} again={found.reload} /> :
        id === '' ? null : found.value === null ? <Loading what="the event" /> :
        stories.length === 0 ? <Empty title="No event of this id">It may never have come, be older than the retention, or belong to another tenant.</Empty> :
        <p class="note" role="status">{stories.length === 1 ? 'Found.' : `${plural(stories.length, 'event')} of this id, each of another tenant.`}</p>}
    </Panel>
    {stories.map((story, index) => <StoryView key={`${story.tenant}/${story.seq}`} story={story} index={index} text={found.value?.text ?? ''} />)}
  </>;
}
