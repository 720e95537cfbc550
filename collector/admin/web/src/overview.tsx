// Delivery at a glance.
import type { ComponentChildren, JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { getJson, messageOf, type Lane, type Live, type Stats } from './api';
import { Chart } from './chart';
import { ago, count, milliseconds, plural, rate, seconds, short, wide } from './format';
import { useLive, useLoad, useNow } from './hooks';
import { announce, Empty, Foreign, Loading, Panel, Pill, Problem, StatePill, Table } from './parts';

function Tile({ label, value, href, tone, note }: { label: string; value: number; href?: string; tone?: string; note?: ComponentChildren }): JSX.Element {
  const inside = <><span class="tile-label">{label}</span>
    <span class="tile-value number" title={count(value)}>{wide(value)}</span>
    <span class="tile-note">{note ?? ' '}</span></>;
  return href ? <a class={`tile ${tone ?? ''}`} href={href} data-tile={label}>{inside}</a> :
    <div class={`tile ${tone ?? ''}`} data-tile={label}>{inside}</div>;
}

const sum = (values: Record<string, number>): number => Object.values(values).reduce((a, b) => a + b, 0);

function Tiles({ live }: { live: Live }): JSX.Element {
  const oldest = Math.max(0, ...[...Object.values(live.destinations), ...Object.values(live.consumers)]
    .map((lane) => lane.pending > 0 ? lane.oldest_pending_seconds : 0));
  const rejected = sum(live.rejected);
  return <div class="tiles">
    <Tile label="Pending" value={live.pending} note={live.pending > 0 && oldest > 0 ? `oldest ${seconds(oldest)}` : live.pending === 0 ? 'all caught up' : ''} />
    <Tile label="Sent" value={live.sent} note={`${short(live.rates.sent_per_second)} deliveries/s`} />
    <Tile label="Failed" value={live.failed} href="#/failed" tone={live.failed > 0 ? 'bad' : ''} note={live.failed > 0 ? 'look at them →' : 'none'} />
    <Tile label="Accepted" value={live.accepted} note={`${short(live.rates.accepted_per_second)} events/s`} />
    <Tile label="Duplicates" value={live.duplicates} note="stored once" />
    <Tile label="Rejected" value={rejected} tone={rejected > 0 ? 'warn' : ''} note="since start" />
  </div>;
}

// Between 0 and 1 lies 0.5, not another 1.
const level = (n: number): string => n >= 10 || Number.isInteger(n) ? short(n) : n.toFixed(1);

function Charts(): JSX.Element {
  const { history } = useLive();
  const rates = useMemo(() => [history.map((p) => p.time), history.map((p) => p.accepted), history.map((p) => p.sent), history.map((p) => p.rejected)], [history]);
  const pending = useMemo(() => [history.map((p) => p.time), history.map((p) => p.pending)], [history]);
  const latency = useMemo(() => [history.map((p) => p.time), history.map((p) => p.commit50), history.map((p) => p.commit99), history.map((p) => p.sync99)], [history]);
  const last = history.at(-1);
  return <div class="charts">
    <Panel title="Events per second" note="Last five minutes">
      <Chart format={level} data={rates}
        lines={[{ label: 'accepted', color: '--line-1', fill: true }, { label: 'sent', color: '--line-2' }, { label: 'rejected', color: '--line-3' }]}
        description={`Events per second: ${rate(last?.accepted ?? 0)} accepted, ${rate(last?.sent ?? 0)} sent, ${rate(last?.rejected ?? 0)} rejected.`} />
    </Panel>
    <Panel title="Pending events" note="Accepted, not finished yet">
      <Chart format={level} data={pending} lines={[{ label: 'pending', color: '--line-1', fill: true }]}
        description={`Pending events: ${count(last?.pending ?? 0)}.`} />
    </Panel>
    <Panel title="Commit latency" note="Until an event is on disk">
      <Chart format={(value) => `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} ms`} data={latency}
        lines={[{ label: 'median', color: '--line-2' }, { label: '99 %', color: '--line-1', fill: true }, { label: 'sync 99 %', color: '--line-3' }]}
        description={`Commits: median ${milliseconds(last?.commit50 ?? null)}, 99th percentile ${milliseconds(last?.commit99 ?? null)}.`} />
    </Panel>
  </div>;
}

function LaneRows({ lanes, kind, page }: { lanes: Record<string, Lane>; kind: string; page: string }): JSX.Element {
  return <>{Object.entries(lanes).map(([name, lane]) => <tr key={`${kind}/${name}`}>
    <th scope="row"><a href={page}><Foreign text={name} /></a><span class="kind">{kind}</span></th>
    <td>{kind === 'destination' ? <StatePill state={lane.state} /> : <Pill tone="plain">Pulls</Pill>}</td>
    <td class="number">{count(lane.pending)}</td>
    <td class="number">{count(lane.sent)}</td>
    <td class="number">{lane.failed > 0 ? <a class="bad-text" href={`#/failed?destination=${encodeURIComponent(name)}`}>{count(lane.failed)}</a> : '0'}</td>
    <td class="number">{lane.pending > 0 ? seconds(lane.oldest_pending_seconds) : '–'}</td>
    <td class="wide-text">{lane.last_error && lane.state !== 'idle' ? <Foreign text={lane.last_error} /> : <span class="muted">–</span>}</td>
  </tr>)}</>;
}

function ExactCounts(): JSX.Element {
  const stats = useLoad('stats', () => getJson<Stats>('/api/v1/stats'));
  const [fresh, setFresh] = useState<Stats | null>(null);
  const [busy, setBusy] = useState(false);
  const now = useNow(5_000);
  const shown = fresh ?? stats.value;
  const countNow = async (): Promise<void> => {
    setBusy(true);
    try {
      setFresh(await getJson<Stats>('/api/v1/stats?fresh=1'));
      announce('Counted anew.');
    } catch (error) {
      announce(messageOf(error), true);
    } finally {
      setBusy(false);
    }
  };
  const tenants = Object.entries(shown?.tenants ?? {});
  return <Panel title="Exact counts by tenant" class="exact"
    note={shown ? <>Counted <time dateTime={shown.generated_at}>{ago(shown.generated_at, now)}</time>, kept for {seconds(shown.cache_ttl_seconds)}</> : undefined}
    actions={<button type="button" disabled={busy} aria-busy={busy} onClick={() => void countNow()}>{busy ? 'Counting…' : 'Count now'}</button>}>
    {stats.error && !shown ? <Problem text={stats.error} again={stats.reload} /> : !shown ? <Loading what="counts" /> :
      tenants.length === 0 ? <Empty title="No events yet">They are counted here by tenant once some arrived.</Empty> :
        <Table label="Exact counts by tenant" head={[['Tenant'], ['Pending', 'number'], ['Sent', 'number'], ['Failed', 'number']]}>
          {tenants.map(([name, counts]) => <tr key={name}><th scope="row"><Foreign text={name} /></th>
            <td class="number">{count(counts.pending)}</td><td class="number">{count(counts.sent)}</td><td class="number">{count(counts.failed)}</td></tr>)}
          <tr class="total"><th scope="row">All</th><td class="number">{count(shown.pending)}</td>
            <td class="number">{count(shown.sent)}</td><td class="number">{count(shown.failed)}</td></tr>
        </Table>}
  </Panel>;
}

function Reasons({ title, reasons, what }: { title: string; reasons: Record<string, number>; what: string }): JSX.Element {
  const rows = Object.entries(reasons).sort((a, b) => b[1] - a[1]);
  const most = rows[0]?.[1] ?? 1;
  return <Panel title={title} note={rows.length > 0 ? plural(rows.reduce((a, [, n]) => a + n, 0), what) : undefined}>
    {rows.length === 0 ? <Empty title="None">Nothing was refused since the server started.</Empty> :
      <ul class="bars">{rows.map(([reason, n]) => <li key={reason}>
        <span class="bar-name"><Foreign text={reason} /></span><span class="number">{count(n)}</span>
        <svg class="bar" viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true"><rect width={Math.max(1, n / most * 100)} height="3" /></svg>
      </li>)}</ul>}
  </Panel>;
}

export function Overview(): JSX.Element {
  const { now: live } = useLive();
  if (live === null) return <Loading what="the live counters" />;
  const lanes = Object.keys(live.destinations).length + Object.keys(live.consumers).length;
  return <>
    <Tiles live={live} />
    <Charts />
    <Panel title="Destinations and consumers">
      {lanes === 0 ? <Empty title="Nobody takes the events">They wait in the store. Start with <code>--forward URL</code>, or configure <code>[[destinations]]</code> or <code>[[consumers]]</code>.</Empty> :
        <Table label="Destinations and consumers" head={[['Name'], ['State'], ['Pending', 'number'], ['Sent', 'number'], ['Failed', 'number'], ['Oldest', 'number'], ['Last error']]}>
          <LaneRows lanes={live.destinations} kind="destination" page="#/lanes" />
          <LaneRows lanes={live.consumers} kind="consumer" page="#/consumers" />
        </Table>}
    </Panel>
    <div class="columns">
      <ExactCounts />
      <Reasons title="Rejected events" reasons={live.rejected} what="event" />
      {Object.keys(live.refused_requests).length > 0 ? <Reasons title="Refused requests" reasons={live.refused_requests} what="request" /> : null}
    </div>
  </>;
}
