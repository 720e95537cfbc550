// Pull consumers: who takes events by lease, how far behind they are, and what they hold.
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, ask, getJson, type Consumer, type Live } from './api';
import { count, plural, seconds } from './format';
import { useLive, useLoad, useNow } from './hooks';
import { Action, Empty, Foreign, Loading, Panel, Pill, Problem, Table, Time } from './parts';

function Leases({ consumer }: { consumer: Consumer }): JSX.Element {
  return <Panel title={`Leases of ${consumer.name}`} note={`${count(consumer.leases_held)} held, for ${seconds(consumer.lease_seconds)} each unless renewed`}>
    <Table label={`Leases of ${consumer.name}`} head={[['Holder'], ['Events', 'number'], ['Delivery', 'number'], ['Expires'], ['Lease']]}>
      {consumer.leases.map((lease) => <tr key={lease.lease}>
        <th scope="row"><Foreign text={lease.holder || '(unnamed)'} /></th>
        <td class="number">{count(lease.events)}</td>
        <td class="number">{count(lease.delivery)}</td>
        <td class="nowrap"><Time at={lease.expires_at} /></td>
        <td class="mono"><Foreign text={lease.lease} /></td>
      </tr>)}
    </Table>
  </Panel>;
}

type Target = 'earliest' | 'latest' | 'time' | 'positions';
const TARGETS: [Target, string][] = [
  ['earliest', 'To the earliest event on disk'],
  ['latest', 'To the end: only what comes from now on'],
  ['time', 'To the first event received at a time'],
  ['positions', 'To a position in each store shard'],
];

function Move({ consumer, onDone }: { consumer: Consumer; onDone: () => void }): JSX.Element {
  const [target, setTarget] = useState<Target>('earliest');
  const [time, setTime] = useState('');
  const [positions, setPositions] = useState('');
  const run = async (): Promise<string> => {
    const to = target === 'time' ? new Date(time).toISOString() : target === 'positions' ? positions.replaceAll(/\s/g, '') : target;
    const answer = await ask('POST', `/api/v1/consumers/${encodeURIComponent(consumer.name)}/seek`, JSON.stringify({ to }));
    onDone();
    return `${consumer.name} goes on from ${(await answer.json() as { positions: string[] }).positions.join(', ')}.`;
  };
  const fields = <>
    <fieldset>
      <legend>Where to</legend>
      {TARGETS.map(([value, label]) => <label class="check"><input type="radio" name="target" value={value} checked={target === value}
        onChange={() => setTarget(value)} />{label}</label>)}
    </fieldset>
    {target === 'time' ? <label>Time, in this browser's time zone<input type="datetime-local" name="time" step="1" required value={time}
      onInput={(event) => setTime(event.currentTarget.value)} /></label> : null}
    {target === 'positions' ? <label>Positions<input type="text" name="positions" required pattern="\s*\d+-\d+(\s*,\s*\d+-\d+)*\s*" placeholder={consumer.next.join(', ')}
      autocomplete="off" spellcheck={false} value={positions} onInput={(event) => setPositions(event.currentTarget.value)} /></label> : null}
  </>;
  return <Action label="Move…" about={consumer.name} run={run} confirm={{
    title: `Move ${consumer.name}?`, label: 'Move', fields,
    text: 'Its leases end; whoever holds one is told when it acknowledges. Moved back, it gets events again that it had; moved forward, what is passed over counts as skipped.',
  }} />;
}

function Delete({ consumer, onDone }: { consumer: Consumer; onDone: () => void }): JSX.Element {
  return <Action label="Delete…" about={consumer.name} kind="danger" run={async () => {
    await ask('DELETE', `/api/v1/consumers/${encodeURIComponent(consumer.name)}`);
    onDone();
    return `${consumer.name} was deleted.`;
  }} confirm={{
    title: `Delete ${consumer.name}?`, label: 'Delete',
    text: `Its position is forgotten and its leases end. ${consumer.pending === 0 ? 'Nothing waits for it.' :
      `${plural(consumer.pending, 'event waits', 'events wait')} for it and will not be handed out to it any more.`}`,
  }} />;
}

