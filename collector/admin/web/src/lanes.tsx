// Destinations: how each is doing, and why it waits.
import type { JSX } from 'preact';
import type { Lane } from './api';
import { Sparkline } from './chart';
import { count, plural, rate, seconds } from './format';
import { useLive, useNow } from './hooks';
import type { Point } from './live';
import { Empty, Facts, Foreign, Loading, Panel, StatePill, Time } from './parts';

function inSeconds(at: string | null | undefined, now: number): string {
  if (!at) return '';
  const left = (new Date(at).getTime() - now) / 1000;
  return left > 1 ? ` (in ${seconds(left)})` : ' (now)';
}

function Destination({ name, lane, history, now }: { name: string; lane: Lane; history: Point[]; now: number }): JSX.Element {
  const speeds = history.slice(-60).map((point) => point.lanes[name] ?? null);
  const speed = speeds.at(-1) ?? 0;
  return <Panel title={name} class="lane" actions={<StatePill state={lane.state} />}>
    <div class="lane-speed">
      <Sparkline values={speeds} label={`Sent per second over the last minute, now ${rate(speed)}`} />
      <span class="number">{rate(speed)}</span>
    </div>
    <div class="lane-counts">
      <div><span class="number">{count(lane.pending)}</span><span>pending</span></div>
      <div><span class="number">{count(lane.sent)}</span><span>sent</span></div>
      <div class={lane.failed > 0 ? 'bad-text' : ''}><span class="number">{count(lane.failed)}</span><span>failed</span></div>
    </div>
    <Facts rows={[
      ['Oldest pending', lane.pending > 0 ? seconds(lane.oldest_pending_seconds) : '–'],
      ['In flight', plural(lane.in_flight ?? 0, 'batch', 'batches')],
      ['Attempts', lane.attempts ? `${count(lane.attempts)} at the batch it retries` : '–'],
      ['Next attempt', lane.next_attempt_at ? <><Time at={lane.next_attempt_at} />{inSeconds(lane.next_attempt_at, now)}</> : '–'],
      ['Expired', count(lane.expired)],
      ['Filtered out', count(lane.skipped)],
    ]} />
    {lane.last_error ? <><h3>Last error</h3><pre class="answer" tabIndex={0} aria-label={`Last error of ${name}`}><Foreign text={lane.last_error} /></pre></> : null}
    {lane.failed > 0 ? <p><a href={`#/failed?destination=${encodeURIComponent(name)}`}>Its failed events →</a></p> : null}
  </Panel>;
}

export function Lanes(): JSX.Element {
  const { now: live, history } = useLive();
  const now = useNow(1_000);
  if (live === null) return <Loading what="the destinations" />;
  const lanes = Object.entries(live.destinations);
  if (lanes.length === 0)
    return <Panel title="Destinations"><Empty title="No destination is configured">Add <code>[[destinations]]</code> to the configuration, or start with <code>--forward URL</code>. Until then events wait in the store and can be pulled.</Empty></Panel>;
  return <div class="cards">{lanes.map(([name, lane]) => <Destination key={name} name={name} lane={lane} history={history} now={now} />)}</div>;
}
