// The live counters: one EventSource for the whole page, a history of the last minutes, and what is
// known about the connection.
import type { Live } from './api';
import { Stream, type Connection } from './stream';

export interface Point {
  time: number;           // seconds since 1970
  accepted: number | null;      // per second
  sent: number | null;
  rejected: number | null;
  pending: number | null;
  commit50: number | null;      // milliseconds
  commit99: number | null;
  sync99: number | null;
  lanes: Record<string, number>;   // sent per second
}

export interface LiveState {
  now: Live | null;
  history: Point[];
  connection: Connection;
  detail: string;      // why it is lost
  missed: number;      // frames the server skipped because this page read too slowly
}

const KEPT = 300;
const PATIENCE = 3_000;      // before a lost connection is worth a word
const SILENCE = 6_000;       // without a frame: whoever is on the other side does not answer any more
const total = (values: Record<string, number>): number => Object.values(values).reduce((a, b) => a + b, 0);

function pointOf(before: Live | null, now: Live): Point {
  const time = new Date(now.generated_at).getTime() / 1000;
  const point: Point = {
    time, accepted: null, sent: null, rejected: null, pending: now.pending, commit50: now.latency.commit.p50_ms,
    commit99: now.latency.commit.p99_ms, sync99: now.latency.sync.p99_ms, lanes: {},
  };
  if (before === null) return point;
  const elapsed = time - new Date(before.generated_at).getTime() / 1000;
  if (elapsed <= 0 || elapsed > 10 || now.uptime_seconds < before.uptime_seconds) return point;
  const speed = (from: number, to: number): number => Math.max(0, (to - from) / elapsed);
  point.accepted = speed(before.accepted, now.accepted);
  point.rejected = speed(total(before.rejected), total(now.rejected));
  point.sent = 0;
  for (const group of ['destinations', 'consumers'] as const)
    for (const [name, lane] of Object.entries(now[group])) {
      const was = before[group][name];
      const speedOfLane = was ? speed(was.sent, lane.sent) : 0;
      point.lanes[name] = speedOfLane;
      point.sent += speedOfLane;
    }
  return point;
}

export class LiveFeed extends Stream {
  state: LiveState = { now: null, history: [], connection: 'connecting', detail: '', missed: 0 };
  private silence: ReturnType<typeof setTimeout> | undefined;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();

  constructor() { super('/api/v1/live'); }

  override stop(): void {
    super.stop();
    this.endPatience();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  }

  private set(change: Partial<LiveState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  protected override close(): void {
    super.close();
    clearTimeout(this.silence);
  }

  protected override rested(): void {
    this.endPatience();
    this.set({ connection: 'resting' });
  }

  private endPatience(): void {
    clearTimeout(this.patience);
    this.patience = undefined;
  }

  // A reload of the server ends in a second, anything longer is said.
  protected override lose(detail: string): void {
    if (this.state.connection === 'lost') return this.set({ detail });
    this.set({ connection: 'connecting', detail });
    this.patience ??= setTimeout(() => this.set({ connection: 'lost' }), PATIENCE);
  }

  private listen(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => { this.lose('The server has gone silent.'); this.connect(); }, SILENCE);
  }

  protected override hear(source: EventSource): void {
    this.listen();
    source.addEventListener('counters', (event: MessageEvent<string>) => {
      const now = JSON.parse(event.data) as Live;
      const point = pointOf(this.state.now, now);
      const history = [...this.state.history, point].slice(-KEPT);
      this.endPatience();
      this.listen();
      this.set({ now, history, connection: 'live', detail: '' });
    });
  }

  protected override skip(frames: number): void { this.set({ missed: this.state.missed + frames }); }
}