interface Row {
  name: string; pending: number; leased: number | null; acked: number; failed: number; oldest: number | null;
  active: string | null; idle: boolean; detail: Consumer | null;
}

function kindOf(consumer: Consumer): string {
  if (consumer.declared) return 'declared in the configuration';
  return consumer.temporary ? 'temporary' : 'made at run time';
}

function rowsOf(live: Live, details: Consumer[], now: number): Row[] {
  const rows = details.map((one): Row => ({
    name: one.name, pending: one.pending, leased: one.leased, acked: one.acked, failed: one.failed, active: one.active_at,
    idle: one.idle, detail: one,
    oldest: one.oldest_pending_at === null ? null : Math.max(0, (now - new Date(one.oldest_pending_at).getTime()) / 1000),
  }));
  const known = new Set(rows.map((row) => row.name));
  for (const [name, lane] of Object.entries(live.consumers))
    if (!known.has(name))
      rows.push({ name, pending: lane.pending, leased: null, acked: lane.sent, failed: lane.failed, active: null, idle: false, detail: null,
        oldest: lane.pending > 0 ? lane.oldest_pending_seconds : null });
  return rows;
}

export function Consumers(): JSX.Element {
  const { now: live } = useLive();
  const now = useNow(5_000);
  const loaded = useLoad('consumers', async () => {
    try {
      return (await getJson<{ consumers: Consumer[] }>('/api/v1/consumers')).consumers;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return [];      // a build without pulling
      throw error;
    }
  });
  useEffect(() => loaded.reload(), [now]);
  if (live === null) return <Loading what="the consumers" />;
  const rows = rowsOf(live, loaded.value ?? [], now);
  return <>
    <Panel title="Pull consumers" note="Central servers that lease events and acknowledge them"
      actions={<button type="button" onClick={loaded.reload} disabled={loaded.loading}>Refresh</button>}>
      {loaded.error && loaded.value === null ? <Problem text={loaded.error} again={loaded.reload} /> : null}
      {rows.length === 0 ? <Empty title="No consumer">Declare one under <code>[[consumers]]</code>, or let a central server name itself when it pulls.</Empty> :
        <Table label="Pull consumers" head={[['Name'], ['State'], ['Pending', 'number'], ['Leased', 'number'], ['Acknowledged', 'number'], ['Failed', 'number'], ['Oldest', 'number'], ['Last seen'], ['']]}>
          {rows.map((row) => <tr key={row.name}>
            <th scope="row"><Foreign text={row.name} />{row.detail ? <span class="kind">{kindOf(row.detail)}</span> : null}</th>
            <td>{row.idle ? <Pill tone="warn">Idle, holds nothing back</Pill> : (row.leased ?? 0) > 0 ? <Pill tone="busy">Working</Pill> : <Pill tone="good">Waiting</Pill>}</td>
            <td class="number">{count(row.pending)}</td>
            <td class="number">{row.leased === null ? '–' : count(row.leased)}</td>
            <td class="number">{count(row.acked)}</td>
            <td class="number">{count(row.failed)}</td>
            <td class="number">{row.oldest === null ? '–' : seconds(row.oldest)}</td>
            <td class="nowrap"><Time at={row.active} /></td>
            <td class="row-action">{row.detail ? <div class="actions">
              <Move consumer={row.detail} onDone={loaded.reload} />
              {row.detail.declared ? null : <Delete consumer={row.detail} onDone={loaded.reload} />}
            </div> : null}</td>
          </tr>)}
        </Table>}
    </Panel>
    {rows.map((row) => row.detail && row.detail.leases.length > 0 ? <Leases key={row.name} consumer={row.detail} /> : null)}
  </>;
}
