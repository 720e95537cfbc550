// Pull consumers: who takes events by lease, how far behind they are, and what they hold.
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { ApiError, getJson, type Consumer, type Live } from './api';
import { count, seconds } from './format';
import { useLive, useLoad, useNow } from './hooks';
import { Empty, Foreign, Loading, Panel, Pill, Problem, Table, Time } from './parts';

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

interface Row {
  name: string; pending: number; leased: number | null; acked: number; failed: number; oldest: number | null;
  active: string | null; idle: boolean; detail: Consumer | null;
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
        <Table label="Pull consumers" head={[['Name'], ['State'], ['Pending', 'number'], ['Leased', 'number'], ['Acknowledged', 'number'], ['Failed', 'number'], ['Oldest', 'number'], ['Last seen']]}>
          {rows.map((row) => <tr key={row.name}>
            <th scope="row"><Foreign text={row.name} /></th>
            <td>{row.idle ? <Pill tone="warn">Idle, holds nothing back</Pill> : (row.leased ?? 0) > 0 ? <Pill tone="busy">Working</Pill> : <Pill tone="good">Waiting</Pill>}</td>
            <td class="number">{count(row.pending)}</td>
            <td class="number">{row.leased === null ? '–' : count(row.leased)}</td>
            <td class="number">{count(row.acked)}</td>
            <td class="number">{count(row.failed)}</td>
            <td class="number">{row.oldest === null ? '–' : seconds(row.oldest)}</td>
            <td class="nowrap"><Time at={row.active} /></td>
          </tr>)}
        </Table>}
    </Panel>
    {rows.map((row) => row.detail && row.detail.leases.length > 0 ? <Leases key={row.name} consumer={row.detail} /> : null)}
  </>;
}
