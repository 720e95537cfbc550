// Disk and memory: what is held, what it may grow to.
import type { JSX } from 'preact';
import { bytes, count, milliseconds, seconds } from './format';
import { useLive } from './hooks';
import { Facts, Foreign, Loading, Meter, Panel, Pill } from './parts';

export function Storage(): JSX.Element {
  const { now: live } = useLive();
  if (live === null) return <Loading what="disk and memory" />;
  const { store, dedupe, process, latency } = live;
  const { commit, sync } = latency;
  return <div class="cards two">
    <Panel title="Store" actions={store.accepting ? <Pill tone="good">Accepting</Pill> : <Pill tone="bad">Refusing</Pill>}>
      <Meter label="Segment files" value={store.bytes} max={store.max_bytes} text={`${bytes(store.bytes)} of ${bytes(store.max_bytes)}`} />
      <Facts rows={[
        ['Free on disk', bytes(store.disk_free_bytes)],
        ['Events on disk', count(store.events)],
        ['Segments', count(store.segments)],
        ['Set aside as damaged', store.damaged_segments === 0 ? 'none' : <span class="bad-text">{count(store.damaged_segments)}</span>],
        ['Directory', <span class="mono"><Foreign text={store.directory} /></span>],
        ['Store id', <span class="mono">{store.id}</span>],
      ]} />
    </Panel>
    <Panel title="Duplicates" note="A repeated event is recognised inside this window">
      <Facts rows={[
        ['Oldest id remembered for', seconds(dedupe.window_seconds)],
        ['Ids in memory', count(dedupe.entries)],
        ['Memory', bytes(dedupe.bytes)],
        ['Recognised since start', count(live.duplicates)],
      ]} />
    </Panel>
    <Panel title="Memory">
      <Meter label="Request bodies" value={process.body_memory_used_bytes} max={process.body_memory_limit_bytes}
        text={`${bytes(process.body_memory_used_bytes)} of ${bytes(process.body_memory_limit_bytes)}`} />
      <Facts rows={[
        ['Held by the process', bytes(process.anonymous_bytes)],
        ['Resident, with mapped files', bytes(process.resident_bytes)],
        ['Threads', count(process.threads)],
        ['CPU time', seconds(process.cpu_seconds)],
      ]} />
    </Panel>
    <Panel title="Commits" note="Over the last ten seconds">
      <Facts rows={[
        ['Group commits', count(commit.count)],
        ['Median', milliseconds(commit.p50_ms)],
        ['95 %', milliseconds(commit.p95_ms)],
        ['99 %', milliseconds(commit.p99_ms)],
        ['Sync, 99 %', milliseconds(sync.p99_ms)],
        ['Requests waiting', count(store.append_queue_requests)],
      ]} />
    </Panel>
    <Panel title="Connections and files">
      <Meter label="Open files" value={process.open_files} max={process.max_open_files} text={`${count(process.open_files)} of ${count(process.max_open_files)}`} />
      <Facts rows={Object.entries(live.connections).map(([name, n]) => [`Connections: ${name}`, count(n)])} />
    </Panel>
    <Panel title="This node">
      <Facts rows={[
        ['Node', <Foreign text={live.node} />],
        ['Version', live.version],
        ['Up for', seconds(live.uptime_seconds)],
      ]} />
    </Panel>
  </div>;
}
